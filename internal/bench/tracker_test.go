package bench

import (
	"testing"

	"pgregory.net/rapid"
)

// Against a list of all that came, the slow way.
func TestTracker(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const sent = 30
		came := rapid.SliceOf(rapid.Uint64Range(0, sent-1)).Draw(t, "came")
		excused := rapid.MapOf(rapid.Uint64Range(0, sent+5), rapid.Just(true)).Draw(t, "excused")
		var tr tracker
		var want Faults
		seen := map[uint64]bool{}
		highest := int64(-1)
		for _, n := range came {
			tr.see(n)
			switch {
			case seen[n]:
				want.Doubled++
			case int64(n) < highest:
				want.Swapped++
			}
			seen[n] = true
			highest = max(highest, int64(n))
		}
		for n := range uint64(sent) {
			if !seen[n] && !excused[n] {
				want.Lost++
			}
		}
		var got Faults
		got.add(&tr, sent, excused)
		if got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func BenchmarkTracker(b *testing.B) {
	var tr tracker
	for i := range b.N {
		tr.see(uint64(i))
	}
}
