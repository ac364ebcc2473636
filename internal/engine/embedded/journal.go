package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
)

const journalDir = "journal"

// Bounds of the journal.
const (
	journalSegment = 8 << 20
	journalPass    = 16 << 20         // from this size on the domains' files are synced, so that segments can go,
	journalAge     = 10 * time.Second // or from this age of the oldest entry
	journalHurry   = 64 << 20         // from this size on that is done as fast as the disk can
	journalFull    = 256 << 20        // from this size on nothing more goes into it
	journalPace    = 2 * time.Millisecond
	journalEntries = 12 << 20 // bytes of one commit
)

// journal is the file that domains share when many of them have unsynced
// messages at once. A sync costs about the same whatever it syncs; so instead
// of one for each domain's file there is one for a journal into which all
// records are written once more. The domains' files are synced later, at
// leisure, and then the journal's segments go. After a crash the journal has
// what the domains' files may have lost.
//
// The invariant: what was acknowledged is synced in its domain's file or in
// the journal, and the journal does not give up an entry before the file is
// synced. Methods may be called concurrently.
type journal struct {
	engine *Engine
	log    *seglog.Log
	wg     sync.WaitGroup
	stop   chan struct{}
	wake   chan struct{} // capacity 1

	damaged  atomic.Bool // it may have lost entries of any log that needs it
	replayed bool        // what an earlier life left is in the domains' files, or pinned

	writing sync.Mutex // one commit at a time; taken before mu

	mu     sync.Mutex // guards the fields below
	open   map[*Log]span
	pinned uint64 // entries from here on stay: they could not be replayed; 0: none
	bytes  int64  // of entries since the last time it was empty or trimmed
	since  time.Time
}

// span is which entries of the journal are of a log that is not synced since.
type span struct{ first, last uint64 }

// entries are what a commit writes to the journal: one entry for each log.
// Not safe for concurrent use.
type entries struct {
	buf  []byte
	ends []int
	logs []*Log
}

func (n *entries) begin(l *Log, first uint64, count int) {
	n.buf = record.BeginEntry(n.buf, l.dir, l.ctl.Current().Epoch, first, count)
	n.ends, n.logs = append(n.ends, 0), append(n.logs, l)
}

func (n *entries) add(payload []byte, joined bool) {
	n.buf = record.AppendRecord(n.buf, payload, joined)
}

func (n *entries) end() { n.ends[len(n.ends)-1] = len(n.buf) }

// undo takes the entry back that was begun last.
func (n *entries) undo() {
	i := len(n.ends) - 1
	n.ends, n.logs = n.ends[:i], n.logs[:i]
	n.buf = n.buf[:n.at(i)]
}

func (n *entries) at(i int) int {
	if i == 0 {
		return 0
	}
	return n.ends[i-1]
}

func (n *entries) reset() {
	clear(n.logs)
	n.buf, n.ends, n.logs = n.buf[:0], n.ends[:0], n.logs[:0]
	if cap(n.buf) > 4<<20 {
		n.buf = nil
	}
}

func openJournal(e *Engine) (*journal, error) {
	log, err := seglog.Open(e.fs, journalDir, seglog.Options{SegmentSize: journalSegment, Logger: e.cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("open the journal: %w", err)
	}
	return &journal{
		engine: e, log: log, open: map[*Log]span{},
		stop: make(chan struct{}), wake: make(chan struct{}, 1),
	}, nil
}

// start begins to sync the domains' files at leisure.
func (j *journal) start() { j.wg.Go(j.run) }

// full reports whether nothing more should go into the journal.
func (j *journal) full() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.bytes > journalFull
}

