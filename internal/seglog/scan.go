package seglog

import (
	"bytes"
	"fmt"
)

// scanned is what recovery learns of a segment without a valid trailer.
type scanned struct {
	end    int64  // of the good records; what lies behind is void
	last   uint64 // sequence number of the last one; first-1: none
	proven int64  // everything before this is known to have been synced
	sure   uint64 // the last record before proven
	clean  bool   // a mark of a clean Close is at the end
	spots  []spot
	damage []DamageError
	cut    int64 // bytes behind end that are not zero
	lost   int   // good records behind end
	behind bool  // something lies behind end that has to go before the next write
}

// run is an unbroken sequence of valid records.
type run struct {
	first, last uint64 // last is first-1 for a mark alone
	start, end  int64
	mark        bool // it ends with a mark, which lies behind end
	records     int
	group       int64  // where the group begins that the run's last record leaves open; 0: none is open
	groupSeq    uint64 // of that group's first record
}

// scan finds what of a segment is good. known is an offset up to which the
// segment is known to have been synced, from elsewhere (the header of the next
// one) or recordsStart.
//
// A place where the records break off is corruption if anything proves that
// the segment had been synced beyond it: known, a mark, or a record that was
// written when more was synced. Then what follows is kept. At the first break
// that nothing proves to be corruption, the segment was torn by a crash, and
// everything behind is void, valid or not: it was never synced, and pages
// reach the disk in any order.
func scan(w *walker, first uint64, known int64) (scanned, error) {
	s := scanned{proven: known}
	w.pos, w.next = recordsStart, first
	var runs []run
	for {
		r, err := s.run(w, first)
		if err != nil {
			return scanned{}, err
		}
		if r.records > 0 || r.mark {
			runs = append(runs, r)
		}
		w.pos = max(w.pos, r.end)
		ok, err := w.resync()
		if err != nil {
			return scanned{}, err
		}
		if !ok {
			break
		}
	}
	s.join(runs, first, w.key.number)
	s.spots = trimSpots(s.spots, s.end)
	var err error
	if s.cut, err = s.measure(w); err != nil {
		return s, err
	}
	s.behind = s.clean || s.cut > 0
	s.sure, err = s.locate(w, first)
	return s, err
}

// run walks to the next break and learns from each record how far the segment
// had been synced.
func (s *scanned) run(w *walker, first uint64) (run, error) {
	r := run{first: w.next, last: w.next - 1, start: w.pos, end: w.pos}
	for {
		f, ok, err := w.step()
		if err != nil {
			return r, fmt.Errorf("scan segment %016x: %w", w.key.number, err)
		}
		if !ok {
			return r, nil
		}
		if w.below != 0 && f.seq >= w.below {
			w.pos, w.limit = f.off, f.off
			return r, nil
		}
		s.proven = max(s.proven, f.off-int64(f.back))
		if f.mark {
			r.mark = true
			return r, nil
		}
		s.spots = addSpot(s.spots, f.seq-first, f.off)
		r.last, r.end = f.seq, w.pos
		r.records++
		switch {
		case !f.joined:
			r.group = 0
		case r.group == 0:
			r.group, r.groupSeq = f.off, f.seq
		}
	}
}

// join decides for each break between runs whether it is corruption, which is
// told, or the torn tail, where the segment ends.
func (s *scanned) join(runs []run, first, number uint64) {
	s.end, s.last = recordsStart, first-1
	var open run
	for i, r := range runs {
		if r.start > s.end || r.first > s.last+1 {
			if s.end >= s.proven {
				for _, r := range runs[i:] {
					s.lost += r.records
				}
				break
			}
			if r.first > s.last+1 {
				s.damage = append(s.damage, DamageError{Segment: number, First: s.last + 1, Last: r.first - 1})
			}
		}
		s.end, s.last, s.clean, open = max(r.start, r.end), r.last, r.mark, r
	}
	if open.group != 0 && open.group >= s.proven && !s.clean {
		s.lost += int(s.last - open.groupSeq + 1)
		s.end, s.last = open.group, open.groupSeq-1
	}
}

// measure counts the bytes behind the end (and the mark) up to the last that
// is not a preallocated zero.
func (s *scanned) measure(w *walker) (int64, error) {
	from := s.end
	if s.clean {
		from += Overhead
	}
	last := from
	for at := from; at < w.limit; {
		b, err := w.at(at, int(min(w.limit-at, windowStart)))
		if err != nil {
			return 0, err
		}
		at += int64(len(b))
		if rest := bytes.TrimRight(b, "\x00"); len(rest) > 0 {
			last = at - int64(len(b)-len(rest))
		}
	}
	return last - from, nil
}

// locate finds the last record that ends at or before the proven offset.
func (s *scanned) locate(w *walker, first uint64) (uint64, error) {
	if s.proven >= s.end {
		return s.last, nil
	}
	w.pos, w.next = recordsStart, first
	for _, p := range s.spots {
		if int64(p.offset) > s.proven {
			break
		}
		w.pos, w.next = int64(p.offset), first+uint64(p.delta)
	}
	for w.pos < s.proven {
		if _, ok, err := w.step(); !ok || err != nil {
			return w.next - 1, err
		}
	}
	return w.next - 1, nil
}

// addSpot adds a spot for a record if the last one is far enough behind.
func addSpot(spots []spot, delta uint64, off int64) []spot {
	if n := len(spots); n > 0 && off < int64(spots[n-1].offset)+spotEvery {
		return spots
	}
	return append(spots, spot{delta: uint32(delta), offset: uint32(off)})
}

// trimSpots drops the spots at or behind an offset.
func trimSpots(spots []spot, end int64) []spot {
	for n := len(spots); n > 0 && int64(spots[n-1].offset) >= end; n-- {
		spots = spots[:n-1]
	}
	return spots
}
