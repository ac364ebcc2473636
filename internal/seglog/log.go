package seglog

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Log is an open log. All methods may be called concurrently; Writes exclude
// each other, Sync lets Writes go on beside it. After Close they return
// [ErrClosed].
//
// Three locks, taken in this order: batch serialises Writes and guards their
// buffer; syncing is held by a sync under way, so that no file is synced twice
// at once (a failure is told to one of them only); tail is held while records
// are put at the end. What is at the end (active, file, ready, …) changes only
// under both syncing and tail, so that either is enough to look at it.
type Log struct {
	fs      FS
	dir     string
	opts    Options
	log     *slog.Logger
	handles handles
	found   Recovery
	buffers buffers

	segments atomic.Pointer[[]*segment] // oldest first; replaced, never changed
	listing  sync.Mutex                 // held to replace it
	removing sync.Mutex                 // one RemoveBefore at a time
	settled  bool                       // no removal is without its directory sync; guarded by removing

	batch   sync.Mutex
	buf     []byte
	offsets []int64

	syncing, tail sync.Mutex
	active        *segment       // nil: the next Write begins one
	file          File           // of active, for writing; nil unless ready
	ready         bool           // active can be written to; else prepare it
	repair        scanned        // what prepare needs to know
	strays        []string       // files for clearStrays
	allocated     int64          // size of file
	number        uint64         // the greatest that was used
	rolled        *RollbackError // Roll has to come first
	finished      []SegmentInfo  // sealed, OnSeal not yet called
	closed        bool

	state     sync.Mutex // guards the fields below; innermost
	tag       Tag
	syncedEnd int64 // in active: everything before is durable
	err       error

	written, synced atomic.Uint64
	gone            atomic.Bool // closed, for readers
}

// Recovery says what Open found.
func (l *Log) Recovery() Recovery { return l.found }

// Written is the sequence number of the last record written; of a new log,
// First-1.
func (l *Log) Written() uint64 { return l.written.Load() }

// Synced is the sequence number of the last record known to be durable.
func (l *Log) Synced() uint64 { return l.synced.Load() }

// Tag is the tag under which records are written now.
func (l *Log) Tag() Tag {
	l.state.Lock()
	defer l.state.Unlock()
	return l.tag
}

// Err says why the last Write, Sync or Roll could not do its work; nil: it
// could.
func (l *Log) Err() error {
	l.state.Lock()
	defer l.state.Unlock()
	return l.err
}

// note keeps the outcome for Err and returns it.
func (l *Log) note(err error) error {
	l.state.Lock()
	defer l.state.Unlock()
	l.err = err
	return err
}

// Segments lists the segments, oldest first. The last one may be sealed.
func (l *Log) Segments() []SegmentInfo {
	view := *l.segments.Load()
	infos := make([]SegmentInfo, len(view))
	for i, s := range view {
		infos[i] = s.info()
	}
	return infos
}

// replace changes the list of segments. change gets a copy.
func (l *Log) replace(change func([]*segment) []*segment) {
	l.listing.Lock()
	defer l.listing.Unlock()
	view := change(append([]*segment(nil), *l.segments.Load()...))
	l.segments.Store(&view)
}

// newest is the last segment of the list; nil if there is none.
func (l *Log) newest() *segment {
	view := *l.segments.Load()
	if len(view) == 0 {
		return nil
	}
	return view[len(view)-1]
}

// setSynced publishes that active is durable up to a place. The caller holds
// syncing.
func (l *Log) setSynced(end int64, last uint64) {
	l.state.Lock()
	l.syncedEnd = end
	l.state.Unlock()
	l.synced.Store(last)
}

// Close syncs, marks the log as closed cleanly, gives preallocated space back
// and closes. Files held by readers are closed when they leave. It waits for
// Writes and Syncs under way; a second Close does nothing.
func (l *Log) Close() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.tail.Lock()
	defer l.tail.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.gone.Store(true)
	l.handles.close()
	l.note(ErrClosed)
	if l.active == nil || !l.ready {
		return nil
	}
	err := l.finish()
	if l.active != nil {
		if cerr := l.file.Close(); err == nil {
			err = cerr
		}
		l.active, l.file = nil, nil
	}
	if err != nil {
		return fmt.Errorf("close log %s: %w", l.dir, err)
	}
	return nil
}

// finish writes the mark of a clean Close. The mark goes to the disk after
// what it vouches for.
func (l *Log) finish() error {
	end, last := l.active.mark()
	if last != l.synced.Load() {
		if err := l.file.Datasync(); err != nil {
			return l.giveUp(err)
		}
		l.setSynced(end, last)
	}
	mark := make([]byte, Overhead)
	l.active.key.seal(mark, last+1, 0, flagMark)
	if _, err := l.file.WriteAt(mark, end); err != nil {
		return err
	}
	if err := l.file.Truncate(end + Overhead); err != nil {
		return err
	}
	return l.file.Datasync()
}

// now is the caller's clock.
func (o *Options) now() time.Time {
	if o.Now != nil {
		return o.Now()
	}
	return time.Now()
}
