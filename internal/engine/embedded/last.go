package embedded

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"strings"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
	"crier/internal/topic"
)

// Last goes from the newest segment to older ones until it has found n. A
// filter of topics costs n.
func (l *Log) Last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error) {
	for {
		after, head, err = l.last(ctx, f, n)
		if !errors.Is(err, seglog.ErrRemoved) && !errors.Is(err, seglog.ErrRolledBack) {
			break
		}
	}
	if err != nil {
		return 0, 0, failed("newest messages of domain "+l.domain, err)
	}
	return after, head, nil
}

// search is a Last under way.
type search struct {
	log     *Log
	filter  topic.Filter
	topics  []string
	exact   bool
	need    int    // messages yet to be found
	found   uint64 // the oldest one found
	trimmed uint64
	now     int64
}

func (l *Log) last(ctx context.Context, f topic.Filter, n int) (after, head uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	s := search{log: l, filter: f, need: n, now: l.engine.cfg.Now().UnixMicro()}
	s.topics, s.exact = f.Topics()
	l.mu.RLock()
	if l.gone {
		l.mu.RUnlock()
		return 0, 0, engine.ErrClosed
	}
	head, s.trimmed = l.head, l.ctl.Trimmed
	segs, sum := l.segs, l.active.Summary()
	l.mu.RUnlock()
	s.found = head + 1
	if s.need > 0 && max(s.trimmed+1, sum.First) <= head {
		if err := s.inActive(sum.First, head); err != nil {
			return 0, 0, err
		}
	}
	for i := len(segs) - 1; i >= 0 && s.need > 0 && segs[i].sum.Last > s.trimmed; i-- {
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		g := segs[i]
		err := l.withIndex(g, func(x index.Index, hold *seglog.Segment) error {
			topics, err := s.matching(x)
			if err != nil {
				return err
			}
			return s.segment(x, hold, topics, g.sum.First, g.sum.Last, func(fn func()) error { fn(); return nil })
		})
		if err != nil {
			return 0, 0, err
		}
	}
	return s.found - 1, head, nil
}

// inActive looks into the segment that grows, up to head.
func (s *search) inActive(first, head uint64) error {
	l := s.log
	l.mu.RLock()
	active, number := l.active, l.number
	if active.Summary().First != first {
		l.mu.RUnlock()
		return seglog.ErrRemoved // sealed meanwhile: look again
	}
	var topics []index.Topic
	if s.exact {
		topics, _ = s.matching(active) // which does not fail
	} else {
		topics = active.Topics(commonPrefix(s.filter))
	}
	l.mu.RUnlock()
	if !s.exact {
		topics = slices.DeleteFunc(topics, func(t index.Topic) bool { return !s.filter.Match(t.Name) })
	}
	if len(topics) == 0 {
		return nil
	}
	hold, err := l.seg.Acquire(number)
	if err != nil {
		return err
	}
	defer hold.Release()
	return s.segment(active, hold, topics, first, head, func(fn func()) error {
		l.mu.RLock()
		defer l.mu.RUnlock()
		fn()
		return nil
	})
}

// matching gives the topics of a segment that match.
func (s *search) matching(x index.Index) ([]index.Topic, error) {
	var topics []index.Topic
	if s.exact {
		for _, name := range s.topics {
			t, ok, err := x.Lookup(name)
			if err != nil {
				return nil, err
			}
			if ok {
				topics = append(topics, t)
			}
		}
		return topics, nil
	}
	prefix := commonPrefix(s.filter)
	err := x.Names(prefix, func(t index.Topic) bool {
		if s.filter.Match(t.Name) {
			topics = append(topics, t)
		}
		return strings.HasPrefix(t.Name, prefix)
	})
	return topics, err
}

// segment looks for what is needed in a segment, between first and last. The
// index is only used within locked.
func (s *search) segment(x index.Index, hold *seglog.Segment, topics []index.Topic, first, last uint64, locked func(func()) error) error {
	first = max(first, s.trimmed+1)
	count := 0
	for _, t := range topics {
		count += t.Count
	}
	if count == 0 || first > last {
		return nil
	}
	if !s.exact && count > 64 && uint64(count)*dense > last-first {
		return s.scanBack(first, last)
	}
	marks := s.log.forgetMarks(topics)
	for upTo := last; s.need > 0 && upTo >= first; {
		var found []placed
		var err error
		most := s.need + 16
		if lerr := locked(func() { found, err = newest(x, topics, marks, upTo, most) }); lerr != nil || err != nil {
			return errors.Join(lerr, err)
		}
		if len(found) == 0 {
			return nil
		}
		for _, p := range found {
			upTo = p.Seq - 1
			if p.Seq < first || p.hidden {
				continue
			}
			if p.TTL {
				expired, err := s.log.expired(hold, p.Posting, s.now)
				if err != nil {
					return err
				}
				if expired {
					continue
				}
			}
			if s.need--; s.found > p.Seq {
				s.found = p.Seq
			}
			if s.need == 0 {
				return nil
			}
		}
	}
	return nil
}

// placed is a message of a topic, and whether it was deleted.
type placed struct {
	index.Posting
	hidden bool
}

// newest gives the newest messages of topics up to upTo, newest first. marks
// are up to where the topics are deleted.
func newest(x index.Index, topics []index.Topic, marks []uint64, upTo uint64, most int) ([]placed, error) {
	var all []placed
	var found []index.Posting
	for i, t := range topics {
		var err error
		if found, err = x.Before(found[:0], t, upTo, most); err != nil {
			return nil, err
		}
		for _, p := range found {
			all = append(all, placed{p, p.Seq <= marks[i]})
		}
	}
	slices.SortFunc(all, func(a, b placed) int { return cmp.Compare(b.Seq, a.Seq) })
	return all[:min(len(all), most)], nil
}

// forgetMarks gives up to where topics are deleted.
func (l *Log) forgetMarks(topics []index.Topic) []uint64 {
	marks := make([]uint64, len(topics))
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.ctl.Forgets) > 0 {
		for i, t := range topics {
			marks[i] = l.ctl.Forgets[t.Name]
		}
	}
	return marks
}

// scanBack looks through the end of a range, and more of it as long as that
// does not have what is needed.
func (s *search) scanBack(first, last uint64) error {
	for width := uint64(s.need) + 64; s.need > 0 && last >= first; width *= 2 {
		begin := first
		if last-first >= width {
			begin = last - width + 1
		}
		seqs, err := s.scan(begin, last)
		if err != nil {
			return err
		}
		if n := min(s.need, len(seqs)); n > 0 {
			s.need -= n
			s.found = seqs[len(seqs)-n]
		}
		last = begin - 1
	}
	return nil
}

// scan gives the messages of a range that match and are there.
func (s *search) scan(first, last uint64) ([]uint64, error) {
	r := s.log.seg.NewReader(first - 1)
	defer r.Close()
	var m record.Message
	var seqs []uint64
	for {
		rec, err := r.Next()
		if _, ok := errors.AsType[*seglog.DamageError](err); ok {
			continue
		}
		if err == io.EOF || err == nil && rec.Seq > last {
			return seqs, nil
		}
		if err != nil {
			return nil, err
		}
		if record.Parse(rec.Payload, &m) != nil || m.Expired(s.now) || !s.filter.Match(s.log.engine.strings.string(m.Topic)) ||
			s.log.forgotten(m.Topic, rec.Seq) {
			continue
		}
		seqs = append(seqs, rec.Seq)
	}
}
