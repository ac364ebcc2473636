package hub

import (
	"sync/atomic"
)

// tail is the newest part of a domain's log in memory: entries of consecutive
// sequence numbers, shared by all subscribers. It is guarded by its domain's
// mutex, but for bytes.
type tail struct {
	ring  []*Entry // a ring; nil entries are messages that expired before they came here
	start int      // index of the oldest
	n     int
	first uint64 // sequence number of the oldest; the head plus one if empty
	bytes atomic.Int64
}

func (t *tail) reset(head uint64) {
	for t.n > 0 {
		t.pop()
	}
	t.first = head + 1
}

// head is the newest sequence number in the tail, or the one before it begins.
func (t *tail) head() uint64 { return t.first + uint64(t.n) - 1 }

// at returns the entry of a sequence number that is in the tail.
func (t *tail) at(seq uint64) *Entry {
	i := t.start + int(seq-t.first)
	if i >= len(t.ring) {
		i -= len(t.ring)
	}
	return t.ring[i]
}

// push adds the next entry, which may be nil.
func (t *tail) push(e *Entry) {
	if t.n == len(t.ring) {
		t.grow()
	}
	i := t.start + t.n
	if i >= len(t.ring) {
		i -= len(t.ring)
	}
	t.ring[i] = e
	t.n++
	if e != nil {
		e.tail = t
		e.held.Store(e.cost())
		t.bytes.Add(e.cost())
	}
}

func (t *tail) grow() {
	bigger := make([]*Entry, max(64, 2*len(t.ring)))
	for i := range t.n {
		bigger[i] = t.at(t.first + uint64(i))
	}
	t.ring, t.start = bigger, 0
}

// pop gives up the oldest entry.
func (t *tail) pop() {
	if e := t.ring[t.start]; e != nil {
		t.bytes.Add(-e.held.Swap(notHeld))
		t.ring[t.start] = nil
	}
	t.start++
	if t.start == len(t.ring) {
		t.start = 0
	}
	t.n--
	t.first++
}

// shrink gives up the oldest entries until the tail fits the limit.
func (t *tail) shrink(limit int64) {
	for t.n > 0 && t.bytes.Load() > limit {
		t.pop()
	}
}

// dropTo gives up the entries up to a sequence number.
func (t *tail) dropTo(seq uint64) {
	for t.n > 0 && t.first <= seq {
		t.pop()
	}
}
