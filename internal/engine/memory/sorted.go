package memory

import (
	"iter"
	"slices"
)

// blockLen is how many elements a block of a sorted set holds at most.
const blockLen = 512

// sorted is a set in order: a list of sorted blocks, each with at least one
// element, so that an insert moves a few hundred elements however many there
// are. Elements that compare equal are one. Not safe for concurrent use.
type sorted[T any] struct {
	cmp    func(a, b T) int
	blocks [][]T
	n      int
}

// find returns where v is or belongs: the first block that ends at or above
// v, else the last one.
func (s *sorted[T]) find(v T) (block, at int, ok bool) {
	block, _ = slices.BinarySearchFunc(s.blocks, v, func(b []T, v T) int { return s.cmp(b[len(b)-1], v) })
	if block == len(s.blocks) {
		if block == 0 {
			return 0, 0, false
		}
		return block - 1, len(s.blocks[block-1]), false
	}
	at, ok = slices.BinarySearchFunc(s.blocks[block], v, s.cmp)
	return block, at, ok
}

// insert adds v if it is not there.
func (s *sorted[T]) insert(v T) {
	block, at, ok := s.find(v)
	if ok {
		return
	}
	s.n++
	if len(s.blocks) == 0 {
		s.blocks = append(s.blocks, []T{v})
		return
	}
	b := s.blocks[block]
	switch {
	case len(b) < blockLen:
		s.blocks[block] = slices.Insert(b, at, v)
	case at == len(b): // in order from below: begin a block instead of halving a full one
		s.blocks = slices.Insert(s.blocks, block+1, []T{v})
	default:
		upper := slices.Clone(b[blockLen/2:])
		clear(b[blockLen/2:])
		s.blocks[block] = b[:blockLen/2]
		s.blocks = slices.Insert(s.blocks, block+1, upper)
		if at > blockLen/2 {
			block, at = block+1, at-blockLen/2
		}
		s.blocks[block] = slices.Insert(s.blocks[block], at, v)
	}
}

// remove takes v out if it is there. Small neighbours become one block.
func (s *sorted[T]) remove(v T) {
	block, at, ok := s.find(v)
	if !ok {
		return
	}
	s.n--
	b := slices.Delete(s.blocks[block], at, at+1)
	s.blocks[block] = b
	if len(b) == 0 {
		s.blocks = slices.Delete(s.blocks, block, block+1)
		return
	}
	if next := block + 1; next < len(s.blocks) && len(b)+len(s.blocks[next]) <= blockLen/4 {
		s.blocks[block] = slices.Concat(b, s.blocks[next])
		s.blocks = slices.Delete(s.blocks, next, next+1)
	}
}

// min returns the first element; there must be one.
func (s *sorted[T]) min() T { return s.blocks[0][0] }

// from yields the elements at or above v in order. The set must not change
// meanwhile.
func (s *sorted[T]) from(v T) iter.Seq[T] {
	return func(yield func(T) bool) {
		block, at, _ := s.find(v)
		for ; block < len(s.blocks); block, at = block+1, 0 {
			for _, e := range s.blocks[block][at:] {
				if !yield(e) {
					return
				}
			}
		}
	}
}

// backward yields all elements from the last to the first. The set must not
// change meanwhile.
func (s *sorted[T]) backward() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, b := range slices.Backward(s.blocks) {
			for _, e := range slices.Backward(b) {
				if !yield(e) {
					return
				}
			}
		}
	}
}
