package seglog

import "bytes"

// walker goes through the records of one segment, and finds the next valid
// one after damage.
type walker struct {
	window
	key  key
	pos  int64  // of the next record
	next uint64 // its sequence number, if nothing is damaged
	// below, if not 0: a record with this sequence number or a greater one
	// ends the segment, because a later one has it.
	below uint64
}

// found is a valid record; payload is in the window.
type found struct {
	recordHead
	off     int64
	payload []byte
}

// step reads the record at pos and goes behind it. Without a valid one there,
// with the sequence number that comes next, it stays and reports false. A mark
// has the sequence number that comes next and does not use it up.
func (w *walker) step() (found, bool, error) {
	b, err := w.at(w.pos, Overhead)
	if err != nil || len(b) < Overhead {
		return found{}, false, err
	}
	h := w.key.head(b)
	if h.seq != w.next || !h.possible() {
		return found{}, false, nil
	}
	if b, err = w.at(w.pos, h.length); err != nil || len(b) < h.length || !w.key.intact(&h, b) {
		return found{}, false, err
	}
	f := found{recordHead: h, off: w.pos, payload: b[Overhead:]}
	w.pos += int64(h.length)
	if !h.mark {
		w.next++
	}
	return f, true, nil
}

// zeros is what preallocated space looks like.
var zeros [512]byte

// resync moves pos to the next valid record at or after pos whose sequence
// number is at least the one that comes next, which it becomes. Without one it
// reports false, and pos is the limit.
func (w *walker) resync() (bool, error) {
	// No record from here on can have a greater sequence number.
	most := w.next + uint64(max(0, w.limit-w.pos))/Overhead
	for {
		room := w.limit - w.pos
		if room < Overhead {
			w.pos = max(w.pos, w.limit)
			return false, nil
		}
		b, err := w.at(w.pos, int(min(room, 4*int64(len(zeros)))))
		if err != nil {
			return false, err
		}
		if len(b) < Overhead {
			continue // the file is shorter than thought; limit is right now
		}
		i, ok, err := w.search(b, most)
		if ok || err != nil {
			return ok, err
		}
		w.pos += int64(i)
	}
}

// search looks for a record that begins in b, which lies at pos. If there is
// none, it reports how far to go on.
func (w *walker) search(b []byte, most uint64) (int, bool, error) {
	for i := 0; i+Overhead <= len(b); i++ {
		if len(b)-i >= len(zeros) && bytes.Equal(b[i:i+len(zeros)], zeros[:]) {
			i += len(zeros) - Overhead // no record begins in zeros
			continue
		}
		h := w.key.head(b[i:])
		if h.seq < w.next || h.seq > most || !h.possible() {
			continue
		}
		start := w.pos + int64(i)
		rec, err := w.at(start, h.length)
		if err != nil {
			return 0, false, err
		}
		if len(rec) == h.length && w.key.intact(&h, rec) {
			w.pos, w.next = start, h.seq
			return 0, true, nil
		}
		return i + 1, false, nil // the window may have moved: begin again there
	}
	return len(b) - Overhead + 1, false, nil
}
