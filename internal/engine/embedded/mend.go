package embedded

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
)

// roll begins a new segment. Should what was written before not get onto the
// disk, the log is mended first.
func (l *Log) roll() error {
	err := l.seg.Roll(l.tag())
	if _, ok := errors.AsType[*seglog.RollbackError](err); ok {
		return l.mend(err)
	}
	return err
}

// errLacks: the log has less than was seen of it, until it is mended.
var errLacks = errors.New("messages that were taken back are not written again yet")

// syncFile syncs the log's file. It fails as long as the log is to be mended:
// then there is nothing in the file to sync, and yet the journal is needed.
func (l *Log) syncFile() error {
	err := l.seg.Sync()
	if err == nil && l.seg.Written() < l.readHead() {
		return errLacks
	}
	return err
}

// takeBack mends the log after a sync beside the traffic failed.
func (l *Log) takeBack(cause error) {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return
	}
	if err := l.mend(cause); err != nil {
		l.engine.cfg.Logger.Error("log not mended after a failed sync; the next publish tries again", "domain", l.domain, "error", err)
	}
}

// mend brings the log in line with the segmented log after a sync failed
// there, which took back everything that was not synced. Messages that nobody
// has seen just give their numbers back. Messages that are in the journal are
// written again. Are others lost that were seen, then a new epoch begins, so
// that their numbers are not given again under the same name. If mend fails,
// the log takes no messages until it succeeds. The caller holds writeMu.
func (l *Log) mend(cause error) error {
	head := l.readHead()
	if l.seg.Written() < head {
		if err := l.rollBack(owing(l.tag())); err != nil {
			return err
		}
		if err := l.restore(); err != nil {
			return fmt.Errorf("write again what the journal has: %w", err)
		}
		if l.seg.Written() < head {
			l.fallBack(cause)
		}
	}
	if l.owesEpoch {
		_, err := l.beginEpoch()
		l.bell.ring(engine.News{Head: l.readHead(), Changed: true})
		return err
	}
	return l.rollBack(l.tag())
}

// mended reports whether the log can be written to, as far as mend goes.
func (l *Log) mended() bool { return !l.owesEpoch && l.seg.Written() >= l.readHead() }

// rollBack begins a segment where the segmented log was cut, and takes what is
// gone out of the index of the one that grew.
func (l *Log) rollBack(tag seglog.Tag) error {
	if err := l.seg.Roll(tag); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if sum := l.active.Summary(); sum.Last > l.seg.Written() {
		// The segment was given up without a trace. One that was sealed has
		// told (see Log.sealed).
		l.active = index.NewActive(l.seg.Written() + 1)
	}
	return nil
}

// fallBack takes the head back to where the segmented log is, and with it the
// marks of what was trimmed and deleted: what gets those numbers is neither.
func (l *Log) fallBack(cause error) {
	to := l.seg.Written()
	l.mu.Lock()
	lost := l.head - to
	l.head = to
	l.changes++
	l.keys.cut(to)
	l.segs = slices.DeleteFunc(slices.Clone(l.segs), func(s *segment) bool { return s.sum.First > to })
	l.falls++
	l.lowered = append(l.lowered, l.lowerMarks(to)...)
	l.owesEpoch = true
	l.mu.Unlock()
	l.engine.cfg.Logger.Error("messages that were acknowledged before they were on disk are lost, a new epoch begins",
		"domain", l.domain, "messages", lost, "error", cause)
}

// lowerMarks lowers the marks that lie above the head, and returns the topics
// that it did so for. The caller holds mu.
func (l *Log) lowerMarks(head uint64) (names []string) {
	for name, seq := range l.ctl.Forgets {
		if seq > head {
			names = append(names, name)
			l.ctl.Forgets[name] = head
		}
	}
	l.ctl.Trimmed = min(l.ctl.Trimmed, head)
	maps.DeleteFunc(l.ctl.Forgotten, func(number uint64, _ int64) bool {
		return number != l.number && !slices.ContainsFunc(l.segs, func(s *segment) bool { return s.number == number })
	})
	return names
}

// appendLowered appends the changes of the marks that fell back with the head,
// if any did. The caller holds writeMu.
func (l *Log) appendLowered(dst []byte) []byte {
	if !l.owesEpoch {
		return dst
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.appendMarks(dst, l.lowered)
}

// appendMarks appends the changes that say where the marks are: the trim mark,
// and those of topics that may have been said to be higher. The caller holds mu.
func (l *Log) appendMarks(dst []byte, topics []string) []byte {
	dst = record.AppendTrim(dst, l.ctl.Trimmed, l.ctl.TrimmedBytes)
	for number, bytes := range l.ctl.Forgotten {
		dst = record.AppendForgotten(dst, number, bytes)
	}
	for _, name := range topics {
		dst = record.AppendUnforget(dst, name)
		if seq, ok := l.ctl.Forgets[name]; ok {
			dst = record.AppendForget(dst, name, seq)
		}
	}
	return dst
}

// restore writes what the journal has beyond the end of the log.
func (l *Log) restore() error {
	restored := 0
	err := l.engine.journal.each(func(_ uint64, n record.Entry) error {
		if n.Log != l.dir {
			return nil
		}
		count, err := l.redo(&n)
		restored += count
		return err
	})
	if err != nil || restored == 0 {
		return err
	}
	l.engine.cfg.Logger.Info("messages were written again out of the journal", "domain", l.domain, "messages", restored)
	return l.seg.Sync()
}

// redo writes the records of an entry of the journal that lie beyond the end
// of the segmented log, and, unless the log is being opened, indexes them.
func (l *Log) redo(n *record.Entry) (int, error) {
	next := l.seg.Written() + 1
	epoch, _ := parseTag(l.seg.Tag())
	if n.Last() < next || n.Epoch != epoch {
		return 0, nil
	}
	if n.First > next {
		l.engine.journal.damaged.Store(true)
		l.engine.cfg.Logger.Error("the journal goes on beyond the end of a log, messages between are lost",
			"domain", l.domain, "end", next-1, "journal", n.First)
		return 0, nil
	}
	type rec struct {
		payload []byte
		joined  bool
	}
	var recs []rec
	for seq := n.First; seq <= n.Last(); seq++ {
		payload, joined, ok := n.Next()
		if !ok {
			return 0, fmt.Errorf("%w: entry of the journal with message %d", engine.ErrCorrupt, seq)
		}
		if seq >= next {
			recs = append(recs, rec{payload, joined})
		}
	}
	batch, err := l.seg.Write(len(recs), func(i int, dst []byte) ([]byte, bool) {
		return append(dst, recs[i].payload...), recs[i].joined
	})
	if err != nil || l.active == nil {
		return len(recs), err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number = batch.Segment
	var m record.Message
	for i, rec := range recs {
		if record.Parse(rec.payload, &m) != nil {
			l.active.Skip(batch.First + uint64(i))
			continue
		}
		l.active.Add(m.Topic, batch.Offsets[i], m.Size(), m.Time, m.TTL > 0)
		if !m.Key.IsZero() {
			l.active.AddKey(index.Key{Key: m.Key, Time: m.Time, First: batch.First + uint64(i), N: m.N, Fsync: m.Fsync})
		}
	}
	return len(recs), nil
}
