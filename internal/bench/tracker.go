package bench

import "slices"

// tracker sees the numbers 0, 1, 2, … of one sender as they come to one
// receiver, and knows exactly which are missing, came twice or came late. Its
// memory is a range for each hole.
type tracker struct {
	next    uint64  // the number expected
	holes   []holes // below next, ascending, apart
	doubled uint64
	swapped uint64 // came after a later one
}

// holes are the missing numbers from first up to and without end.
type holes struct{ first, end uint64 }

// see notes a number; it reports whether it came for the first time.
func (t *tracker) see(n uint64) bool {
	switch {
	case n == t.next:
		t.next++
	case n > t.next:
		t.holes = append(t.holes, holes{t.next, n})
		t.next = n + 1
	default:
		i := slices.IndexFunc(t.holes, func(h holes) bool { return n < h.end })
		if i < 0 || n < t.holes[i].first {
			t.doubled++
			return false
		}
		t.swapped++
		t.fill(i, n)
	}
	return true
}

// fill takes n out of the i-th hole.
func (t *tracker) fill(i int, n uint64) {
	h := t.holes[i]
	switch {
	case h.first == n && h.end == n+1:
		t.holes = slices.Delete(t.holes, i, i+1)
	case h.first == n:
		t.holes[i].first++
	case h.end == n+1:
		t.holes[i].end--
	default:
		t.holes[i].end = n
		t.holes = slices.Insert(t.holes, i+1, holes{n + 1, h.end})
	}
}

// lost counts which of the numbers below sent never came, but for those that
// are excused.
func (t *tracker) lost(sent uint64, excused map[uint64]bool) uint64 {
	var n uint64
	for _, h := range t.holes {
		n += h.end - h.first
	}
	if t.next < sent {
		n += sent - t.next
	}
	for number := range excused {
		if number < sent && !t.seen(number) {
			n--
		}
	}
	return n
}

func (t *tracker) seen(n uint64) bool {
	return n < t.next && !slices.ContainsFunc(t.holes, func(h holes) bool { return h.first <= n && n < h.end })
}

// Faults are what must not happen to messages.
type Faults struct {
	Lost    uint64 `json:"lost"`
	Doubled uint64 `json:"doubled"`
	Swapped uint64 `json:"swapped"`
}

// Any reports whether there is one.
func (f Faults) Any() bool { return f != Faults{} }

func (f Faults) faults() Faults { return f }

func (f *Faults) add(t *tracker, sent uint64, excused map[uint64]bool) {
	f.Lost += t.lost(sent, excused)
	f.Doubled += t.doubled
	f.Swapped += t.swapped
}
