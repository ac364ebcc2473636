package embedded

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
	"crier/internal/seglog"
)

// Log is the log of a domain on disk.
//
// Who writes holds writeMu: the committer, for durability fsync, or the
// publisher itself. What readers see is under mu, and changes only when it is
// as durable as it should be. What retention and deletes take away changes
// under history. The locks are taken in the order history, writeMu, mu.
type Log struct {
	engine *Engine
	domain string
	dir    string
	seg    *seglog.Log
	bell   bell

	fsync  atomic.Bool // the durability: fsync or async
	marked atomic.Bool // the syncer knows that there is something to sync

	dropped atomic.Bool // its domain was deleted, so that nothing of it is needed

	history    sync.Mutex // one Trim or Forget at a time; guards oldestTime
	oldestTime placeTime  // of the message behind the trim mark, as the last Trim saw it

	writeMu   sync.Mutex // guards the fields below
	queued    []*request // of the batch that the committer has under way
	added     int        // messages of the batch
	batch     seglog.Batch
	syncErr   error
	alone     bool                  // the batch is to be synced by the log's own file
	pending   map[[16]byte]*request // keys of the batch
	journaled uint64                // what was copied to the journal of durability async
	owesEpoch bool                  // messages that were seen are lost: no more before a new epoch began
	lowered   []string              // topics whose marks were lowered with the head since the last epoch began
	closed    bool

	mu      sync.RWMutex // guards the fields below; readers may hold it for a while
	head    uint64
	ctl     record.Control
	changes uint64
	falls   uint64     // how often the head fell back
	segs    []*segment // sealed, oldest first, none empty; a new slice at each change
	active  *index.Active
	number  uint64 // of the segment that active is of; good when active is not empty
	keys    *keyTable
	damage  []seglog.DamageError
	table   *markTable
	passes  trimPasses
	gone    bool // closed, for readers
}

var _ engine.Log = (*Log)(nil)

// segment is a sealed segment.
type segment struct {
	number uint64
	sum    index.Summary
	mem    atomic.Pointer[index.Active] // its index until the file is written
	file   atomic.Pointer[index.Sealed] // the file's header, once it was read
}

func micros(us int64) time.Time { return time.UnixMicro(us).UTC() }

func durability(fsync bool) engine.Durability {
	if fsync {
		return engine.Fsync
	}
	return engine.Async
}

// Append stores a block of 1 to [engine.MaxBlock] drafts, together at most
// maxBlockBytes.
func (l *Log) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	size, err := checkBlock(b)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return engine.Receipt{}, fmt.Errorf("append to domain %s: %w", l.domain, err)
	}
	r := l.request(b, size, nil)
	if l.fsync.Load() {
		if err := l.engine.commit.submit(ctx, r); err != nil {
			return engine.Receipt{}, fmt.Errorf("append to domain %s: %w", l.domain, err)
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			// The block is under way and goes on; its request is not ours
			// any more.
			return engine.Receipt{}, fmt.Errorf("append to domain %s: %w", l.domain, ctx.Err())
		}
	} else {
		l.appendAsync(r)
	}
	return r.end()
}

// maxBlockBytes bounds a block, so that a batch stays far below what the
// segmented log takes at once.
const maxBlockBytes = 256 << 20

func checkBlock(b engine.Block) (size int, err error) {
	if n := len(b.Drafts); n == 0 || n > engine.MaxBlock {
		return 0, fmt.Errorf("a block has 1 to %d messages, got %d", engine.MaxBlock, n)
	}
	for i := range b.Drafts {
		n := record.MaxSize(&b.Drafts[i])
		if n > seglog.MaxPayload {
			return 0, fmt.Errorf("message %d has %d bytes, the limit is %d", i, n, seglog.MaxPayload)
		}
		size += n + seglog.Overhead
	}
	if size > maxBlockBytes {
		return 0, fmt.Errorf("the block has %d bytes, the limit is %d: publish it in parts", size, maxBlockBytes)
	}
	return size, nil
}