// commit makes entries durable. If it fails, they may be there or not; their
// logs are to be synced by themselves.
func (j *journal) commit(n *entries) error {
	if len(n.ends) == 0 {
		return nil
	}
	j.writing.Lock()
	defer j.writing.Unlock()
	batch, err := j.log.Write(len(n.ends), func(i int, dst []byte) ([]byte, bool) {
		return append(dst, n.buf[n.at(i):n.ends[i]]...), false
	})
	if err == nil {
		j.note(n, batch.First)
		err = j.log.Sync()
	}
	if _, ok := errors.AsType[*seglog.RollbackError](err); ok {
		err = errors.Join(err, j.log.Roll(j.log.Tag()))
	}
	return err
}

// note remembers which logs have entries.
func (j *journal) note(n *entries, first uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, l := range n.logs {
		at := first + uint64(i)
		s, ok := j.open[l]
		if !ok {
			s.first = at
		}
		s.last = at
		j.open[l] = s
	}
	if j.bytes == 0 {
		j.since = time.Now()
	}
	j.bytes += int64(len(n.buf))
	if j.bytes > journalPass {
		select {
		case j.wake <- struct{}{}:
		default:
		}
	}
}

// settle notes that a log's file is synced: it has all that was in the journal
// up to an entry. That one was synced, since the number of one that was only
// written may be given again.
func (j *journal) settle(l *Log, upTo uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	s, ok := j.open[l]
	switch {
	case !ok || upTo < s.first:
	case s.last <= upTo:
		delete(j.open, l)
	default:
		s.first = upTo + 1
		j.open[l] = s
	}
}

// forget lets go of a log that is no more.
func (j *journal) forget(l *Log) { j.settle(l, j.log.Written()) }

// run syncs the domains' files and removes segments.
func (j *journal) run() {
	tick := time.NewTicker(journalAge)
	defer tick.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-j.wake:
		case <-tick.C:
		}
		if err := j.pass(); err != nil {
			j.engine.cfg.Logger.Warn("journal not shortened", "error", err)
		}
	}
}

// pass syncs the file of each log that has entries, and removes what is not
// needed then.
func (j *journal) pass() error {
	j.mu.Lock()
	logs := make([]*Log, 0, len(j.open))
	for l := range j.open {
		logs = append(logs, l)
	}
	bytes := j.bytes
	j.mu.Unlock()
	if bytes == 0 && len(logs) == 0 {
		return nil
	}
	pace := time.NewTimer(0)
	defer pace.Stop()
	for _, l := range logs {
		upTo := j.log.Synced()
		switch err := l.syncFile(); {
		case err == nil, l.dropped.Load(): // it may have been on its way here when it was dropped
			j.settle(l, upTo)
		case !errors.Is(err, seglog.ErrClosed):
			l.takeBack(err)
		}
		j.mu.Lock()
		hurry := j.bytes > journalHurry
		j.mu.Unlock()
		if hurry {
			continue
		}
		pace.Reset(journalPace)
		select {
		case <-pace.C:
		case <-j.stop:
			return nil
		}
	}
	return j.shorten(bytes)
}

// shorten removes the segments that have nothing that is needed. done is how
// many bytes there were when the pass began.
func (j *journal) shorten(done int64) error {
	upTo, err := j.settled(done)
	if err != nil {
		return err
	}
	return j.log.RemoveBefore(upTo)
}

// settled says up to which entry nothing is needed. If that is all of them, they
// are in segments that can go. No commit is under way meanwhile: one that has
// written its entries but not noted them yet needs them.
func (j *journal) settled(done int64) (upTo uint64, err error) {
	j.writing.Lock()
	defer j.writing.Unlock()
	last := j.log.Written()
	needed, empty := j.needed(last, done)
	if empty {
		err = j.log.Roll(j.log.Tag())
	}
	return needed - 1, err
}

// needed is the first entry up to last that is needed, last+1 if none is.
func (j *journal) needed(last uint64, done int64) (needed uint64, empty bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	needed = last + 1
	for _, s := range j.open {
		needed = min(needed, s.first)
	}
	if j.pinned > 0 {
		needed = min(needed, j.pinned)
	} else {
		j.bytes -= done
		j.since = time.Now()
	}
	return needed, needed > last && j.bytes == 0
}

