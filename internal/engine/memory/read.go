package memory

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// What a page holds unless the query says otherwise.
const (
	defaultLimit    = 1000
	defaultMaxBytes = 1 << 20
)

// Read returns a page. A filter of topics costs what it returns; one with a
// wildcard looks at every message of the range, a slice at a time.
func (l *Log) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	if err := l.begin(ctx); err != nil {
		return engine.Page{}, fmt.Errorf("read: %w", err)
	}
	rd := reading{
		limit: cmp.Or(max(q.Limit, 0), defaultLimit),
		room:  cmp.Or(max(q.MaxBytes, 0), defaultMaxBytes),
		at:    q.After, upTo: q.UpTo, match: newMatcher(q.Filter),
	}
	rd.topics, rd.exact = q.Filter.Topics()
	for {
		done, lost, err := l.readSlice(&rd, q)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return engine.Page{}, fmt.Errorf("read: %w", err)
		}
		if done {
			return engine.Page{Messages: rd.messages, Next: rd.at, Lost: lost.seq, Reason: lost.why}, nil
		}
	}
}

// reading is a Read under way.
type reading struct {
	limit, room int
	at          uint64 // everything that matches up to here is in messages or gone
	upTo        uint64 // where to stop; fixed by the first slice
	fixed       bool
	topics      []string // of a filter without wildcards
	exact       bool
	match       matcher
	messages    []message.Message
}

func (rd *reading) full() bool { return rd.limit <= 0 || rd.room <= 0 }

// expect makes room for the n messages that may come, or as many as a usual
// page has.
func (rd *reading) expect(n uint64) {
	if rd.messages == nil && n > 0 {
		rd.messages = make([]message.Message, 0, min(n, uint64(rd.limit), defaultLimit))
	}
}

// take puts a message into the page.
func (rd *reading) take(seq uint64, r *record) {
	rd.messages = append(rd.messages, r.message(seq))
	rd.limit--
	rd.room -= len(r.data)
	rd.at = seq
}

// readSlice goes on for a slice. When done it tells what is lost: in the same
// moment, so that whatever was not found is counted.
func (l *Log) readSlice(rd *reading, q engine.Query) (done bool, lost loss, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return false, loss{}, engine.ErrClosed
	}
	if !rd.fixed {
		rd.fixed = true
		if rd.upTo == 0 || rd.upTo > l.hist.head {
			rd.upTo = l.hist.head
		}
		rd.at = min(rd.at, l.hist.head)
	}
	if rd.exact {
		l.merge(rd)
	} else {
		l.scan(rd)
	}
	if !rd.full() && rd.at < rd.upTo {
		return false, loss{}, nil
	}
	return true, l.index.lost(q.Filter, q.After), nil
}

// scan looks at the records in order.
func (l *Log) scan(rd *reading) {
	rd.at = min(max(rd.at, l.trimmed), max(rd.at, rd.upTo))
	if rd.match.all && rd.at < rd.upTo {
		rd.expect(rd.upTo - rd.at)
	}
	for range sliceLen / rd.match.cost() {
		if rd.full() || rd.at >= rd.upTo {
			return
		}
		rd.at++
		if r := l.hist.at(rd.at); r != nil && rd.match.topic(r.topic) {
			rd.take(rd.at, r)
		}
	}
}

// merge goes along the messages of the topics of the filter.
func (l *Log) merge(rd *reading) {
	lists := l.lists(rd.topics)
	left := 0
	for i := range lists {
		lists[i].seek(rd.at + 1)
		left += len(lists[i].seqs) - lists[i].i
	}
	rd.expect(uint64(left))
	for range sliceLen {
		if rd.full() || rd.at >= rd.upTo {
			return
		}
		var next *list
		for i := range lists {
			if n := &lists[i]; n.i < len(n.seqs) && (next == nil || n.seqs[n.i] < next.seqs[next.i]) {
				next = n
			}
		}
		if next == nil || next.seqs[next.i] > rd.upTo {
			rd.at = rd.upTo
			return
		}
		seq := next.seqs[next.i]
		next.i++
		rd.at = seq
		if r := l.hist.at(seq); r != nil {
			rd.take(seq, r)
		}
	}
}

// list is a place in the messages of a topic.
type list struct {
	seqs []uint64
	i    int
}

func (n *list) seek(seq uint64) { n.i, _ = slices.BinarySearch(n.seqs, seq) }

func (l *Log) lists(topics []string) []list {
	lists := make([]list, 0, len(topics))
	for _, name := range topics {
		if ts := l.index.topics[name]; ts != nil && ts.live > 0 {
			lists = append(lists, list{seqs: ts.seqs})
		}
	}
	return lists
}

// Last finds the newest n that match. A filter of topics costs n; one with a
// wildcard looks at every message from the head until it has found them.
func (l *Log) Last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error) {
	if err := l.begin(ctx); err != nil {
		return 0, 0, fmt.Errorf("last: %w", err)
	}
	s := search{at: math.MaxUint64, left: n, match: newMatcher(f)}
	s.topics, s.exact = f.Topics()
	for {
		done, err := l.searchSlice(&s)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, 0, fmt.Errorf("last: %w", err)
		}
		if done {
			return s.found, s.head, nil
		}
	}
}

