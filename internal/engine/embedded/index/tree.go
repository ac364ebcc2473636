package index

import (
	"encoding/binary"
)

// nodeSize is from how many bytes on a node of the tree is full.
const nodeSize = 3500

// maxName bounds the names that a reader believes to find.
const maxName = 1 << 16

// tree says where in the content of a file a tree lies.
type tree struct {
	leaves, leavesEnd uint64
	root, rootLen     uint64
	depth             uint64 // inner levels above the leaves
	entries           uint64
	value             int // bytes of a leaf's value
}

// treeBuilder writes a tree into content, from entries that come in order.
type treeBuilder struct {
	content []byte
	t       tree
	begin   int    // of the node that is being filled
	first   string // its first name
	nodes   []node
}

type node struct {
	first    string
	off, len uint32
}

func newTreeBuilder(content []byte, value int) *treeBuilder {
	return &treeBuilder{content: content, begin: len(content), t: tree{leaves: uint64(len(content)), value: value}}
}

func (b *treeBuilder) add(name string, value []byte) {
	if len(b.content) == b.begin {
		b.first = name
	}
	b.content = binary.AppendUvarint(b.content, uint64(len(name)))
	b.content = append(b.content, name...)
	b.content = append(b.content, value...)
	if len(b.content)-b.begin >= nodeSize {
		b.endNode()
	}
}

func (b *treeBuilder) endNode() {
	if n := len(b.content) - b.begin; n > 0 {
		b.nodes = append(b.nodes, node{first: b.first, off: uint32(b.begin), len: uint32(n)})
		b.begin = len(b.content)
	}
}

// finish writes the inner nodes and returns the content.
func (b *treeBuilder) finish(entries int) ([]byte, tree) {
	b.endNode()
	b.t.leavesEnd, b.t.entries = uint64(len(b.content)), uint64(entries)
	for len(b.nodes) > 1 {
		below := b.nodes
		b.nodes = nil
		for _, n := range below {
			var value [8]byte
			binary.LittleEndian.PutUint32(value[0:], n.off)
			binary.LittleEndian.PutUint32(value[4:], n.len)
			b.add(n.first, value[:])
		}
		b.endNode()
		b.t.depth++
	}
	if len(b.nodes) == 1 {
		b.t.root, b.t.rootLen = uint64(b.nodes[0].off), uint64(b.nodes[0].len)
	}
	return b.content, b.t
}

// entry takes the entry off the front of a node. ok is false if the node ends
// within it.
func entry(p []byte, value int) (name, val, rest []byte, ok bool) {
	n, k := binary.Uvarint(p)
	if k <= 0 || n > maxName || uint64(len(p)-k) < n+uint64(value) {
		return nil, nil, nil, false
	}
	p = p[k:]
	return p[:n], p[n : n+uint64(value)], p[n+uint64(value):], true
}

// descend finds the leaf in which a name is, if it is anywhere: its place in
// the content. buf is scratch, returned to be used again.
func (t *tree) descend(p pages, name string, buf []byte) (off, length uint64, scratch []byte, err error) {
	off, length = t.root, t.rootLen
	for range t.depth {
		if buf, err = readNode(p, off, length, buf); err != nil {
			return 0, 0, buf, err
		}
		found := false
		for rest := buf; len(rest) > 0; {
			first, value, more, ok := entry(rest, 8)
			if !ok {
				return 0, 0, buf, bad("inner node at %d", off)
			}
			if found && string(first) > name {
				break
			}
			found = true
			off, length = uint64(binary.LittleEndian.Uint32(value)), uint64(binary.LittleEndian.Uint32(value[4:]))
			rest = more
		}
	}
	return off, length, buf, nil
}

func readNode(p pages, off, length uint64, buf []byte) ([]byte, error) {
	if length > uint64(p.size) || length > 1<<20 {
		return buf, bad("node at %d of %d bytes", off, length)
	}
	if uint64(cap(buf)) < length {
		buf = make([]byte, max(length, pageSize))
	}
	buf = buf[:length]
	return buf, p.readAt(buf, int64(off))
}

// find gives the value of a name; the value is in scratch.
func (t *tree) find(p pages, name string, buf []byte) (value []byte, ok bool, err error) {
	if t.entries == 0 {
		return nil, false, nil
	}
	off, length, buf, err := t.descend(p, name, buf)
	if err != nil {
		return nil, false, err
	}
	if buf, err = readNode(p, off, length, buf); err != nil {
		return nil, false, err
	}
	for rest := buf; len(rest) > 0; {
		k, v, more, ok := entry(rest, t.value)
		if !ok {
			return nil, false, bad("leaf at %d", off)
		}
		if string(k) == name {
			return v, true, nil
		}
		if string(k) > name {
			break
		}
		rest = more
	}
	return nil, false, nil
}

// walk goes through the entries in order, from the first whose name is not
// below from, until yield returns false. name and value are valid until it
// returns.
func (t *tree) walk(p pages, from string, yield func(name, value []byte) bool) error {
	if t.entries == 0 {
		return nil
	}
	at, _, buf, err := t.descend(p, from, nil)
	if err != nil {
		return err
	}
	const chunk = 8 << 10
	if cap(buf) < chunk {
		buf = make([]byte, chunk)
	}
	for size := uint64(chunk); at < t.leavesEnd; {
		if buf, err = readNode(p, at, min(size, t.leavesEnd-at), buf); err != nil {
			return err
		}
		rest := buf
		for len(rest) > 0 {
			name, value, more, ok := entry(rest, t.value)
			if !ok {
				break
			}
			if string(name) >= from && !yield(name, value) {
				return nil
			}
			rest = more
		}
		if len(rest) == len(buf) { // not one entry fits
			if size > 2*maxName || at+size >= t.leavesEnd {
				return bad("leaf at %d", at)
			}
			size *= 2
			continue
		}
		at += uint64(len(buf) - len(rest))
		size = chunk
	}
	return nil
}