// appendAsync appends on the caller's goroutine. The block is in the system's
// memory when it returns, and on disk soon after.
func (l *Log) appendAsync(r *request) {
	one := [1]*request{r}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	fsync := l.fsync.Load() // it may have changed
	err := l.write(one[:], fsync, nil)
	if err == nil && fsync && l.added > 0 {
		err = l.syncWritten()
	}
	if err != nil {
		l.answer(one[:], err)
	} else {
		l.publish(one[:])
	}
	<-r.done
	if l.added > 0 && !fsync {
		l.engine.syncer.mark(l)
	}
}

// Durability is what Append promises.
func (l *Log) Durability() engine.Durability { return durability(l.fsync.Load()) }

// State is exact: nobody else writes to the log.
func (l *Log) State(ctx context.Context) (engine.State, error) {
	if err := ctx.Err(); err != nil {
		return engine.State{}, fmt.Errorf("state of domain %s: %w", l.domain, err)
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.gone {
		return engine.State{}, fmt.Errorf("state of domain %s: %w", l.domain, engine.ErrClosed)
	}
	return engine.State{
		Head: l.head, Trimmed: l.ctl.Trimmed, Changes: l.changes,
		Epochs: l.ctl.Ranges(l.head),
		Bytes:  l.bytes(), Count: int64(l.head - l.ctl.Trimmed),
	}, nil
}

// Listen rings from the goroutine that commits, before its publisher is
// answered or right after; fn may ask State, and must not publish.
func (l *Log) Listen(fn func(engine.News)) (stop func()) { return l.bell.listen(fn) }

// BeginEpoch begins a new epoch; it is on disk when it returns.
func (l *Log) BeginEpoch(ctx context.Context) (message.Epoch, error) {
	if err := ctx.Err(); err != nil {
		return message.Epoch{}, fmt.Errorf("begin epoch in domain %s: %w", l.domain, err)
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return message.Epoch{}, fmt.Errorf("begin epoch in domain %s: %w", l.domain, engine.ErrClosed)
	}
	var e message.Epoch
	err := l.ready()
	if err == nil {
		e, err = l.beginEpoch()
	}
	if !e.IsZero() { // it has begun, whether its segment is there or not
		l.bell.ring(engine.News{Head: l.readHead(), Changed: true})
	}
	if err != nil {
		return message.Epoch{}, failed("begin epoch in domain "+l.domain, err)
	}
	return e, nil
}

// beginEpoch begins an epoch after the head. The caller holds writeMu and
// rings. What the old epoch has is made durable first: what a failed sync takes
// back is written again out of the journal under the epoch that it has there,
// and a crash must not leave the log ending before the new epoch's beginning.
func (l *Log) beginEpoch() (message.Epoch, error) {
	if err := l.seg.Sync(); err != nil {
		if err = l.mend(err); err != nil {
			return message.Epoch{}, err
		}
	}
	head := l.readHead()
	start := record.EpochStart{Epoch: l.engine.nextEpoch(l.domain, l.ctl.Current().Epoch), First: head + 1}
	err := l.engine.control.change(l.dir, true, func(dst []byte) []byte {
		return record.AppendEpoch(l.appendLowered(dst), start)
	})
	if err != nil {
		return message.Epoch{}, err
	}
	l.lowered = nil
	l.mu.Lock()
	l.ctl.BeginEpoch(start)
	l.changes++
	l.mu.Unlock()
	l.owesEpoch = false
	l.journaled = min(l.journaled, head)
	return start.Epoch, l.roll()
}

func (l *Log) readHead() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.head
}

// tag is what segments that begin now are marked with. The caller holds
// writeMu.
func (l *Log) tag() seglog.Tag { return newTag(l.ctl.Current().Epoch, l.fsync.Load()) }

// close ends the log; whoever waits for it gets [engine.ErrClosed]. What was
// written is synced.
func (l *Log) close() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return nil
	}
	var err error
	if !l.mended() && !l.dropped.Load() {
		// What it lacks is in the journal, which is needed as long as it is.
		err = l.mend(l.seg.Err())
	}
	l.closed = true
	l.mu.Lock()
	l.gone = true
	l.mu.Unlock()
	if err = errors.Join(err, l.seg.Close()); err != nil {
		return fmt.Errorf("close domain %s: %w", l.domain, err)
	}
	return nil
}
