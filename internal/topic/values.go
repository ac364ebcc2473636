package topic

import "slices"

// values is a set of one or more values. One value, the usual case, is held in
// place; a few are a slice; many are a slice with a map of places beside it,
// so that removing one of 100,000 does not look for it.
type values[V comparable] struct {
	one  V        // the value, if more is nil
	more *list[V] // else all of them
}

// list holds two or more values. The place of a value in all is kept in at
// once there are many.
type list[V comparable] struct {
	all []V
	at  map[V]int32
}

// A list gets its map above spill values and loses it below half of that, so
// that one coming and going at the border does not make and drop maps.
const spill = 32

func oneValue[V comparable](v V) values[V] { return values[V]{one: v} }

// add reports whether s itself changed and must be stored again.
func (s *values[V]) add(v V) (changed bool) {
	if s.more == nil {
		if s.one == v {
			return false
		}
		var none V
		s.more = &list[V]{all: []V{s.one, v}}
		s.one = none
		return true
	}
	s.more.add(v)
	return false
}

// remove reports whether the set is empty now. s must be stored again if not.
func (s *values[V]) remove(v V) (empty bool) {
	if s.more == nil {
		return s.one == v
	}
	s.more.remove(v)
	if len(s.more.all) == 1 {
		s.one, s.more = s.more.all[0], nil
	}
	return false
}

func (s *values[V]) any() V {
	if s.more == nil {
		return s.one
	}
	return s.more.all[0]
}

func (s *values[V]) each(yield func(V)) {
	if s.more == nil {
		yield(s.one)
		return
	}
	for _, v := range s.more.all {
		yield(v)
	}
}

func (l *list[V]) place(v V) int {
	if l.at == nil {
		return slices.Index(l.all, v)
	}
	if i, found := l.at[v]; found {
		return int(i)
	}
	return -1
}

func (l *list[V]) add(v V) {
	if l.place(v) >= 0 {
		return
	}
	l.all = append(l.all, v)
	switch {
	case l.at != nil:
		l.at[v] = int32(len(l.all) - 1)
	case len(l.all) > spill:
		l.index()
	}
}

// index makes the map of places.
func (l *list[V]) index() {
	l.at = make(map[V]int32, len(l.all))
	for i, v := range l.all {
		l.at[v] = int32(i)
	}
}

// remove puts the last value into the place of the one that goes. Each time
// three quarters have gone the rest is moved to less room.
func (l *list[V]) remove(v V) {
	i := l.place(v)
	if i < 0 {
		return
	}
	last := len(l.all) - 1
	moved := l.all[last]
	l.all[i] = moved
	var none V
	l.all[last] = none // or a removed value would be kept alive
	l.all = l.all[:last]
	if l.at != nil {
		l.at[moved] = int32(i)
		delete(l.at, v)
	}
	if len(l.all) < cap(l.all)/4 {
		l.all = slices.Clone(l.all)
		if l.at != nil {
			l.index()
		}
	}
	if len(l.all) < spill/2 {
		l.at = nil
	}
}
