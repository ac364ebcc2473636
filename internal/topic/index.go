package topic

import "strings"

// Index finds, for a topic, the values whose patterns match it, without
// looking at the others: exact topics by hash, wildcard patterns by a trie of
// segments. A lookup costs one hash of the topic, one step for each prefix of
// a wildcard pattern that fits the topic's beginning, and the values found;
// what else is in the index does not matter.
//
// It is lean where subscribers have topics of their own: a topic with one
// value costs a slot of a hash table and nothing else. What is removed leaves
// nothing behind. It is not safe for concurrent use. The zero Index is empty
// and ready.
type Index[V comparable] struct {
	exact table[values[V]]
	wild  *node[V] // the place before the first segment; nil while there is no wildcard pattern
}

// Add puts v under the pattern; twice is once. The zero Pattern matches
// nothing, so it is not put anywhere.
func (x *Index[V]) Add(p Pattern, v V) {
	switch {
	case p.IsZero():
	case p.IsTopic():
		set, found := x.exact.get(p.text)
		if !found {
			x.exact.put(p.text, oneValue(v))
		} else if set.add(v) {
			x.exact.put(p.text, set)
		}
	default:
		if x.wild == nil {
			x.wild = &node[V]{}
		}
		x.wild.add(p.text, v)
	}
}

// Remove takes v away from under the pattern; one that is not there is fine.
// It costs the same whatever number of values the pattern has.
func (x *Index[V]) Remove(p Pattern, v V) {
	switch {
	case p.IsZero():
	case p.IsTopic():
		set, found := x.exact.get(p.text)
		if !found {
			return
		}
		if set.remove(v) {
			x.exact.remove(p.text)
		} else {
			x.exact.put(p.text, set)
		}
	case x.wild != nil:
		if x.wild.remove(p.text, v) {
			x.wild = nil
		}
	}
}

// Match calls yield for every value that was added under a pattern that
// matches the topic; once for each such pattern, in no order. It does not
// allocate. yield must not change the index.
func (x *Index[V]) Match(topicName string, yield func(V)) {
	if topicName == "" {
		return
	}
	if set, found := x.exact.get(topicName); found {
		set.each(yield)
	}
	if x.wild != nil {
		x.wild.match(topicName, yield)
	}
}

// Any returns one of the values that were added under p itself, if there are
// any: the one that was there first, unless one was removed since.
func (x *Index[V]) Any(p Pattern) (v V, found bool) {
	var set *values[V]
	if p.IsTopic() {
		if here, ok := x.exact.get(p.text); ok {
			set = &here
		}
	} else if !p.IsZero() && x.wild != nil {
		set = x.wild.under(p.text)
	}
	if set == nil {
		return v, false
	}
	return set.any(), true
}

// cut splits the first segment off.
func cut(s string) (seg, rest string, more bool) { return strings.Cut(s, "/") }
