package memory

import (
	"cmp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A sorted set holds what a sorted slice holds, whatever is put in and taken
// out, over many blocks.
func TestSortedEqualsASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := sorted[int]{cmp: cmp.Compare[int]}
		var model []int
		space := rapid.SampledFrom([]int{10, 3 * blockLen, 50 * blockLen}).Draw(t, "space")
		for range rapid.IntRange(1, 8).Draw(t, "rounds") {
			from, n := rapid.IntRange(0, space).Draw(t, "from"), rapid.IntRange(1, 4*blockLen).Draw(t, "n")
			step := rapid.SampledFrom([]int{1, -1, 7, 1009}).Draw(t, "step")
			insert := rapid.IntRange(0, 2).Draw(t, "insert") > 0
			for i := range n {
				v := ((from+i*step)%space + space) % space
				at, there := slices.BinarySearch(model, v)
				switch {
				case insert && !there:
					model = slices.Insert(model, at, v)
				case !insert && there:
					model = slices.Delete(model, at, at+1)
				}
				if insert {
					set.insert(v)
				} else {
					set.remove(v)
				}
			}
			check(t, &set, model, rapid.IntRange(-1, space).Draw(t, "seek"))
		}
	})
}

func check(t *rapid.T, set *sorted[int], model []int, seek int) {
	if set.n != len(model) {
		t.Fatalf("it counts %d, want %d", set.n, len(model))
	}
	for _, b := range set.blocks {
		if len(b) == 0 || len(b) > blockLen {
			t.Fatalf("a block has %d elements", len(b))
		}
	}
	at, _ := slices.BinarySearch(model, seek)
	if got := slices.Collect(set.from(seek)); !slices.Equal(got, model[at:]) {
		t.Fatalf("from %d: %v, want %v", seek, got, model[at:])
	}
	backward := slices.Collect(set.backward())
	slices.Reverse(backward)
	if !slices.Equal(backward, model) {
		t.Fatalf("backward: %v, want %v", backward, model)
	}
	if len(model) > 0 && set.min() != model[0] {
		t.Fatalf("the first is %d, want %d", set.min(), model[0])
	}
}
