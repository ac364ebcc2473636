package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Record is one record as read. The payload is valid until the next call to
// its reader.
type Record struct {
	Seq     uint64
	Payload []byte
	Segment uint64
	Offset  int64 // in the segment; see [Segment.ReadAt]
}

// Reader reads records in order. It is for one goroutine and must be closed.
// It allocates nothing for a record.
type Reader struct {
	l     *Log
	w     walker
	seg   *segment
	asked int64  // where seg's records ended when last asked; w.limit unless the file is shorter
	after uint64 // everything up to here is read or told as lost
	only  bool   // no other segment
}

// NewReader makes a reader of the records above a sequence number.
func (l *Log) NewReader(after uint64) *Reader {
	return &Reader{l: l, after: after, w: walker{window: window{pool: &l.buffers, lenient: true}}}
}

// ReadSegment makes a reader of the records of one segment only, which holds
// it meanwhile; [ErrRemoved] if it is gone.
func (l *Log) ReadSegment(number uint64) (*Reader, error) {
	s, err := l.segment(number)
	if err != nil {
		return nil, err
	}
	r := l.NewReader(s.first - 1)
	r.only = true
	if err := r.enter(s); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Seek goes to the first record above a sequence number. A reader of one
// segment stays in it.
func (r *Reader) Seek(after uint64) {
	r.after = after
	if r.only && r.seg != nil {
		r.w.pos, r.w.next = recordsStart, r.seg.first
		return
	}
	r.leave()
}

// Next gives the next record, up to the last that is written (which may be
// above Synced and be rolled back: stop at Synced). io.EOF is the end for
// now; later there may be more. A [DamageError] is told once, then Next goes
// on behind the damage. What RemoveBefore took away is skipped without an
// error. [ErrRolledBack]: Seek again.
func (r *Reader) Next() (Record, error) {
	for {
		if r.seg == nil {
			if err := r.place(); err != nil {
				return Record{}, err
			}
		}
		f, ok, err := r.w.step()
		switch {
		case err != nil:
			return Record{}, fmt.Errorf("read segment %016x: %w", r.seg.number, err)
		case ok && f.seq > r.after:
			r.after = f.seq
			return Record{Seq: f.seq, Payload: f.payload, Segment: r.seg.number, Offset: f.off}, nil
		case ok:
			// on the way from a spot to the first one wanted
		default:
			if err := r.stopped(); err != nil {
				return Record{}, err
			}
		}
	}
}

// Close gives the reader's segment and buffer back.
func (r *Reader) Close() {
	r.leave()
	r.w.close()
	r.only = true // Next finds no segment any more
}

func (r *Reader) leave() {
	if r.seg != nil {
		r.l.handles.release(r.seg)
		r.seg = nil
	}
}

// enter goes into a segment, near the first record wanted.
func (r *Reader) enter(s *segment) error {
	f, err := r.l.handles.acquire(s)
	if err != nil {
		return err
	}
	off, at, err := s.near(f, r.after+1)
	if err != nil {
		r.l.handles.release(s)
		return err
	}
	end, _ := s.mark()
	r.w.open(f, end)
	r.w.key, r.w.pos, r.w.next = s.key, off, at
	r.seg, r.asked = s, end
	return nil
}

// place goes to the segment in which the next record lies, or would lie. What
// is missing before it is told.
func (r *Reader) place() error {
	for {
		if r.only {
			return ErrClosed
		}
		view := *r.l.segments.Load()
		if len(view) == 0 {
			return io.EOF
		}
		i := searchSegments(view, r.after+1)
		s := view[i]
		err := r.enter(s)
		if errors.Is(err, ErrRemoved) {
			continue // the list is changing
		}
		if errors.Is(err, fs.ErrNotExist) && i < len(view)-1 {
			return r.gone(s)
		}
		if err != nil {
			return err
		}
		lost := DamageError{Segment: s.number, First: r.after + 1, Last: s.first - 1}
		if i > 0 {
			_, last := view[i-1].mark()
			lost.First = max(lost.First, last+1)
		}
		if i > 0 && lost.First <= lost.Last {
			r.after = lost.Last
			return &lost
		}
		return nil
	}
}

// gone reports a segment whose file somebody else took away.
func (r *Reader) gone(s *segment) error {
	_, last := s.mark()
	d := DamageError{Segment: s.number, First: max(r.after+1, s.first), Last: last}
	r.after = last
	return &d
}

// searchSegments finds the first segment that ends at or after a sequence
// number, or the last one.
func searchSegments(view []*segment, seq uint64) int {
	i, _ := slices.BinarySearchFunc(view, seq, func(s *segment, seq uint64) int {
		if _, last := s.mark(); last < seq {
			return -1
		}
		return 1
	})
	return min(i, len(view)-1)
}

// stopped finds out why there is no record at the reader's place: damage, the
// end of the segment, or the end of the log. Without an error, Next goes on.
func (r *Reader) stopped() error {
	// First the list, then the end: if another segment follows in the list,
	// the end of this one is final.
	view := *r.l.segments.Load()
	end, last := r.seg.mark()
	switch {
	case r.asked > end:
		return ErrRolledBack
	case r.w.pos < r.asked:
		r.w.limit, r.asked = end, end
		return r.damaged(end, last)
	case r.w.pos < end:
		r.w.limit, r.asked = end, end
		return nil
	case r.w.next <= last:
		return r.lost(last)
	case r.only || len(view) == 0 || view[len(view)-1].number <= r.seg.number:
		if r.l.gone.Load() {
			return ErrClosed
		}
		return io.EOF
	}
	r.leave()
	return nil
}

// damaged goes on behind damage, which it reports.
func (r *Reader) damaged(end int64, last uint64) error {
	ok, err := r.w.resync()
	if err != nil {
		return fmt.Errorf("read segment %016x: %w", r.seg.number, err)
	}
	if !ok {
		r.w.pos, r.w.limit = end, end
		return r.lost(last)
	}
	return r.lost(r.w.next - 1)
}

// lost reports that everything up to a sequence number is gone, unless nobody
// asked for it.
func (r *Reader) lost(last uint64) error {
	d := DamageError{Segment: r.seg.number, First: r.after + 1, Last: last}
	r.w.next = last + 1
	if d.First > d.Last {
		return nil
	}
	r.after = last
	return &d
}
