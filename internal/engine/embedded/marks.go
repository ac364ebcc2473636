package embedded

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
	"crier/internal/seglog"
	"crier/internal/topic"
)

// What is gone is known from four sources, and the newest counts:
//
//   - topics deleted, in Control.Forgets, as long as a segment has their messages;
//   - the segments that are there yet, for what is trimmed in them;
//   - the table of marks, for the segments that were removed;
//   - damage.
//
// A message whose own time to live had ended before it was trimmed is no loss.

// loss is the newest message that is gone; the zero loss is none.
type loss struct {
	seq    uint64
	reason message.Reason
}

// newer is the newer of two losses; of one message it is a.
func (a loss) newer(b loss) loss {
	if b.seq > a.seq {
		return b
	}
	return a
}

func lossOf(m index.Mark) loss {
	switch {
	case m.Seq == 0:
		return loss{}
	case m.Deleted:
		return loss{m.Seq, message.Deleted}
	}
	return loss{m.Seq, message.Retention}
}

// Complete looks for the newest message that is gone.
func (l *Log) Complete(ctx context.Context, f topic.Filter) (uint64, error) {
	err := ctx.Err()
	var lost loss
	if err == nil {
		lost, err = l.lost(f, 0)
	}
	if err != nil {
		return 0, failed("complete history of domain "+l.domain, err)
	}
	return lost.seq, nil
}

// gone is what the search for a loss begins with: a view of the log.
type gone struct {
	log     *Log
	filter  topic.Filter
	topics  []string
	exact   bool
	trimmed uint64
	segs    []*segment // that have messages up to trimmed
	active  bool       // so has the segment that grows
	first   uint64     // of the segment that grows
	table   *markTable
	passes  trimPasses
}

// lost finds the newest loss among what matches. One that is not above after
// may be left out.
func (l *Log) lost(f topic.Filter, after uint64) (loss, error) {
	for {
		g := gone{log: l, filter: f}
		g.topics, g.exact = f.Topics()
		newest, err := g.begin()
		if err != nil {
			return loss{}, err
		}
		if after < g.trimmed {
			newest, err = g.trimmedLoss(newest, after)
		}
		if errors.Is(err, seglog.ErrRemoved) || errors.Is(err, errTableReplaced) {
			continue // removed meanwhile: the table has what it said
		}
		return newest, err
	}
}

// begin takes the view, and the losses that are known in memory.
func (g *gone) begin() (newest loss, err error) {
	l := g.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.gone {
		return loss{}, engine.ErrClosed
	}
	g.trimmed, g.table, g.passes = l.ctl.Trimmed, l.table, slices.Clone(l.passes)
	for i, s := range l.segs {
		if s.sum.First > g.trimmed {
			break
		}
		g.segs = l.segs[:i+1]
	}
	g.first = l.active.Summary().First
	g.active = g.first <= g.trimmed
	if g.exact {
		for _, name := range g.topics {
			newest = newest.newer(loss{l.ctl.Forgets[name], message.Deleted})
		}
	} else {
		for name, seq := range l.ctl.Forgets {
			if seq > newest.seq && g.filter.Match(name) {
				newest = loss{seq, message.Deleted}
			}
		}
	}
	for _, d := range l.damage {
		newest = newest.newer(loss{min(d.Last, l.head), message.Retention})
	}
	if newest.seq == 0 {
		newest.reason = ""
	}
	return newest, nil
}

// trimmedLoss adds what retention took, if it is above after.
func (g *gone) trimmedLoss(newest loss, after uint64) (loss, error) {
	if g.active {
		found, err := g.inActive()
		if err != nil {
			return newest, err
		}
		newest = newest.newer(found)
	}
	for i := len(g.segs) - 1; i >= 0; i-- {
		s := g.segs[i]
		if s.sum.Last <= newest.seq || s.sum.Last <= after {
			return newest, nil // and all before it, and the table
		}
		var found loss
		err := g.log.withIndex(s, func(x index.Index, hold *seglog.Segment) (err error) {
			if g.exact {
				found, err = g.ofTopics(x, hold)
			} else {
				found, err = g.ofPatterns(x, hold, s.sum.First, min(s.sum.Last, g.trimmed))
			}
			return err
		})
		if err != nil {
			return newest, err
		}
		newest = newest.newer(found)
	}
	if g.table.covers <= max(newest.seq, after) {
		return newest, nil
	}
	found, err := g.table.lost(g)
	return newest.newer(found), err
}

