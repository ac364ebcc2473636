package embedded

import (
	"context"
	"errors"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
)

// Forget marks the topic's messages up to the head as deleted; the mark is on
// disk when it returns. Their space comes back with their segments.
func (l *Log) Forget(ctx context.Context, topicName string) error {
	err := ctx.Err()
	if err == nil {
		err = l.forget(topicName)
	}
	if err != nil {
		return failed("forget topic in domain "+l.domain, err)
	}
	return nil
}

func (l *Log) forget(name string) error {
	l.history.Lock()
	defer l.history.Unlock()
	for {
		if done, err := l.tryForget(name); done || err != nil {
			return err
		}
	}
}

// tryForget is forget, unless the head falls back meanwhile.
func (l *Log) tryForget(name string) (done bool, err error) {
	f, err := l.forgetting(name)
	if err != nil || f.upTo == 0 {
		return true, err
	}
	l.mu.RLock()
	for number := range f.bytes {
		f.bytes[number] += l.ctl.Forgotten[number] // which changes under history, or with falls, only
	}
	l.mu.RUnlock()
	err = l.engine.control.change(l.dir, true, func(dst []byte) []byte {
		dst = record.AppendForget(dst, name, f.upTo)
		for number, bytes := range f.bytes {
			dst = record.AppendForgotten(dst, number, bytes)
		}
		return dst
	})
	if err != nil {
		return false, err
	}
	l.mu.Lock()
	if l.falls != f.falls {
		l.mu.Unlock()
		// What gets those numbers is not deleted.
		return false, l.engine.control.change(l.dir, true, func(dst []byte) []byte {
			l.mu.RLock()
			defer l.mu.RUnlock()
			return l.appendMarks(dst, []string{name})
		})
	}
	l.ctl.Forget(name, f.upTo)
	for number, bytes := range f.bytes {
		l.ctl.SetForgotten(number, bytes)
	}
	l.changes++
	l.mu.Unlock()
	l.ringChanged()
	return true, nil
}

// forgetting is what a Forget will delete.
type forgetting struct {
	upTo  uint64           // the topic's newest message; 0: it has none
	bytes map[uint64]int64 // by segment
	falls uint64           // how often the log had fallen back
}

// forgetting looks for the topic's messages that are left.
func (l *Log) forgetting(name string) (forgetting, error) {
	f := forgetting{bytes: map[uint64]int64{}}
	l.mu.RLock()
	if l.gone {
		l.mu.RUnlock()
		return f, engine.ErrClosed
	}
	f.falls = l.falls
	after := max(l.ctl.Trimmed, l.ctl.Forgets[name])
	segs, number := l.segs, l.number
	var last index.Topic
	var found []index.Posting
	sum := l.active.Summary()
	if t, ok, _ := l.active.Lookup(name); ok && t.Last > after { // which does not fail
		last = t
		if sum.First <= after {
			found, _ = l.active.After(nil, t, after, t.Last, t.Count)
		}
	}
	l.mu.RUnlock()

	if last.Last > 0 {
		f.upTo = last.Last
		f.bytes[number] = last.Bytes
		if sum.First <= after {
			hold, err := l.seg.Acquire(number)
			if err != nil {
				return f, err
			}
			f.bytes[number], err = l.sizes(hold, found)
			hold.Release()
			if err != nil {
				return f, err
			}
		}
	}
	for _, s := range segs {
		if s.sum.Last <= after {
			continue
		}
		err := l.withIndex(s, func(x index.Index, hold *seglog.Segment) error {
			t, ok, err := x.Lookup(name)
			if err != nil || !ok || t.Last <= after {
				return err
			}
			f.upTo = max(f.upTo, t.Last)
			f.bytes[s.number] = t.Bytes
			if s.sum.First > after {
				return nil
			}
			found, err := x.After(nil, t, after, t.Last, t.Count)
			if err == nil {
				f.bytes[s.number], err = l.sizes(hold, found)
			}
			return err
		})
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// sizes adds up data plus topic of messages.
func (l *Log) sizes(hold *seglog.Segment, found []index.Posting) (int64, error) {
	sum := int64(0)
	var m record.Message
	var buf []byte
	for _, p := range found {
		rec, err := hold.ReadAt(p.Offset, buf)
		if errors.Is(err, seglog.ErrDamaged) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if cap(rec.Payload) > cap(buf) {
			buf = rec.Payload[:cap(rec.Payload)]
		}
		if record.Parse(rec.Payload, &m) == nil {
			sum += int64(m.Size())
		}
	}
	return sum, nil
}