// search is a Last under way.
type search struct {
	at     uint64 // everything above was looked at
	left   int
	found  uint64 // the place before the oldest one found
	head   uint64 // when it began
	topics []string
	exact  bool
	match  matcher
}

func (l *Log) searchSlice(s *search) (done bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return false, engine.ErrClosed
	}
	if s.at > l.hist.head+1 {
		s.head, s.found, s.at = l.hist.head, l.hist.head, l.hist.head+1
	}
	var lists []list
	if s.exact {
		lists = l.lists(s.topics)
		for i := range lists {
			lists[i].seek(s.at)
		}
	}
	for range sliceLen / s.match.cost() {
		if s.left <= 0 || !l.stepBack(s, lists) {
			return true, nil
		}
		if r := l.hist.at(s.at); r != nil && (s.exact || s.match.topic(r.topic)) {
			s.left--
			s.found = s.at - 1
		}
	}
	return false, nil
}

// stepBack goes to the next message that may match, if there is one.
func (l *Log) stepBack(s *search, lists []list) bool {
	if !s.exact {
		if s.at <= l.trimmed+1 {
			return false
		}
		s.at--
		return true
	}
	var next *list
	for i := range lists {
		if n := &lists[i]; n.i > 0 && (next == nil || n.seqs[n.i-1] > next.seqs[next.i-1]) {
			next = n
		}
	}
	if next == nil {
		return false
	}
	next.i--
	s.at = next.seqs[next.i]
	return true
}

// Complete returns the newest sequence number of a matching message that is
// gone other than by its own time to live, or more (see lost.go).
func (l *Log) Complete(ctx context.Context, f topic.Filter) (uint64, error) {
	if err := l.begin(ctx); err != nil {
		return 0, fmt.Errorf("complete: %w", err)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return 0, fmt.Errorf("complete: %w", engine.ErrClosed)
	}
	return l.index.lost(f, 0).seq, nil
}

// Topics lists topics; a limit of 0 is 1,000.
func (l *Log) Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	if err := l.begin(ctx); err != nil {
		return nil, fmt.Errorf("topics: %w", err)
	}
	limit = cmp.Or(max(limit, 0), defaultLimit)
	topics, exact := f.Topics()
	if exact {
		slices.Sort(topics)
	}
	var infos []engine.TopicInfo
	for {
		at, more, err := l.topicsSlice(f, topics, exact, after, limit, &infos)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("topics: %w", err)
		}
		if !more {
			return infos, nil
		}
		after = at
	}
}

// topicsSlice looks at some topics, and returns the last of them and whether
// there may be more.
func (l *Log) topicsSlice(f topic.Filter, names []string, exact bool, after string, limit int, infos *[]engine.TopicInfo) (at string, more bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return "", false, engine.ErrClosed
	}
	take := func(ts *topicState) bool {
		if len(*infos) >= limit {
			return false
		}
		last := l.newestOf(ts)
		*infos = append(*infos, engine.TopicInfo{Topic: ts.name, Count: int64(ts.live), Last: l.hist.at(last).id(last)})
		return true
	}
	if exact {
		for _, name := range names {
			if ts := l.index.topics[name]; name > after && ts != nil && ts.live > 0 && !take(ts) {
				break
			}
		}
		return "", false, nil
	}
	seen := 0
	for ts := range l.index.names.from(&topicState{name: after}) {
		if ts.name == after {
			continue
		}
		if f.Match(ts.name) && !take(ts) {
			return "", false, nil
		}
		if seen++; seen == sliceLen {
			return ts.name, true, nil
		}
	}
	return "", false, nil
}

// newestOf returns the number of the newest message of a topic that has some.
func (l *Log) newestOf(ts *topicState) uint64 {
	for _, seq := range slices.Backward(ts.seqs) {
		if l.hist.at(seq) != nil {
			return seq
		}
	}
	return 0
}

func (r *record) id(seq uint64) message.ID { return message.ID{Epoch: r.epoch, Seq: seq} }

// matcher is a filter that remembers the topics it was asked about.
type matcher struct {
	filter topic.Filter
	all    bool
	known  map[*topicState]bool
}

// maxKnown bounds what a matcher remembers.
const maxKnown = 1 << 14

func newMatcher(f topic.Filter) matcher {
	return matcher{filter: f, all: f.MatchesAll(), known: map[*topicState]bool{}}
}

// cost is about how much more than one wildcard the filter costs.
func (m *matcher) cost() int { return min(1+len(m.filter.Patterns())/4, 16) }

func (m *matcher) topic(ts *topicState) bool {
	if m.all {
		return true
	}
	ok, known := m.known[ts]
	if !known {
		ok = m.filter.Match(ts.name)
		if len(m.known) < maxKnown {
			m.known[ts] = ok
		}
	}
	return ok
}
