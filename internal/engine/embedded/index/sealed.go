package index

import (
	"encoding/binary"
	"io"
	"sort"
)

const (
	topicValue  = 4 + 4 + 8 + 4
	postingSize = 8
	keySize     = 16 + 16 + 8 + 8 + 4 + 4
)

// Build gives the file of the index of a segment whose records end at end.
func (a *Active) Build(end int64) []byte {
	size := headerSize + len(a.stats)*48 + len(a.offs)*postingSize + len(a.keys)*keySize
	content := make([]byte, headerSize, size+size/8)
	h := header{kind: kindSegment, sum: a.Summary()}
	h.sum.End = end

	order := a.order("")
	b := newTreeBuilder(content, topicValue)
	var value [topicValue]byte
	start := uint32(0)
	for _, i := range order {
		st := &a.stats[i]
		count := st.count
		if st.ttl {
			count |= ttlBit
		}
		binary.LittleEndian.PutUint32(value[0:], count)
		binary.LittleEndian.PutUint32(value[4:], st.last-1)
		binary.LittleEndian.PutUint64(value[8:], uint64(st.bytes))
		binary.LittleEndian.PutUint32(value[16:], start)
		b.add(st.name, value[:])
		start += st.count
	}
	content, h.tree = b.finish(len(order))

	h.postings = uint64(len(content))
	for _, i := range order {
		content = a.appendPostings(content, i)
	}
	h.keys = uint64(len(content))
	for _, k := range a.keys {
		content = appendKey(content, k)
	}
	h.size = uint64(len(content))
	h.put(content)
	return paginate(content)
}

// appendPostings writes a topic's messages from the last one backwards.
func (a *Active) appendPostings(content []byte, topic uint32) []byte {
	st := &a.stats[topic]
	begin := len(content)
	content = append(content, make([]byte, int(st.count)*postingSize)...)
	to := content[begin:]
	for at := st.last; at > 0; at = a.prev[at-1] {
		p := to[len(to)-postingSize:]
		binary.LittleEndian.PutUint32(p[0:], at-1)
		binary.LittleEndian.PutUint32(p[4:], a.offs[at-1])
		to = to[:len(to)-postingSize]
	}
	return content
}

func appendKey(p []byte, k Key) []byte {
	p = append(append(p, k.Key.Hash[:]...), k.Key.Body[:]...)
	p = binary.LittleEndian.AppendUint64(p, uint64(k.Time))
	p = binary.LittleEndian.AppendUint64(p, k.First)
	p = binary.LittleEndian.AppendUint32(p, uint32(k.N))
	flags := uint32(0)
	if k.Fsync {
		flags = 1
	}
	return binary.LittleEndian.AppendUint32(p, flags)
}

func parseKey(p []byte) Key {
	var k Key
	copy(k.Key.Hash[:], p)
	copy(k.Key.Body[:], p[16:])
	k.Time = int64(binary.LittleEndian.Uint64(p[32:]))
	k.First = binary.LittleEndian.Uint64(p[40:])
	k.N = int(binary.LittleEndian.Uint32(p[48:]))
	k.Fsync = p[52]&1 != 0
	return k
}

// Sealed is the index file of a sealed segment. It holds nothing but the
// file's header, and may be used concurrently.
type Sealed struct {
	pages pages
	h     header
}

var _ Index = (*Sealed)(nil)

// OpenSealed reads the header of an index file. Errors that wrap [ErrBad] say
// that the file is to be made again.
func OpenSealed(file io.ReaderAt, size int64) (*Sealed, error) {
	h, err := readHeader(file, size, kindSegment)
	if err != nil {
		return nil, err
	}
	h.tree.value = topicValue
	s := &h.sum
	if s.Last+1 < s.First || h.keys < h.postings || h.keys > h.postings+uint64(s.Count())*postingSize ||
		h.keys+uint64(s.Keys)*keySize != h.size {
		return nil, bad("sections")
	}
	return &Sealed{pages: pages{file: file, size: int64(h.size)}, h: h}, nil
}

// On is the same index read from another handle of the same file.
func (x *Sealed) On(file io.ReaderAt) *Sealed {
	return &Sealed{pages: pages{file: file, size: x.pages.size}, h: x.h}
}

// Detached is the index without a handle: only Summary and On can be called.
func (x *Sealed) Detached() *Sealed { return x.On(nil) }

// Summary describes the segment.
func (x *Sealed) Summary() Summary { return x.h.sum }

// Lookup finds a topic.
func (x *Sealed) Lookup(name string) (Topic, bool, error) {
	pooled := pageBuffers.Get().(*[]byte)
	defer pageBuffers.Put(pooled)
	value, ok, err := x.h.tree.find(x.pages, name, *pooled)
	if err != nil || !ok {
		return Topic{}, false, err
	}
	t, err := x.topic(name, value)
	return t, err == nil, err
}

