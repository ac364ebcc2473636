package topic

// node is a place in the trie of wildcard patterns: what the segments on the
// way from the root spell. It is one allocation; a few children are a linked
// list through their own nodes, many are a hash table.
type node[V comparable] struct {
	seg   string   // the segment that leads here, unless it is *
	next  *node[V] // the next one in the parent's list
	first *node[V] // list of literal children, while many is nil
	many  *table[*node[V]]
	star  *node[V]   // the child of *
	here  *values[V] // of patterns that end here
	tail  *values[V] // of patterns that end with ** after here
}

// A node's children become a table above fewChildren, and a list again below
// half of that.
const fewChildren = 8

func (n *node[V]) child(seg string) *node[V] {
	if n.many != nil {
		c, _ := n.many.get(seg)
		return c
	}
	for c := n.first; c != nil; c = c.next {
		if c.seg == seg {
			return c
		}
	}
	return nil
}

// add puts v at the end of the pattern's path, making the nodes on the way.
func (n *node[V]) add(pattern string, v V) {
	for {
		seg, rest, more := cut(pattern)
		switch seg {
		case "**":
			addTo(&n.tail, v)
			return
		case "*":
			if n.star == nil {
				n.star = &node[V]{}
			}
			n = n.star
		default:
			c := n.child(seg)
			if c == nil {
				c = &node[V]{seg: seg}
				n.link(c)
			}
			n = c
		}
		if !more {
			addTo(&n.here, v)
			return
		}
		pattern = rest
	}
}

// under returns the values of one pattern, or nil.
func (n *node[V]) under(pattern string) *values[V] {
	for {
		seg, rest, more := cut(pattern)
		if seg == "**" {
			return n.tail
		}
		c := n.star
		if seg != "*" {
			c = n.child(seg)
		}
		if c == nil {
			return nil
		}
		if !more {
			return c.here
		}
		n, pattern = c, rest
	}
}

// remove takes v from the end of the pattern's path and unlinks what is empty
// on the way back. It reports whether n itself is. The path is at most
// MaxSegments deep, and so is the recursion.
func (n *node[V]) remove(pattern string, v V) (empty bool) {
	seg, rest, more := cut(pattern)
	if seg == "**" {
		removeFrom(&n.tail, v)
		return n.empty()
	}
	c := n.star
	if seg != "*" {
		c = n.child(seg)
	}
	if c == nil {
		return false
	}
	if more {
		empty = c.remove(rest, v)
	} else {
		removeFrom(&c.here, v)
		empty = c.empty()
	}
	switch {
	case !empty:
		return false
	case seg == "*":
		n.star = nil
	default:
		n.unlink(c)
	}
	return n.empty()
}

func (n *node[V]) empty() bool {
	return n.first == nil && n.many == nil && n.star == nil && n.here == nil && n.tail == nil
}

func (n *node[V]) link(c *node[V]) {
	if n.many == nil {
		count := 0
		for k := n.first; k != nil; k = k.next {
			count++
		}
		if count < fewChildren {
			c.next, n.first = n.first, c
			return
		}
		n.many = &table[*node[V]]{}
		for k := n.first; k != nil; {
			next := k.next
			k.next = nil
			n.many.put(k.seg, k)
			k = next
		}
		n.first = nil
	}
	n.many.put(c.seg, c)
}

func (n *node[V]) unlink(c *node[V]) {
	if n.many == nil {
		for p := &n.first; *p != nil; p = &(*p).next {
			if *p == c {
				*p = c.next
				return
			}
		}
		return
	}
	n.many.remove(c.seg)
	if n.many.len() < fewChildren/2 {
		for _, k := range n.many.m {
			k.next, n.first = n.first, k
		}
		n.many = nil
	}
}

func addTo[V comparable](set **values[V], v V) {
	if *set == nil {
		s := oneValue(v)
		*set = &s
		return
	}
	(*set).add(v)
}

func removeFrom[V comparable](set **values[V], v V) {
	if *set != nil && (*set).remove(v) {
		*set = nil
	}
}

// step is a node that is still to be looked at, and what of the topic is left
// there.
type step[V comparable] struct {
	n    *node[V]
	rest string
}

// match walks the trie along the topic, depth first. At each place there are
// at most two ways on, the segment itself and *; one is gone at once, so that
// the other ones that wait are never more than the trie is deep.
func (n *node[V]) match(topicName string, yield func(V)) {
	var wait [MaxSegments + 1]step[V]
	waiting := 0
	at := step[V]{n, topicName}
	for {
		if at.n.tail != nil {
			at.n.tail.each(yield)
		}
		seg, rest, more := cut(at.rest)
		literal, star := at.n.child(seg), at.n.star
		if !more {
			if literal != nil && literal.here != nil {
				literal.here.each(yield)
			}
			if star != nil && star.here != nil {
				star.here.each(yield)
			}
			literal, star = nil, nil
		}
		switch {
		case literal != nil && star != nil:
			wait[waiting] = step[V]{star, rest}
			waiting++
			at = step[V]{literal, rest}
		case literal != nil:
			at = step[V]{literal, rest}
		case star != nil:
			at = step[V]{star, rest}
		case waiting > 0:
			waiting--
			at = wait[waiting]
		default:
			return
		}
	}
}
