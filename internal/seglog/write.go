package seglog

import "fmt"

const (
	firstStep = 64 << 10 // what a new segment preallocates
	mostStep  = 8 << 20  // and the most by which it grows; each step doubles it until then
	keepBuf   = 4 << 20  // a larger buffer is not kept for the next batch
)

// Write appends n records with consecutive sequence numbers in one write, all
// or none, and returns where they are. They are readable at once and durable
// after Sync. If it fails nothing of the batch is in the log, and trying
// again later is right: when the disk is full, each Write tries anew. After a
// [RollbackError] the caller has to Roll first.
func (l *Log) Write(n int, encode Encoder) (Batch, error) {
	l.batch.Lock()
	defer l.batch.Unlock()
	defer l.tellSealed()
	if err := l.fill(n, encode); err != nil {
		return Batch{}, err
	}
	size := int64(len(l.buf))
	if cap(l.buf) > keepBuf {
		defer func() { l.buf = nil }()
	}

	l.tail.Lock()
	if !l.fits(size) {
		l.tail.Unlock()
		if err := l.makeRoom(size); err != nil {
			return Batch{}, err // makeRoom returned without tail
		}
	}
	s := l.active
	b, err := l.put(s)
	l.tail.Unlock()
	if err != nil {
		return Batch{}, l.abandon(s, err)
	}
	return b, nil
}

// fill encodes a batch into l.buf, leaving room for each record's head, with
// the offsets from its start in l.offsets. The bit for joined is set already.
func (l *Log) fill(n int, encode Encoder) error {
	l.buf, l.offsets = l.buf[:0], l.offsets[:0]
	var empty [Overhead]byte
	for i := range n {
		at := len(l.buf)
		l.buf = append(l.buf, empty[:]...)
		out, joined := encode(i, l.buf)
		l.buf = out
		size := len(out) - at
		if size > Overhead+MaxPayload || len(out) > MaxBatch {
			l.buf = nil
			return fmt.Errorf("%w: a payload may have %d bytes and a batch %d, got %d and %d",
				ErrTooLarge, MaxPayload, MaxBatch, size-Overhead, len(out))
		}
		if joined && i < n-1 {
			l.buf[at+7] = flagJoined >> 24
		}
		l.offsets = append(l.offsets, int64(at))
	}
	return nil
}

// Fits reports whether a batch of so many bytes, heads and all, could be
// written at the end of the last segment now, without making or mending one. It
// does not wait.
func (l *Log) Fits(size int64) bool {
	if !l.tail.TryLock() {
		return false
	}
	defer l.tail.Unlock()
	return l.fits(size)
}

// fits reports whether a batch can be put at the end as it is.
func (l *Log) fits(size int64) bool {
	if l.active == nil || !l.ready || l.rolled != nil || l.closed {
		return false
	}
	end, last := l.active.mark()
	return last < l.active.first || end+size <= l.opts.SegmentSize
}

// put writes what fill left behind the end and publishes it. The caller holds
// tail. After an error that is not a failed allocation the file holds
// something behind the end; abandon it.
func (l *Log) put(s *segment) (Batch, error) {
	if len(l.offsets) == 0 {
		return Batch{First: l.written.Load() + 1, Segment: s.number}, nil
	}
	end, last := s.mark()
	size := int64(len(l.buf))
	if err := l.allocate(end + size); err != nil {
		return Batch{}, &allocateError{err}
	}
	l.state.Lock()
	synced := l.syncedEnd
	l.state.Unlock()
	for i, at := range l.offsets {
		stop := size
		if i+1 < len(l.offsets) {
			stop = l.offsets[i+1]
		}
		rec := l.buf[at:stop]
		var flags uint32
		if rec[7] != 0 {
			flags = flagJoined
		}
		s.key.seal(rec, last+1+uint64(i), end+at-synced, flags)
		l.offsets[i] = end + at
	}
	if _, err := l.file.WriteAt(l.buf, end); err != nil {
		return Batch{}, fmt.Errorf("write to segment %016x: %w", s.number, err)
	}
	l.allocated = max(l.allocated, end+size)
	s.grow(l.offsets, end+size, last+uint64(len(l.offsets)))
	l.written.Store(last + uint64(len(l.offsets)))
	l.note(nil)
	return Batch{First: last + 1, Segment: s.number, Offsets: l.offsets}, nil
}

// allocateError is a failure to reserve space: the file is as it was.
type allocateError struct{ err error }

func (e *allocateError) Error() string { return "reserve space: " + e.err.Error() }
func (e *allocateError) Unwrap() error { return e.err }

// allocate reserves space up to need, and some more if there is room for it.
func (l *Log) allocate(need int64) error {
	if need <= l.allocated {
		return nil
	}
	want := max(need, min(l.allocated+min(max(l.allocated, firstStep), mostStep), l.opts.SegmentSize))
	err := l.file.Allocate(l.allocated, want-l.allocated)
	if err != nil && want > need {
		want = need
		err = l.file.Allocate(l.allocated, want-l.allocated)
	}
	if err != nil {
		return err
	}
	// Where there is no Allocate the file did not grow; then the next writes
	// do that, and nothing depends on its size.
	l.allocated = want
	return nil
}

// makeRoom does what it takes before a batch of this size can be put. Without
// an error it returns with tail held.
func (l *Log) makeRoom(size int64) (err error) {
	l.syncing.Lock()
	l.tail.Lock()
	defer func() {
		if err != nil {
			l.tail.Unlock()
		}
		l.syncing.Unlock()
	}()
	switch {
	case l.closed:
		return ErrClosed
	case l.rolled != nil:
		return l.rolled
	}
	if l.active != nil && !l.ready {
		if err := l.prepare(); err != nil {
			return l.note(err)
		}
	}
	if l.active != nil && !l.fits(size) {
		if err := l.seal(); err != nil {
			return l.note(err)
		}
	}
	if l.active == nil {
		if err := l.begin(l.Tag()); err != nil {
			return l.note(err)
		}
	}
	return nil
}