// each calls fn for the entries, in order, until it fails.
func (j *journal) each(fn func(seq uint64, n record.Entry) error) error {
	r := j.log.NewReader(0)
	defer r.Close()
	for {
		rec, err := r.Next()
		if damage, ok := errors.AsType[*seglog.DamageError](err); ok {
			j.damaged.Store(true)
			j.engine.cfg.Logger.Error("the journal is damaged; messages that were only there are lost", "damage", damage)
			continue
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		n, err := record.ParseEntry(rec.Payload)
		if err != nil {
			j.damaged.Store(true)
			j.engine.cfg.Logger.Error("entry of the journal not understood", "sequence", rec.Seq, "error", err)
			continue
		}
		if err := fn(rec.Seq, n); err != nil {
			return err
		}
	}
}

// replay writes to the domains' logs what a crash took from them and the
// journal has. The logs stay open for whoever asks for them.
func (j *journal) replay(ctx context.Context) error {
	found := j.log.Recovery()
	j.damaged.Store(found.LostEnd || len(found.Damage) > 0)
	for _, d := range found.Damage {
		j.engine.cfg.Logger.Error("the journal is damaged; messages that were only there are lost", "damage", &d)
	}
	if j.log.Written() == 0 {
		j.replayed = true
		return nil
	}
	logs := map[string]*Log{}
	err := j.each(func(seq uint64, n record.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		l, ok := logs[n.Log]
		if !ok {
			var err error
			if l, err = j.engine.openReplayed(n.Log); err != nil {
				j.pin(seq, n.Log, err)
			}
			logs[n.Log] = l
		}
		if l == nil {
			return nil // dropped, or cannot be opened
		}
		if _, err := l.redo(&n); err != nil {
			return fmt.Errorf("replay the journal into domain %s: %w", l.domain, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, l := range logs {
		if l == nil {
			continue
		}
		if err := l.seg.Sync(); err != nil {
			return fmt.Errorf("sync domain %s after replaying the journal: %w", l.domain, err)
		}
		if err := l.load(l.seg.Recovery().Clean); err != nil {
			return fmt.Errorf("domain %s: %w", l.domain, err)
		}
		j.engine.replayed[l.domain] = l
	}
	j.replayed = true
	return j.shorten(0)
}

// pin keeps the entries from seq on, because a log could not be opened.
func (j *journal) pin(seq uint64, log string, err error) {
	j.engine.cfg.Logger.Error("log not opened, the journal keeps what it has of it", "directory", domainsDir+"/"+log, "error", err)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pinned == 0 {
		j.pinned = seq
	}
}

// makeUp writes to a log that is being opened what the journal has of it, if
// that was not done when it was replayed.
func (j *journal) makeUp(l *Log) error {
	j.mu.Lock()
	pinned := j.pinned
	j.mu.Unlock()
	if pinned == 0 {
		return nil
	}
	err := j.each(func(seq uint64, n record.Entry) error {
		if n.Log != l.dir || seq < pinned {
			return nil
		}
		_, err := l.redo(&n)
		return err
	})
	if err != nil {
		return fmt.Errorf("replay the journal into domain %s: %w", l.domain, err)
	}
	return l.seg.Sync()
}

// close ends the syncing and empties the journal if clean is set: then the logs
// have been closed, and so synced. One that was not replayed stays as it is.
func (j *journal) close(clean bool) error {
	close(j.stop)
	j.wg.Wait()
	if clean && j.replayed {
		j.mu.Lock()
		clear(j.open)
		bytes := j.bytes
		j.mu.Unlock()
		if err := j.shorten(bytes); err != nil {
			j.engine.cfg.Logger.Warn("journal not emptied, it is replayed at the next start", "error", err)
		}
	}
	return j.log.Close()
}
