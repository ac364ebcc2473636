package topic

// Empty reports whether the index holds nothing at all, not even a node.
func (x *Index[V]) Empty() bool { return x.exact.m == nil && x.wild == nil }
