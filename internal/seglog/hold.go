package seglog

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// guess is how much is read for a record whose length is not known yet.
const guess = 1 << 10

// Segment is a reader's hold on one segment: its file stays readable until
// Release, also when the segment is removed. Its methods may be called
// concurrently.
type Segment struct {
	l    *Log
	s    *segment
	file File
}

// segment finds a segment by its number.
func (l *Log) segment(number uint64) (*segment, error) {
	view := *l.segments.Load()
	i, ok := slices.BinarySearchFunc(view, number, func(s *segment, number uint64) int {
		switch {
		case s.number < number:
			return -1
		case s.number > number:
			return 1
		}
		return 0
	})
	if !ok {
		return nil, fmt.Errorf("segment %016x: %w", number, ErrRemoved)
	}
	return view[i], nil
}

// Acquire takes a hold on a segment, or returns [ErrRemoved].
func (l *Log) Acquire(number uint64) (*Segment, error) {
	s, err := l.segment(number)
	if err != nil {
		return nil, err
	}
	f, err := l.handles.acquire(s)
	if err != nil {
		return nil, err
	}
	return &Segment{l: l, s: s, file: f}, nil
}

// Info describes the segment now.
func (h *Segment) Info() SegmentInfo { return h.s.info() }

// ReadAt reads the record at an offset that Write or a Reader gave. The
// payload is in buf if that is large enough (with [Overhead] bytes to spare),
// else in a new slice. Bytes that are no record, or one behind the segment's
// end, are [ErrDamaged].
func (h *Segment) ReadAt(off int64, buf []byte) (Record, error) {
	end, _ := h.s.mark()
	room := end - off
	if off < recordsStart || room < Overhead {
		return Record{}, h.damaged(off)
	}
	if cap(buf) < Overhead {
		buf = make([]byte, guess)
	}
	b, err := h.read(buf[:min(int64(cap(buf)), guess, room)], off, 0)
	if err != nil {
		return Record{}, err
	}
	head := h.s.key.head(b)
	if !head.possible() || head.mark || int64(head.length) > room {
		return Record{}, h.damaged(off)
	}
	if head.length > len(b) {
		have := len(b)
		if head.length <= cap(buf) {
			b = buf[:head.length]
		} else {
			b = append(make([]byte, 0, head.length), b...)[:head.length]
		}
		if b, err = h.read(b, off, have); err != nil {
			return Record{}, err
		}
	}
	if !h.s.key.intact(&head, b) {
		return Record{}, h.damaged(off)
	}
	return Record{Seq: head.seq, Payload: b[Overhead:head.length], Segment: h.s.number, Offset: off}, nil
}

// read fills b, of which have bytes are there, from the file at off.
func (h *Segment) read(b []byte, off int64, have int) ([]byte, error) {
	_, err := h.file.ReadAt(b[have:], off+int64(have))
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, errnoIO):
		return nil, h.damaged(off)
	case err != nil:
		return nil, fmt.Errorf("read segment %016x: %w", h.s.number, err)
	}
	return b, nil
}

func (h *Segment) damaged(off int64) error {
	return fmt.Errorf("segment %016x, offset %d: %w", h.s.number, off, ErrDamaged)
}

// Side gives the segment's side file, which may be read until Release and is
// closed by the log; fs.ErrNotExist if there is none.
func (h *Segment) Side() (File, error) { return h.l.handles.sideFile(h.s) }

// Release ends the hold. Call it once.
func (h *Segment) Release() { h.l.handles.release(h.s) }
