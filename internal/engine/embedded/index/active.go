package index

import (
	"slices"
	"strings"
)

// ttlBit marks the offset of a message that has a time to live. Segments are
// smaller than 2 GiB.
const ttlBit = 1 << 31

// Active is the index of a segment that grows. Each message takes 8 bytes: its
// offset, and which message was the one before it of the same topic, so that
// a topic's messages are found from the newest on. Not safe for concurrent
// use while Add is called; from then on it is.
type Active struct {
	sum    Summary
	offs   []uint32 // by message: offset, ttlBit
	prev   []uint32 // by message: place of the one before of its topic, plus 1
	byName map[string]uint32
	stats  []stat
	keys   []Key
}

// stat is a topic of an Active.
type stat struct {
	name  string
	bytes int64
	count uint32
	last  uint32 // place of its last message, plus 1
	ttl   bool
}

var _ Index = (*Active)(nil)

// NewActive makes the index of a segment whose first message will have the
// given sequence number.
func NewActive(first uint64) *Active {
	return &Active{sum: Summary{First: first, Last: first - 1}, byName: map[string]uint32{}}
}

// Add notes the next message. topicName may be changed afterwards.
func (a *Active) Add(topicName []byte, offset int64, size int, micros int64, ttl bool) {
	i, ok := a.byName[string(topicName)]
	if !ok {
		i = a.newTopic(string(topicName))
	}
	a.add(i, offset, size, micros, ttl)
}

// AddString is Add for a topic that is a string already, which is kept.
func (a *Active) AddString(topicName string, offset int64, size int, micros int64, ttl bool) {
	i, ok := a.byName[topicName]
	if !ok {
		i = a.newTopic(strings.Clone(topicName))
	}
	a.add(i, offset, size, micros, ttl)
}

func (a *Active) newTopic(name string) uint32 {
	i := uint32(len(a.stats))
	a.stats = append(a.stats, stat{name: name})
	a.byName[name] = i
	return i
}

func (a *Active) add(i uint32, offset int64, size int, micros int64, ttl bool) {
	off := uint32(offset)
	if ttl {
		off |= ttlBit
	}
	st := &a.stats[i]
	a.offs, a.prev = append(a.offs, off), append(a.prev, st.last)
	st.last = uint32(len(a.offs))
	st.count++
	st.bytes += int64(size)
	st.ttl = st.ttl || ttl
	s := &a.sum
	if s.MaxTime == 0 {
		s.MinTime, s.MaxTime = micros, micros
	}
	s.MinTime, s.MaxTime = min(s.MinTime, micros), max(s.MaxTime, micros)
	s.Last++
	s.Bytes += int64(size)
}

// Skip notes messages that cannot be read, up to and including the one with
// sequence number last.
func (a *Active) Skip(last uint64) {
	for a.sum.Last < last {
		a.offs, a.prev = append(a.offs, 0), append(a.prev, 0)
		a.sum.Last++
	}
}

// AddKey notes an idempotency key of the segment.
func (a *Active) AddKey(k Key) { a.keys = append(a.keys, k) }

// Summary describes the segment; End is not known here.
func (a *Active) Summary() Summary {
	s := a.sum
	s.Topics, s.Keys = len(a.stats), len(a.keys)
	return s
}

// Lookup finds a topic. It does not fail.
func (a *Active) Lookup(name string) (Topic, bool, error) {
	i, ok := a.byName[name]
	if !ok {
		return Topic{}, false, nil
	}
	return a.topic(i), true, nil
}

func (a *Active) topic(i uint32) Topic {
	st := &a.stats[i]
	return Topic{
		Name: st.name, Count: int(st.count), Bytes: st.bytes,
		Last: a.sum.First + uint64(st.last) - 1, TTL: st.ttl, at: i,
	}
}

func (a *Active) posting(i uint32) Posting {
	off := a.offs[i]
	return Posting{Seq: a.sum.First + uint64(i), Offset: int64(off &^ ttlBit), TTL: off&ttlBit != 0}
}

// After looks at all of the topic's messages above after. It does not fail.
func (a *Active) After(dst []Posting, t Topic, after, upTo uint64, limit int) ([]Posting, error) {
	begin := len(dst)
	for at := a.stats[t.at].last; at > 0; at = a.prev[at-1] {
		p := a.posting(at - 1)
		if p.Seq <= after {
			break
		}
		if p.Seq <= upTo {
			dst = append(dst, p)
		}
	}
	slices.Reverse(dst[begin:])
	if len(dst)-begin > limit {
		dst = dst[:begin+limit]
	}
	return dst, nil
}

// Before looks at all of the topic's messages above upTo. It does not fail.
func (a *Active) Before(dst []Posting, t Topic, upTo uint64, limit int) ([]Posting, error) {
	for at := a.stats[t.at].last; at > 0 && limit > 0; at = a.prev[at-1] {
		if p := a.posting(at - 1); p.Seq <= upTo {
			dst = append(dst, p)
			limit--
		}
	}
	return dst, nil
}

// Above looks at all of the topic's messages above seq. It does not fail.
func (a *Active) Above(t Topic, seq uint64) (int, error) {
	n := 0
	for at := a.stats[t.at].last; at > 0 && a.sum.First+uint64(at)-1 > seq; at = a.prev[at-1] {
		n++
	}
	return n, nil
}

// Topics copies what is known of all topics whose names are not below from, in
// no order.
func (a *Active) Topics(from string) []Topic {
	topics := make([]Topic, 0, len(a.stats))
	for i := range a.stats {
		if a.stats[i].name >= from {
			topics = append(topics, a.topic(uint32(i)))
		}
	}
	return topics
}

// order gives the places of the topics whose names are not below from, sorted.
func (a *Active) order(from string) []uint32 {
	order := make([]uint32, 0, len(a.stats))
	for i := range a.stats {
		if a.stats[i].name >= from {
			order = append(order, uint32(i))
		}
	}
	slices.SortFunc(order, func(x, y uint32) int { return strings.Compare(a.stats[x].name, a.stats[y].name) })
	return order
}

// Names sorts all topics, and then walks them. It does not fail.
func (a *Active) Names(from string, yield func(Topic) bool) error {
	for _, i := range a.order(from) {
		if !yield(a.topic(i)) {
			return nil
		}
	}
	return nil
}

// Keys walks the idempotency keys. It does not fail.
func (a *Active) Keys(yield func(Key) bool) error {
	for _, k := range a.keys {
		if !yield(k) {
			return nil
		}
	}
	return nil
}
