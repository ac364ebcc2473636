package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
)

// segment is one file of the log, known by its header.
type segment struct {
	header
	key  key
	path string
	side string

	mu     sync.Mutex // guards the fields below
	end    int64      // of its records
	last   uint64     // sequence number of the last record
	sealed bool       // nothing will be added
	trail  *trailer   // if the file has one
	// spots, rising; nil while those of a trailer are not loaded.
	spots []spot

	held held // guarded by handles.mu
}

func newSegment(dir string, h header) *segment {
	return &segment{
		header: h, key: h.key(),
		path: logName(dir, h.number), side: sideName(dir, h.number),
		end: recordsStart, last: h.first - 1,
	}
}

// mark gives end of the records and last sequence number, which belong
// together.
func (s *segment) mark() (end int64, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end, s.last
}

func (s *segment) info() SegmentInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	return SegmentInfo{
		Number: s.number, First: s.first, Last: s.last, Tag: s.tag,
		Created: s.created, Size: s.end, Sealed: s.sealed,
	}
}

// grow publishes records that were written behind the end.
func (s *segment) grow(offsets []int64, end int64, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := last - uint64(len(offsets)) + 1
	for i, off := range offsets {
		s.spots = addSpot(s.spots, first+uint64(i)-s.first, off)
	}
	s.end, s.last = end, last
}

// cut takes everything behind end back and ends the segment.
func (s *segment) cut(end int64, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end, s.last, s.sealed = end, last, true
	s.spots = trimSpots(s.spots, end)
}

// near gives a place at or before the record with a sequence number from which
// to read up to it. file is the segment's own.
func (s *segment) near(file io.ReaderAt, seq uint64) (off int64, at uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spots == nil && s.trail != nil {
		b := make([]byte, int(s.trail.spots)*spotSize)
		if _, err := file.ReadAt(b, s.trail.dataEnd); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errnoIO) {
			return 0, 0, fmt.Errorf("read spots of segment %016x: %w", s.number, err)
		}
		if s.spots = decodeSpots(b, s.trail); s.spots == nil {
			s.spots = []spot{} // damaged: read from the start
		}
	}
	i, ok := slices.BinarySearchFunc(s.spots, seq, func(p spot, seq uint64) int {
		switch at := s.first + uint64(p.delta); {
		case at < seq:
			return -1
		case at > seq:
			return 1
		}
		return 0
	})
	if !ok {
		i--
	}
	if i < 0 {
		return recordsStart, s.first, nil
	}
	return int64(s.spots[i].offset), s.first + uint64(s.spots[i].delta), nil
}

// forget frees the spots that can be loaded again.
func (s *segment) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trail != nil {
		s.spots = nil
	}
}

// held is what readers have open of a segment.
type held struct {
	refs    int
	file    File
	side    File
	removed bool
}

// handles keeps segments open while somebody reads them, and a few after that.
// An unlinked file lives as long as its last reader.
type handles struct {
	fs   FS
	most int // idle segments kept open

	mu     sync.Mutex
	idle   []*segment // oldest first
	closed bool
}

// acquire opens the segment's file or counts one more user of it.
func (h *handles) acquire(s *segment) (File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.closed:
		return nil, ErrClosed
	case s.held.removed:
		return nil, ErrRemoved
	}
	if s.held.file == nil {
		f, err := h.fs.Open(s.path)
		if err != nil {
			return nil, fmt.Errorf("open segment %016x: %w", s.number, err)
		}
		s.held.file = f
	}
	s.held.refs++
	return s.held.file, nil
}

// sideFile opens the side file of a segment that the caller holds.
func (h *handles) sideFile(s *segment) (File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.held.side == nil {
		if s.held.removed {
			return nil, fmt.Errorf("open side file of segment %016x: %w", s.number, fs.ErrNotExist)
		}
		f, err := h.fs.Open(s.side)
		if err != nil {
			return nil, fmt.Errorf("open side file of segment %016x: %w", s.number, err)
		}
		s.held.side = f
	}
	return s.held.side, nil
}

// release is the reverse of acquire.
func (h *handles) release(s *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.held.refs--
	if s.held.refs > 0 {
		return
	}
	if s.held.removed || h.closed {
		s.held.close()
		return
	}
	h.idle = append(slices.DeleteFunc(h.idle, func(o *segment) bool { return o == s }), s)
	for len(h.idle) > h.most {
		old := h.idle[0]
		h.idle = slices.Delete(h.idle, 0, 1)
		if old.held.refs == 0 {
			old.held.close()
			old.forget()
		}
	}
}

// remove refuses the segment to new readers, or takes that back.
func (h *handles) remove(s *segment, removed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.held.removed = removed
	h.idle = slices.DeleteFunc(h.idle, func(o *segment) bool { return o == s })
	if s.held.refs == 0 {
		s.held.close()
	}
}

// dropSide closes a side file that was replaced, unless somebody may read it.
func (h *handles) dropSide(s *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.held.refs == 0 && s.held.side != nil {
		s.held.side.Close()
		s.held.side = nil
	}
}

// close refuses everything from now on and closes what nobody reads.
func (h *handles) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for _, s := range h.idle {
		if s.held.refs == 0 {
			s.held.close()
		}
	}
	h.idle = nil
}

// close closes files that were only read, so that no error of it matters.
func (d *held) close() {
	if d.file != nil {
		d.file.Close()
	}
	if d.side != nil {
		d.side.Close()
	}
	d.file, d.side = nil, nil
}
