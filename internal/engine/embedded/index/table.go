package index

import (
	"encoding/binary"
	"io"
	"iter"
)

const markValue = 8 + 1

// Mark is the newest sequence number up to which messages of a topic are gone.
type Mark struct {
	Topic   string
	Seq     uint64
	Deleted bool // by a delete, else by retention
}

// Marks is what a [Table] has beside its marks.
type Marks struct {
	Low    uint64 // the mark of topics that are not in the table
	Covers uint64 // messages up to here are counted in
	Newest Mark   // the mark with the highest sequence number; its topic is not kept
	Count  int
}

// BuildTable gives the file of a table of marks, which come in byte order of
// their topics, and of the idempotency keys of segments that are gone and are
// to be remembered yet.
func BuildTable(low, covers uint64, marks iter.Seq[Mark], keys []Key) []byte {
	b := newTreeBuilder(make([]byte, headerSize), markValue)
	h := header{kind: kindMarks}
	var newest Mark
	n := 0
	for m := range marks {
		var value [markValue]byte
		binary.LittleEndian.PutUint64(value[:], m.Seq)
		if m.Deleted {
			value[8] = 1
		}
		b.add(m.Topic, value[:])
		if m.Seq > newest.Seq {
			newest = m
		}
		n++
	}
	var content []byte
	content, h.tree = b.finish(n)
	h.sum = Summary{First: low, Last: covers, MaxTime: int64(newest.Seq)}
	if newest.Deleted {
		h.sum.MinTime = 1
	}
	h.postings, h.keys = uint64(len(content)), uint64(len(content))
	h.sum.Keys = len(keys)
	for _, k := range keys {
		content = appendKey(content, k)
	}
	h.size = uint64(len(content))
	h.put(content)
	return paginate(content)
}

// Table is a file of marks. It holds nothing but the file's header, and may be
// used concurrently.
type Table struct {
	pages pages
	h     header
}

// OpenTable reads the header of a table.
func OpenTable(file io.ReaderAt, size int64) (*Table, error) {
	h, err := readHeader(file, size, kindMarks)
	if err != nil {
		return nil, err
	}
	h.tree.value = markValue
	if h.keys+uint64(h.sum.Keys)*keySize != h.size {
		return nil, bad("sections")
	}
	return &Table{pages: pages{file: file, size: int64(h.size)}, h: h}, nil
}

// Marks says what the table has beside its marks.
func (t *Table) Marks() Marks {
	s := &t.h.sum
	return Marks{
		Low: s.First, Covers: s.Last, Count: s.Topics,
		Newest: Mark{Seq: uint64(s.MaxTime), Deleted: s.MinTime == 1},
	}
}

// Lookup finds a topic's mark.
func (t *Table) Lookup(name string) (Mark, bool, error) {
	pooled := pageBuffers.Get().(*[]byte)
	defer pageBuffers.Put(pooled)
	value, ok, err := t.h.tree.find(t.pages, name, *pooled)
	if err != nil || !ok {
		return Mark{}, false, err
	}
	return parseMark(name, value), true, nil
}

func parseMark(name string, value []byte) Mark {
	return Mark{Topic: name, Seq: binary.LittleEndian.Uint64(value), Deleted: value[8] == 1}
}

// Keys walks the idempotency keys in the order of the log.
func (t *Table) Keys(yield func(Key) bool) error { return t.h.walkKeys(t.pages, yield) }

// Walk goes through the marks in byte order of their topics, from the first
// that is not below from, until yield returns false.
func (t *Table) Walk(from string, yield func(Mark) bool) error {
	return t.h.tree.walk(t.pages, from, func(name, value []byte) bool { return yield(parseMark(string(name), value)) })
}