func (x *Sealed) topic(name string, value []byte) (Topic, error) {
	t := Topic{
		Name:  name,
		Count: int(binary.LittleEndian.Uint32(value) &^ ttlBit),
		TTL:   binary.LittleEndian.Uint32(value)&ttlBit != 0,
		Last:  x.h.sum.First + uint64(binary.LittleEndian.Uint32(value[4:])),
		Bytes: int64(binary.LittleEndian.Uint64(value[8:])),
		at:    binary.LittleEndian.Uint32(value[16:]),
	}
	if n := int(x.h.keys-x.h.postings) / postingSize; t.Count > n || int(t.at) > n-t.Count {
		return t, bad("postings of a topic")
	}
	return t, nil
}

// seqAt gives the sequence number of a topic's i-th message.
func (x *Sealed) seqAt(t Topic, i int) (uint64, error) {
	var b [4]byte
	err := x.pages.readAt(b[:], x.place(t, i))
	return x.h.sum.First + uint64(binary.LittleEndian.Uint32(b[:])), err
}

func (x *Sealed) place(t Topic, i int) int64 {
	return int64(x.h.postings) + (int64(t.at)+int64(i))*postingSize
}

// search gives the number of the topic's messages with sequence numbers not
// above seq.
func (x *Sealed) search(t Topic, seq uint64) (n int, err error) {
	switch {
	case seq >= t.Last:
		return t.Count, nil
	case seq < x.h.sum.First:
		return 0, nil
	}
	n = sort.Search(t.Count, func(i int) bool {
		at, e := x.seqAt(t, i)
		if e != nil {
			err = e
		}
		return at > seq
	})
	return n, err
}

// read appends the topic's messages from the i-th up to but not including the
// j-th.
func (x *Sealed) read(dst []Posting, t Topic, i, j int) ([]Posting, error) {
	var buf [512 * postingSize]byte
	for i < j {
		n := min(j-i, len(buf)/postingSize)
		if err := x.pages.readAt(buf[:n*postingSize], x.place(t, i)); err != nil {
			return dst, err
		}
		for k := range n {
			p := buf[k*postingSize:]
			off := binary.LittleEndian.Uint32(p[4:])
			dst = append(dst, Posting{
				Seq:    x.h.sum.First + uint64(binary.LittleEndian.Uint32(p)),
				Offset: int64(off &^ ttlBit), TTL: off&ttlBit != 0,
			})
		}
		i += n
	}
	return dst, nil
}

// After reads no more than it returns, and a few pages to find the beginning.
func (x *Sealed) After(dst []Posting, t Topic, after, upTo uint64, limit int) ([]Posting, error) {
	i, err := x.search(t, after)
	if err != nil {
		return dst, err
	}
	begin := len(dst)
	dst, err = x.read(dst, t, i, i+min(limit, t.Count-i))
	for len(dst) > begin && dst[len(dst)-1].Seq > upTo {
		dst = dst[:len(dst)-1]
	}
	return dst, err
}

// Before reads no more than it returns, and a few pages to find the end.
func (x *Sealed) Before(dst []Posting, t Topic, upTo uint64, limit int) ([]Posting, error) {
	j, err := x.search(t, upTo)
	if err != nil {
		return dst, err
	}
	begin := len(dst)
	dst, err = x.read(dst, t, max(0, j-limit), j)
	for i, k := begin, len(dst)-1; i < k; i, k = i+1, k-1 {
		dst[i], dst[k] = dst[k], dst[i]
	}
	return dst, err
}

// Above searches for the first one.
func (x *Sealed) Above(t Topic, seq uint64) (int, error) {
	n, err := x.search(t, seq)
	return t.Count - n, err
}

// Names reads the leaves in order.
func (x *Sealed) Names(from string, yield func(Topic) bool) error {
	var broken error
	err := x.h.tree.walk(x.pages, from, func(name, value []byte) bool {
		t, err := x.topic(string(name), value)
		if err != nil {
			broken = err
			return false
		}
		return yield(t)
	})
	if broken != nil {
		return broken
	}
	return err
}

// Keys reads the keys in order.
func (x *Sealed) Keys(yield func(Key) bool) error { return x.h.walkKeys(x.pages, yield) }

func (h *header) walkKeys(p pages, yield func(Key) bool) error {
	var buf [64 * keySize]byte
	for i := 0; i < h.sum.Keys; {
		n := min(h.sum.Keys-i, len(buf)/keySize)
		if err := p.readAt(buf[:n*keySize], int64(h.keys)+int64(i)*keySize); err != nil {
			return err
		}
		for k := range n {
			if !yield(parseKey(buf[k*keySize:])) {
				return nil
			}
		}
		i += n
	}
	return nil
}
