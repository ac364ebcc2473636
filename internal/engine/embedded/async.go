package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/seglog"
)

// How long messages of durability async wait for the disk: no longer than 100
// ms with the time that the sync itself takes.
const asyncDelay = 50 * time.Millisecond

// asyncSyncs is how many logs are synced each by itself; more go through the
// journal.
const asyncSyncs = 64

// syncer brings what was acknowledged as async to the disk. It has one
// goroutine.
type syncer struct {
	engine *Engine
	wg     sync.WaitGroup
	stop   chan struct{}
	wake   chan struct{} // capacity 1

	mu    sync.Mutex
	dirty map[*Log]struct{}
}

func newSyncer(e *Engine) *syncer {
	s := &syncer{engine: e, stop: make(chan struct{}), wake: make(chan struct{}, 1), dirty: map[*Log]struct{}{}}
	s.wg.Go(s.run)
	return s
}

// mark has a log synced soon.
func (s *syncer) mark(l *Log) {
	if l.marked.Swap(true) {
		return
	}
	s.mu.Lock()
	s.dirty[l] = struct{}{}
	first := len(s.dirty) == 1
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *syncer) close() {
	close(s.stop)
	s.wg.Wait()
}

func (s *syncer) run() {
	delay := time.NewTimer(0)
	defer delay.Stop()
	for {
		select {
		case <-s.stop:
			return // closing a log syncs it
		case <-s.wake:
		}
		delay.Reset(asyncDelay)
		select {
		case <-s.stop:
			return
		case <-delay.C:
		}
		s.mu.Lock()
		logs := make([]*Log, 0, len(s.dirty))
		for l := range s.dirty {
			logs = append(logs, l)
			l.marked.Store(false) // what is written from here on is marked anew
		}
		clear(s.dirty)
		s.mu.Unlock()
		s.sync(logs)
	}
}

// sync makes durable what the logs have written.
func (s *syncer) sync(logs []*Log) {
	if len(logs) > asyncSyncs && !s.engine.journal.full() {
		logs = s.throughJournal(logs)
	}
	sideBySide(len(logs), func(i int) {
		l := logs[i]
		upTo := s.engine.journal.log.Synced()
		err := l.syncFile()
		switch {
		case err == nil:
			s.engine.journal.settle(l, upTo)
		case !errors.Is(err, seglog.ErrClosed):
			l.takeBack(err)
		}
	})
}

// throughJournal copies what the logs have written since into the journal,
// and returns those for which that was not possible.
func (s *syncer) throughJournal(logs []*Log) (left []*Log) {
	var n entries
	var copied []*Log
	commit := func() {
		if err := s.engine.journal.commit(&n); err != nil {
			s.engine.cfg.Logger.Warn("journal not written, each domain's file is synced by itself", "error", err)
			left = append(left, copied...)
		}
		n.reset()
		copied = copied[:0]
	}
	for _, l := range logs {
		if !l.copyUnsynced(&n) {
			left = append(left, l)
			continue
		}
		copied = append(copied, l)
		if len(n.buf) > journalEntries {
			commit()
		}
	}
	commit()
	return left
}

// copyUnsynced makes an entry of what was written since the last sync or copy.
// It returns false if that is better synced by itself.
func (l *Log) copyUnsynced(n *entries) bool {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return true
	}
	from, to := max(l.seg.Synced(), l.journaled)+1, l.seg.Written()
	if from > to {
		return true
	}
	n.begin(l, from, int(to-from+1))
	size := len(n.buf)
	r := l.seg.NewReader(from - 1)
	defer r.Close()
	for seq := from; seq <= to; seq++ {
		rec, err := r.Next()
		if err != nil || rec.Seq != seq || len(n.buf)-size > journalEntries {
			if err != nil && err != io.EOF {
				l.engine.cfg.Logger.Debug("messages not copied to the journal", "domain", l.domain, "error", err)
			}
			n.undo()
			return false
		}
		// Whole blocks are copied, so that nothing has to be joined.
		n.add(rec.Payload, false)
	}
	n.end()
	l.journaled = to
	return true
}

// SetDurability changes between fsync and async. What was acknowledged before
// is on disk when it returns.
func (l *Log) SetDurability(ctx context.Context, d engine.Durability) error {
	err := ctx.Err()
	if err == nil {
		err = l.setDurability(d)
	}
	if err != nil {
		return failed("set durability of domain "+l.domain, err)
	}
	return nil
}

func (l *Log) setDurability(d engine.Durability) error {
	if d != engine.Fsync && d != engine.Async {
		return fmt.Errorf("%w: history on disk cannot become %q while the server runs; set it in the configuration and restart", engine.ErrDurability, d)
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return engine.ErrClosed
	}
	was := l.fsync.Swap(d == engine.Fsync)
	if was == l.fsync.Load() {
		return nil
	}
	// The new segment's tag says how its messages were acknowledged.
	if err := l.prepare(); err != nil {
		l.fsync.Store(was)
		return err
	}
	return nil
}
