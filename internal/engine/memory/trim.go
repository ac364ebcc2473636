package memory

import (
	"context"
	"fmt"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// Trim takes the oldest messages away, a slice at a time, until the rest is
// within the bounds.
func (l *Log) Trim(ctx context.Context, r engine.Retention) error {
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("trim: %w", err)
	}
	moved := false
	for {
		done, some, err := l.trimSlice(r)
		moved = moved || some
		if err == nil && !done {
			err = ctx.Err()
		}
		if done || err != nil {
			if moved {
				l.changed.Store(true)
				l.ring()
			}
			if err != nil {
				return fmt.Errorf("trim: %w", err)
			}
			return nil
		}
	}
}

// trimSlice trims some messages, and reports whether it took any.
func (l *Log) trimSlice(r engine.Retention) (done, moved bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return true, false, engine.ErrClosed
	}
	from := l.trimmed
	for range sliceLen {
		if l.trimmed == l.hist.head {
			done = true
			break
		}
		if rec := l.hist.at(l.trimmed + 1); rec != nil {
			if !outside(rec, r, l.bytes) {
				done = true
				break
			}
			l.take(rec, l.trimmed+1, message.Retention)
		}
		l.trimmed++
	}
	l.index.flush()
	l.hist.cut(l.trimmed)
	return done, l.trimmed > from, nil
}

// outside reports whether the oldest message has to go; bytes is what all
// that are left have.
func outside(rec *record, r engine.Retention, bytes int64) bool {
	return !r.Before.IsZero() && time.UnixMicro(rec.at).Before(r.Before) || r.Bytes > 0 && bytes > r.Bytes
}

// take lets go of the message of seq; why is empty if its time to live ended.
// The caller holds mu and flushes the index.
func (l *Log) take(rec *record, seq uint64, why message.Reason) {
	ts, size := rec.topic, rec.size()
	l.bytes -= size
	l.count--
	l.hist.clear(seq)
	l.index.drop(ts, seq, size, why)
	ts.compact(func(seq uint64) bool { return l.hist.at(seq) == nil })
}

// Forget deletes a topic's messages: at once for all who ask, their space by
// and by.
func (l *Log) Forget(ctx context.Context, topicName string) error {
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("forget topic: %w", err)
	}
	gone, err := l.forget(topicName)
	if err != nil {
		return fmt.Errorf("forget topic: %w", err)
	}
	for len(gone) > 0 {
		n := min(len(gone), sliceLen)
		l.clear(gone[:n])
		gone = gone[n:]
	}
	return nil
}

// forget takes the topic out of the index and tells so. It returns the
// numbers of the records to clear.
func (l *Log) forget(topicName string) ([]uint64, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, engine.ErrClosed
	}
	ts := l.index.topics[topicName]
	if ts == nil || ts.live == 0 {
		l.mu.Unlock()
		return nil, nil
	}
	newest := l.newestOf(ts)
	l.index.forget(ts, newest)
	l.index.flush()
	l.bytes -= ts.bytes
	l.count -= int64(ts.live)
	l.changes++
	l.changed.Store(true)
	l.mu.Unlock()
	l.ring()
	return ts.seqs, nil
}

// clear lets go of records whose topic is forgotten.
func (l *Log) clear(seqs []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range seqs {
		l.hist.clear(seq)
	}
}
