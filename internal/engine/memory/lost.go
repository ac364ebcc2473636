package memory

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"crier/internal/message"
	"crier/internal/topic"
)

// maxMarks is how many topics without messages keep a mark of their own.
const maxMarks = 100_000

// loss is a mark: the newest sequence number of a message that is gone, other
// than by its own time to live, and why. The zero loss is none.
type loss struct {
	seq uint64
	why message.Reason
}

// newer returns the newer of two losses.
func (a loss) newer(b loss) loss {
	if b.seq > a.seq {
		return b
	}
	return a
}

// topicState is what a log knows of one topic. It is in the map of topics
// while the topic has messages, or a mark.
type topicState struct {
	name      string
	seqs      []uint64 // of its messages, in order; a few may be gone
	cut       int      // how many were taken off the front of seqs without a copy
	live      int      // messages
	bytes     int64    // of their data and topic
	meta      *meta    // of its newest message
	lost      loss
	forgotten bool // its records are gone, although they may lie in the history yet
	in        *sorted[*topicState]
	dirty     bool // taken out of the marks, flush puts it back
}

func byName(a, b *topicState) int { return strings.Compare(a.name, b.name) }

func byLoss(a, b *topicState) int {
	return cmp.Or(cmp.Compare(a.lost.seq, b.lost.seq), strings.Compare(a.name, b.name))
}

// index has a log's topics, and the marks that tell what is gone. Marks are
// kept in the order of their sequence numbers, so that asking what a wildcard
// lost begins with the newest: exact for every topic that has messages and for
// those without that lost something last; the marks of the others are one,
// the floor, which every topic that the log does not know is taken to have.
// Not safe for concurrent use.
type index struct {
	topics  map[string]*topicState
	peak    int                 // the most topics since the map was made
	names   sorted[*topicState] // those with messages
	marks   sorted[*topicState] // those with messages and a mark
	gone    sorted[*topicState] // those without messages and with a mark, at most maxGone
	floor   loss
	maxGone int
	touched []*topicState
}

func newIndex(floor loss) index {
	return index{
		topics: map[string]*topicState{},
		names:  sorted[*topicState]{cmp: byName},
		marks:  sorted[*topicState]{cmp: byLoss},
		gone:   sorted[*topicState]{cmp: byLoss},
		floor:  floor, maxGone: maxMarks,
	}
}

// add notes a message. After it, as after every change below, flush must be
// called before the index is asked again.
func (x *index) add(name string, seq uint64, size int64) *topicState {
	ts := x.topics[name]
	if ts == nil {
		ts = &topicState{name: strings.Clone(name), lost: x.floor}
		x.topics[ts.name] = ts
		x.peak = max(x.peak, len(x.topics))
	}
	if ts.live == 0 {
		x.names.insert(ts)
		x.touch(ts)
	}
	ts.seqs = append(ts.seqs, seq)
	ts.live++
	ts.bytes += size
	return ts
}

// drop notes that a message is gone; why is empty if its time to live ended.
func (x *index) drop(ts *topicState, seq uint64, size int64, why message.Reason) {
	ts.live--
	ts.bytes -= size
	if why != "" {
		x.touch(ts)
		ts.lost = ts.lost.newer(loss{seq: seq, why: why})
	}
	for len(ts.seqs) > 0 && (ts.seqs[0] == seq || why == message.Retention && ts.seqs[0] < seq) {
		ts.seqs = ts.seqs[1:] // retention takes the oldest: what lies below is gone already
		ts.cut++
	}
	if ts.live == 0 {
		ts.seqs, ts.cut, ts.meta = nil, 0, nil
		x.names.remove(ts)
		x.touch(ts)
	}
}

// forget takes a topic with messages out of the index, and leaves a mark. The
// caller clears the records of what is returned.
func (x *index) forget(ts *topicState, newest uint64) {
	x.names.remove(ts)
	if ts.in != nil {
		ts.in.remove(ts)
		ts.in = nil
	}
	ts.forgotten = true
	mark := &topicState{name: ts.name, lost: ts.lost.newer(loss{seq: newest, why: message.Deleted})}
	x.topics[ts.name] = mark
	x.touch(mark)
}

// compact lets go of what the list of a topic's messages holds in vain; gone
// says which of them are.
func (ts *topicState) compact(gone func(seq uint64) bool) {
	if len(ts.seqs) > 2*ts.live+16 {
		ts.seqs = slices.DeleteFunc(ts.seqs, gone)
		ts.cut += cap(ts.seqs) - len(ts.seqs)
	}
	if ts.cut > 64 && ts.cut > len(ts.seqs) {
		ts.seqs, ts.cut = slices.Clone(ts.seqs), 0
	}
}

// touch takes a topic out of the marks; its mark or its being there changes.
func (x *index) touch(ts *topicState) {
	if ts.dirty {
		return
	}
	if ts.in != nil {
		ts.in.remove(ts)
		ts.in = nil
	}
	ts.dirty = true
	x.touched = append(x.touched, ts)
}

// flush puts the touched topics where they belong now.
func (x *index) flush() {
	for _, ts := range x.touched {
		ts.dirty = false
		switch {
		case ts.forgotten:
		case ts.live > 0 && ts.lost.seq > 0:
			ts.in = &x.marks
		case ts.live == 0 && ts.lost.seq > x.floor.seq:
			ts.in = &x.gone
		case ts.live == 0:
			delete(x.topics, ts.name) // the floor says the same
		}
		if ts.in != nil {
			ts.in.insert(ts)
		}
	}
	clear(x.touched)
	x.touched = x.touched[:0]
	if cap(x.touched) > 4*sliceLen {
		x.touched = nil
	}
	for x.gone.n > x.maxGone {
		ts := x.gone.min()
		x.gone.remove(ts)
		delete(x.topics, ts.name)
		x.floor = x.floor.newer(ts.lost)
	}
	if x.peak > 1024 && x.peak > 4*len(x.topics) { // a map never shrinks by itself
		topics := make(map[string]*topicState, len(x.topics))
		maps.Copy(topics, x.topics)
		x.topics, x.peak = topics, len(topics)
	}
}

// lost returns the newest loss among what matches, or one at or below after
// if there is none above it. It looks at no more marks than lie above after.
func (x *index) lost(f topic.Filter, after uint64) loss {
	if topics, exact := f.Topics(); exact {
		var l loss
		for _, name := range topics {
			if ts := x.topics[name]; ts != nil {
				l = l.newer(ts.lost)
			} else {
				l = l.newer(x.floor)
			}
		}
		return l
	}
	l := x.floor
	all := f.MatchesAll()
	for _, marks := range []*sorted[*topicState]{&x.marks, &x.gone} {
		for ts := range marks.backward() {
			if ts.lost.seq <= max(after, l.seq) {
				break
			}
			if all || f.Match(ts.name) {
				l = ts.lost
				break
			}
		}
	}
	return l
}