// inActive looks at the segment that grows.
func (g *gone) inActive() (loss, error) {
	l := g.log
	l.mu.RLock()
	number := l.number
	l.mu.RUnlock()
	hold, err := l.seg.Acquire(number)
	if err != nil {
		return loss{}, err
	}
	defer hold.Release()
	l.mu.RLock()
	if l.active.Summary().First != g.first { // sealed since begin: the view lacks it
		l.mu.RUnlock()
		return loss{}, seglog.ErrRemoved
	}
	if g.exact {
		defer l.mu.RUnlock()
		return g.ofTopics(l.active, hold)
	}
	l.mu.RUnlock()
	if found, ok, err := g.inWindow(g.first, g.trimmed); ok || err != nil {
		return found, err
	}
	l.mu.RLock()
	names := l.active.Topics("")
	l.mu.RUnlock()
	// The topics' messages up to the trim mark don't change any more.
	var newest loss
	for _, t := range names {
		if !g.filter.Match(t.Name) {
			continue
		}
		l.mu.RLock()
		found, err := g.ofTopic(l.active, hold, t)
		l.mu.RUnlock()
		if err != nil {
			return loss{}, err
		}
		newest = newest.newer(found)
	}
	return newest, nil
}

func (g *gone) ofTopics(x index.Index, hold *seglog.Segment) (newest loss, err error) {
	for _, name := range g.topics {
		t, ok, err := x.Lookup(name)
		if err != nil {
			return loss{}, err
		}
		if !ok {
			continue
		}
		found, err := g.ofTopic(x, hold, t)
		if err != nil {
			return loss{}, err
		}
		newest = newest.newer(found)
	}
	return newest, nil
}

// ofTopic finds a topic's newest message that was trimmed in a segment.
func (g *gone) ofTopic(x index.Index, hold *seglog.Segment, t index.Topic) (loss, error) {
	upTo := g.trimmed
	if !t.TTL && t.Last <= upTo {
		return loss{t.Last, message.Retention}, nil
	}
	var found []index.Posting
	for limit := 1; ; limit = 64 {
		var err error
		found, err = x.Before(found[:0], t, upTo, limit)
		if err != nil || len(found) == 0 {
			return loss{}, err
		}
		for _, p := range found {
			expired := false
			if p.TTL {
				if expired, err = g.log.expired(hold, p, g.passes.at(p.Seq)); err != nil {
					return loss{}, err
				}
			}
			if !expired {
				return loss{p.Seq, message.Retention}, nil
			}
			upTo = p.Seq - 1
		}
	}
}

// expired reports whether a message's own time to live has ended. One that
// cannot be read has not.
func (l *Log) expired(hold *seglog.Segment, p index.Posting, now int64) (bool, error) {
	rec, err := hold.ReadAt(p.Offset, nil)
	if errors.Is(err, seglog.ErrDamaged) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var m record.Message
	if err := record.Parse(rec.Payload, &m); err != nil {
		return false, nil
	}
	return m.Expired(now), nil
}

// ofPatterns finds the newest message that was trimmed in a segment whose
// topic matches a filter with wildcards: most often it is one of the last that
// went; else all topics are gone through.
func (g *gone) ofPatterns(x index.Index, hold *seglog.Segment, first, last uint64) (loss, error) {
	if found, ok, err := g.inWindow(first, last); ok || err != nil {
		return found, err
	}
	var newest loss
	var broken error
	err := x.Names(g.from(), func(t index.Topic) bool {
		if !strings.HasPrefix(t.Name, g.from()) {
			return false
		}
		if min(t.Last, g.trimmed) <= newest.seq || !g.filter.Match(t.Name) {
			return true
		}
		var found loss
		if found, broken = g.ofTopic(x, hold, t); broken != nil {
			return false
		}
		newest = newest.newer(found)
		return true
	})
	return newest, errors.Join(err, broken)
}

// from is what all topics that match begin with.
func (g *gone) from() string { return commonPrefix(g.filter) }

// window is how many messages are looked at before all topics are.
const window = 512

// inWindow looks for the newest match among the last messages up to last. ok
// is false if there is none and messages before the window may match.
func (g *gone) inWindow(first, last uint64) (newest loss, ok bool, err error) {
	begin := first - 1
	if last-begin > window {
		begin = last - window
	}
	r := g.log.seg.NewReader(begin)
	defer r.Close()
	var m record.Message
	for {
		rec, err := r.Next()
		if _, ok := errors.AsType[*seglog.DamageError](err); ok {
			continue
		}
		if err != nil && err != io.EOF {
			return loss{}, false, err
		}
		if err == io.EOF || rec.Seq > last {
			return newest, newest.seq > 0 || begin+1 == first, nil
		}
		if record.Parse(rec.Payload, &m) != nil || !g.filter.Match(string(m.Topic)) {
			continue
		}
		switch {
		case g.log.forgotten(m.Topic, rec.Seq):
			newest = loss{rec.Seq, message.Deleted}
		case !m.Expired(g.passes.at(rec.Seq)):
			newest = loss{rec.Seq, message.Retention}
		}
	}
}

// commonPrefix is what the topics that a filter matches all begin with.
func commonPrefix(f topic.Filter) string {
	prefix := ""
	for i, p := range f.Patterns() {
		s, _, _ := strings.Cut(p.String(), "*")
		if i == 0 {
			prefix = s
			continue
		}
		for !strings.HasPrefix(s, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}
