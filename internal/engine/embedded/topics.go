package embedded

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/message"
	"crier/internal/seglog"
	"crier/internal/topic"
)

// maxTopics bounds a page of topics whatever is asked.
const maxTopics = 10_000

// Topics merges the names of all segments. Messages whose time to live has
// ended are counted until retention takes them.
func (l *Log) Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	if limit <= 0 || limit > maxTopics {
		limit = maxTopics
	}
	for {
		infos, err := l.topics(ctx, f, after, limit)
		switch {
		case errors.Is(err, seglog.ErrRemoved):
			continue
		case err != nil:
			return nil, failed("topics of domain "+l.domain, err)
		}
		return infos, nil
	}
}

// listing is a Topics under way: what was found so far, in a window of names
// that shrinks from above when it has as many as asked for.
type listing struct {
	log     *Log
	filter  topic.Filter
	from    string // names not below
	prefix  string // and with this beginning
	trimmed uint64
	found   map[string]*listed
}

type listed struct {
	count int
	last  uint64
}

func (l *Log) topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	g := listing{log: l, filter: f, prefix: commonPrefix(f)}
	g.from = max(after+"\x00", g.prefix) // names have no NUL: the first above after
	l.mu.RLock()
	if l.gone {
		l.mu.RUnlock()
		return nil, engine.ErrClosed
	}
	g.trimmed = l.ctl.Trimmed
	segs, active := l.segs, l.active.Topics(g.from)
	epochs := &page{epochs: l.ctl.Epochs}
	first := l.active.Summary().First
	l.mu.RUnlock()

	// As many names as the page may need of each source, then the smallest of
	// all: a name that a source did not come to lies above what every source
	// came to.
	for want := limit; ; want *= 2 {
		g.found = map[string]*listed{}
		bound := "" // names up to here are known wholly; "": all
		for _, s := range segs {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if s.sum.Last <= g.trimmed {
				continue
			}
			stopped, err := g.segment(s, want)
			if err != nil {
				return nil, err
			}
			if stopped != "" && (bound == "" || stopped < bound) {
				bound = stopped
			}
		}
		if err := g.active(active, first); err != nil {
			return nil, err
		}
		infos := g.page(bound, limit, epochs)
		if len(infos) == limit || bound == "" {
			return infos, nil
		}
	}
}

// segment adds the topics of a sealed segment, at most want of them; stopped
// is the last name that it came to if there are more.
func (g *listing) segment(s *segment, want int) (stopped string, err error) {
	err = g.log.withIndex(s, func(x index.Index, _ *seglog.Segment) error {
		var broken error
		n := 0
		err := x.Names(g.from, func(t index.Topic) bool {
			if !strings.HasPrefix(t.Name, g.prefix) {
				return false
			}
			if !g.filter.Match(t.Name) {
				return true
			}
			if n++; n > want {
				return false
			}
			stopped = t.Name
			broken = g.add(x, t, s.sum.First)
			return broken == nil
		})
		if n <= want {
			stopped = ""
		}
		return errors.Join(err, broken)
	})
	return stopped, err
}

// active adds the topics of the segment that grows.
func (g *listing) active(topics []index.Topic, first uint64) error {
	l := g.log
	for _, t := range topics {
		if !strings.HasPrefix(t.Name, g.prefix) || !g.filter.Match(t.Name) {
			continue
		}
		if first > max(g.trimmed, l.forgetMark(t.Name)) {
			g.count(t, t.Count)
			continue
		}
		l.mu.RLock()
		if l.active.Summary().First != first {
			l.mu.RUnlock()
			return seglog.ErrRemoved // sealed meanwhile: list again
		}
		n, _ := l.active.Above(t, max(g.trimmed, l.ctl.Forgets[t.Name])) // which does not fail
		now, _, _ := l.active.Lookup(t.Name)
		l.mu.RUnlock()
		g.count(now, n)
	}
	return nil
}

// add counts a topic's messages that are there.
func (g *listing) add(x index.Index, t index.Topic, first uint64) error {
	after := max(g.trimmed, g.log.forgetMark(t.Name))
	n := t.Count
	if first <= after {
		var err error
		if n, err = x.Above(t, after); err != nil {
			return err
		}
	}
	g.count(t, n)
	return nil
}

func (g *listing) count(t index.Topic, n int) {
	if n == 0 {
		return
	}
	e := g.found[t.Name]
	if e == nil {
		e = &listed{}
		g.found[t.Name] = e
	}
	e.count += n
	e.last = max(e.last, t.Last)
}

// page gives the first topics up to bound.
func (g *listing) page(bound string, limit int, epochs *page) []engine.TopicInfo {
	infos := make([]engine.TopicInfo, 0, len(g.found))
	for name, e := range g.found {
		if bound != "" && name > bound {
			continue
		}
		infos = append(infos, engine.TopicInfo{
			Topic: name, Count: int64(e.count),
			Last: message.ID{Epoch: epochs.epoch(e.last), Seq: e.last},
		})
	}
	slices.SortFunc(infos, func(a, b engine.TopicInfo) int { return cmp.Compare(a.Topic, b.Topic) })
	return infos[:min(len(infos), limit)]
}
