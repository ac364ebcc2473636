package topic

// table is a hash table by name that gives memory back: Go's maps keep the
// room of the most entries they ever had, which after a million subscribers
// left would be the larger part of an index.
type table[T any] struct {
	m    map[string]T
	peak int // the most entries since m was made
}

// rebuildAbove is the number of entries below which a table's room is not
// worth giving back.
const rebuildAbove = 1024

func (t *table[T]) get(name string) (T, bool) {
	v, found := t.m[name]
	return v, found
}

func (t *table[T]) put(name string, v T) {
	if t.m == nil {
		t.m = make(map[string]T)
	}
	t.m[name] = v
	t.peak = max(t.peak, len(t.m))
}

// remove takes the name out. Each time seven of eight entries have gone the
// rest is moved to a smaller map, so that a removal costs a constant on
// average.
func (t *table[T]) remove(name string) {
	delete(t.m, name)
	switch n := len(t.m); {
	case n == 0:
		t.m, t.peak = nil, 0
	case t.peak > rebuildAbove && n < t.peak/8:
		smaller := make(map[string]T, n)
		for k, v := range t.m {
			smaller[k] = v
		}
		t.m, t.peak = smaller, n
	}
}

func (t *table[T]) len() int { return len(t.m) }
