package embedded

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
)

// Bounds of what waits to be committed. One block may be larger.
const (
	maxQueued      = 8192
	maxQueuedBytes = 16 << 20
)

// request is a block on its way into a log.
type request struct {
	log   *Log
	block engine.Block
	size  int // bound of its records' bytes

	first   uint64   // given by Log.write
	dup     *request // the same key came before in the same batch
	receipt engine.Receipt
	err     error
	done    chan struct{}               // capacity 1: a committer never waits
	tell    func(engine.Receipt, error) // called instead, if there is one
}

// finish answers whoever waits for the request, which is not the committer's
// any more then.
func (r *request) finish() {
	if r.tell == nil {
		r.done <- struct{}{}
		return
	}
	tell := r.tell
	tell(r.end())
}

// end gives the request back to the pool, and returns what came of it.
func (r *request) end() (engine.Receipt, error) {
	receipt, err := r.receipt, r.err
	if err != nil {
		receipt, err = engine.Receipt{}, failed("append to domain "+r.log.domain, err)
	}
	r.forget()
	return receipt, err
}

// committer is the group commit of all domains with durability fsync: one
// goroutine takes all that waits, each log writes its part in one go, the
// parts are made durable together, then publishers are answered and listeners
// rung. While that goes on the next batch gathers.
type committer struct {
	engine *Engine
	wg     sync.WaitGroup
	wake   chan struct{} // capacity 1

	mu     sync.Mutex // guards the fields below
	queue  []*request
	bytes  int
	room   chan struct{} // closed when there is room again; nil: nobody waits for it
	closed bool

	// The fields below are the goroutine's.
	spare   []*request
	dirty   []*Log
	entries entries
}

func newCommitter(e *Engine) *committer {
	c := &committer{engine: e, wake: make(chan struct{}, 1)}
	c.wg.Go(c.run)
	return c
}

// submit queues a request, waiting for room as long as the context lives.
func (c *committer) submit(ctx context.Context, r *request) error {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return engine.ErrClosed
		case c.fits(r):
			first := c.add(r)
			c.mu.Unlock()
			if first {
				c.wakeUp()
			}
			return nil
		}
		if c.room == nil {
			c.room = make(chan struct{})
		}
		room := c.room
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// trySubmit queues a request if there is room for it at once.
func (c *committer) trySubmit(r *request) bool {
	c.mu.Lock()
	if c.closed || !c.fits(r) {
		c.mu.Unlock()
		return false
	}
	first := c.add(r)
	c.mu.Unlock()
	if first {
		c.wakeUp()
	}
	return true
}

// fits reports whether there is room for a request. The caller holds mu.
func (c *committer) fits(r *request) bool {
	return len(c.queue) == 0 || len(c.queue) < maxQueued && c.bytes+r.size <= maxQueuedBytes
}

// add queues a request, and reports whether it is the first. The caller holds
// mu.
func (c *committer) add(r *request) (first bool) {
	c.queue = append(c.queue, r)
	c.bytes += r.size
	return len(c.queue) == 1
}

func (c *committer) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// close commits what waits, refuses what comes and ends the goroutine.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wakeUp()
	c.wg.Wait()
}

// A batch of so many messages, of more than one block, is a crowd's: publishers
// that are answered at the same time and publish again at about the same time.
// They are given a moment to be all in the next batch. Where each sync has
// twice as many messages the moment is won back, and what goroutines are to be
// run has been before the sync takes their processor away.
const (
	crowd     = 16
	crowdWait = 200 * time.Microsecond
)

func (c *committer) run() {
	recent := 0 // messages in a crowd's batch; halved with every one that is not
	for {
		if recent >= crowd {
			time.Sleep(crowdWait)
			runtime.Gosched()
		}
		batch, closed := c.take()
		if len(batch) > 0 {
			n := 0
			if len(batch) > 1 {
				for _, r := range batch {
					n += len(r.block.Drafts)
				}
			}
			recent = max(n, recent/2)
			c.commit(batch)
			clear(batch)
			c.spare = batch
			continue
		}
		if closed {
			return
		}
		<-c.wake
	}
}

// take empties the queue.
func (c *committer) take() (batch []*request, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, c.closed
	}
	batch, c.queue, c.bytes = c.queue, c.spare[:0], 0
	if c.room != nil {
		close(c.room)
		c.room = nil
	}
	return batch, false
}

// commit brings a batch to its end: every request of it is answered.
func (c *committer) commit(batch []*request) {
	dirty := c.dirty[:0]
	for _, r := range batch {
		l := r.log
		if len(l.queued) == 0 {
			dirty = append(dirty, l)
		}
		l.queued = append(l.queued, r)
	}
	c.dirty = dirty
	journal := c.toJournal(batch, len(dirty))
	written := dirty[:0]
	for _, l := range dirty {
		l.writeMu.Lock()
		through := journal
		if l.alone = journal == nil || !l.fsync.Load(); l.alone {
			// It became async meanwhile: what the journal has of it would have to
			// follow on messages that are on no disk.
			through = nil
		}
		if err := l.write(l.queued, true, through); err != nil {
			l.answer(l.queued, err)
			l.endCommit()
			continue
		}
		written = append(written, l)
	}
	c.makeDurable(written, journal)
	c.entries.reset()
	for _, l := range written {
		if l.syncErr != nil {
			l.answer(l.queued, l.syncErr)
		} else {
			l.publish(l.queued)
		}
		l.endCommit()
	}
	clear(dirty)
}

// toJournal gives the entries to fill if a batch that concerns so many logs is
// to go through the journal, else nil.
func (c *committer) toJournal(batch []*request, logs int) *entries {
	if logs < c.engine.cfg.JournalFrom || c.engine.journal.full() {
		return nil
	}
	size := 0
	for _, r := range batch {
		if size += r.size; size > journalEntries {
			return nil
		}
	}
	return &c.entries
}

// endCommit lets others write to the log again.
func (l *Log) endCommit() {
	clear(l.queued)
	l.queued, l.syncErr = l.queued[:0], nil
	l.writeMu.Unlock()
}

// makeDurable syncs the logs: through the journal those that it has entries of,
// the others, or all if that fails, each by itself, side by side. What fails is
// in the log's syncErr.
func (c *committer) makeDurable(logs []*Log, journal *entries) {
	journaled := false
	if journal != nil {
		err := c.engine.journal.commit(journal)
		if err != nil {
			c.engine.cfg.Logger.Warn("journal not written, each domain's file is synced by itself", "error", err)
		}
		journaled = err == nil
	}
	if journaled && !slices.ContainsFunc(logs, func(l *Log) bool { return l.alone }) {
		return
	}
	sideBySide(len(logs), func(i int) {
		l := logs[i]
		if l.added > 0 && (l.alone || !journaled) { // else only keys that were known
			l.syncErr = l.syncWritten()
		}
	})
}

// sideBySide calls fn for each of n numbers, a few at a time, and returns when
// all are done.
func sideBySide(n int, fn func(i int)) {
	const most = 4
	var next atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			fn(i)
		}
	}
	var wg sync.WaitGroup
	for range min(n, most) - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
}
