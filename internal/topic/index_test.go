package topic_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"crier/internal/topic"
)

func found(x *topic.Index[int], name string) []int {
	vs := []int{}
	x.Match(name, func(v int) { vs = append(vs, v) })
	slices.Sort(vs)
	return vs
}

func TestIndex(t *testing.T) {
	var x topic.Index[int]
	for v, p := range []string{"a/b", "a/*", "*/b", "**", "a/**", "a", "*", "*/*/c", "a/b/c", "a/*/**"} {
		x.Add(parse(t, p), v)
	}
	x.Add(topic.Pattern{}, 99)
	for _, tt := range []struct {
		topic string
		want  []int
	}{
		{"a/b", []int{0, 1, 2, 3, 4}},
		{"a", []int{3, 5, 6}},
		{"z", []int{3, 6}},
		{"z/b", []int{2, 3}},
		{"a/b/c", []int{3, 4, 7, 8, 9}},
		{"z/z/z/z", []int{3}},
		{"", []int{}},
	} {
		if got := found(&x, tt.topic); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.topic, got, tt.want)
		}
	}
}

// Any finds a value under the pattern itself, not under one that selects it.
func TestIndexAny(t *testing.T) {
	var x topic.Index[int]
	patterns := []string{"a/b", "a/*", "*/b", "**", "a/**", "a", "*", "*/*/c", "a/b/c", "a/*/**"}
	for _, absent := range append(patterns, "") {
		p := topic.Pattern{}
		if absent != "" {
			p = parse(t, absent)
		}
		if v, ok := x.Any(p); ok {
			t.Errorf("%q of an empty index: %d", absent, v)
		}
	}
	for v, p := range patterns {
		x.Add(parse(t, p), v+1)
		x.Add(parse(t, p), v+101)
	}
	for v, p := range patterns {
		if got, ok := x.Any(parse(t, p)); !ok || got != v+1 {
			t.Errorf("%s: %d, %t, want %d", p, got, ok, v+1)
		}
	}
	for v, p := range patterns {
		x.Remove(parse(t, p), v+1)
		if got, ok := x.Any(parse(t, p)); !ok || got != v+101 {
			t.Errorf("%s after its first was removed: %d, %t", p, got, ok)
		}
	}
	for _, p := range []string{"b", "a/c", "*/c", "b/**", "a/*/c", "a/b/*", "*/**", "a/b/c/d"} {
		if v, ok := x.Any(parse(t, p)); ok {
			t.Errorf("%s, which nothing was added under: %d", p, v)
		}
	}
}

func TestIndexOneValueManyPatterns(t *testing.T) {
	var x topic.Index[int]
	for _, p := range []string{"a/b", "a/*", "a/b", "a/*"} {
		x.Add(parse(t, p), 1)
	}
	if got := found(&x, "a/b"); !slices.Equal(got, []int{1, 1}) {
		t.Errorf("%v, want 1 once for each of two patterns", got)
	}
	x.Remove(parse(t, "a/b"), 1)
	if got := found(&x, "a/b"); !slices.Equal(got, []int{1}) {
		t.Errorf("%v, want 1 for the pattern that is left", got)
	}
}

func TestIndexRemoveWhatIsNotThere(t *testing.T) {
	var x topic.Index[int]
	for _, p := range []string{"a", "a/*", "**", "a/*/c/**"} {
		x.Remove(parse(t, p), 1)
	}
	if !x.Empty() {
		t.Error("not empty")
	}
	x.Add(parse(t, "a/*/c"), 1)
	for _, p := range []string{"a", "a/*", "**", "a/*/c/**", "a/*/d", "*/*/c"} {
		x.Remove(parse(t, p), 1)
	}
	x.Remove(parse(t, "a/*/c"), 2)
	x.Remove(topic.Pattern{}, 1)
	if got := found(&x, "a/b/c"); !slices.Equal(got, []int{1}) {
		t.Errorf("%v, want 1", got)
	}
}

// The index does what a list of pairs does, whatever is added and removed; and
// once all are gone it is empty.
func TestIndexIsBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Few letters for deep matches, many for wide nodes that become
		// tables, many values for sets that spill.
		letters := []string{"a", "b"}
		if rapid.Bool().Draw(t, "wide") {
			for i := range 30 {
				letters = append(letters, "n"+strconv.Itoa(i))
			}
		}
		patterns := rapid.SliceOfN(genPattern(letters...), 1, 60).Draw(t, "patterns")
		values := rapid.SampledFrom([]int{1, 3, 200}).Draw(t, "values")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))

		var x topic.Index[int]
		type pair struct {
			p topic.Pattern
			v int
		}
		model := map[pair]bool{}
		check := func() {
			name := genTopic(letters[:2]...).Draw(t, "topic")
			want := []int{}
			for pv := range model {
				if naive(pv.p.String(), name) {
					want = append(want, pv.v)
				}
			}
			slices.Sort(want)
			if got := found(&x, name); !slices.Equal(got, want) {
				t.Fatalf("%s: %v, want %v", name, got, want)
			}
		}
		for range rapid.IntRange(1, 4).Draw(t, "rounds") {
			more := rng.IntN(10)
			for range rng.IntN(2000) {
				pv := pair{patterns[rng.IntN(len(patterns))], rng.IntN(values)}
				if rng.IntN(10) < more {
					x.Add(pv.p, pv.v)
					model[pv] = true
				} else {
					x.Remove(pv.p, pv.v)
					delete(model, pv)
				}
			}
			check()
			check()
		}
		rest := slices.Collect(maps.Keys(model))
		for i, pv := range rest {
			x.Remove(pv.p, pv.v)
			delete(model, pv)
			if i%100 == 0 {
				check()
			}
		}
		if !x.Empty() {
			t.Fatal("all was removed, and the index is not empty")
		}
	})
}

func TestIndexMatchDoesNotAllocate(t *testing.T) {
	var x topic.Index[*int]
	for i := range 100 {
		x.Add(parse(t, "a/b/c"), &i)
		x.Add(parse(t, "a/*/c"), &i)
		x.Add(parse(t, "a/*/"+strconv.Itoa(i)), &i)
		x.Add(parse(t, "**"), &i)
	}
	count := 0
	if n := testing.AllocsPerRun(100, func() {
		x.Match("a/b/c", func(*int) { count++ })
	}); n != 0 || count == 0 {
		t.Errorf("%v allocations, %d values", n, count)
	}
}

// Every way on at every place: the worst that a topic of 16 segments can meet
// is bounded by the patterns that fit its beginning, and finds what it should.
func TestIndexDeep(t *testing.T) {
	var x topic.Index[int]
	rng := rand.New(rand.NewPCG(1, 2))
	var all []topic.Pattern
	for v := range 3000 {
		text := ""
		for range topic.MaxSegments {
			text += "/" + []string{"a", "*"}[rng.IntN(2)]
		}
		p := parse(t, text[1:])
		all = append(all, p)
		x.Add(p, v)
	}
	name := "a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a"
	if got := len(found(&x, name)); got != len(all) {
		t.Errorf("%d values, want %d", got, len(all))
	}
	if got := len(found(&x, name[:29]+"/b")); got == 0 || got == len(all) {
		t.Errorf("%d values", got)
	}
}

// A subscriber on a topic of its own may cost little more than a slot of a
// hash table, and an index that was emptied gives its memory back.
func TestIndexMemory(t *testing.T) {
	const n = 100_000
	for _, tt := range []struct {
		name, format string
		most         uint64 // bytes for each, without the pattern's own text
	}{
		{"topics of their own", "user/%d", 80},
		{"wildcards of their own", "user/%d/*", 260},
		{"one topic", "news", 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			patterns, values := make([]topic.Pattern, n), make([]int, n)
			for i := range patterns {
				p := tt.format
				if p != "news" {
					p = fmt.Sprintf(tt.format, i)
				}
				patterns[i] = parse(t, p)
			}
			var x topic.Index[*int]
			before := heap()
			for i, p := range patterns {
				x.Add(p, &values[i])
			}
			full := heap() - before
			t.Logf("%d bytes each", full/n)
			if full/n > tt.most {
				t.Errorf("%d bytes each, want at most %d", full/n, tt.most)
			}
			for i, p := range patterns[:n-10] {
				x.Remove(p, &values[i])
			}
			if rest := int64(heap()) - int64(before); rest > int64(full/8) {
				t.Errorf("%d bytes for the last ten", rest)
			}
			runtime.KeepAlive(patterns)
			runtime.KeepAlive(values)
			runtime.KeepAlive(&x)
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// fill adds n subscriptions that don't match, half exact and half wildcard,
// beside five that do.
func fill(b *testing.B, x *topic.Index[int], n int) {
	for i := range n {
		text := fmt.Sprintf("user/%d/inbox", i)
		switch i % 4 {
		case 1:
			text = fmt.Sprintf("user/%d/*", i)
		case 2:
			text = fmt.Sprintf("room/%d/**", i)
		case 3:
			text = fmt.Sprintf("prices/item%d/usd", i)
		}
		x.Add(parse(b, text), i)
	}
	for i, p := range []string{"prices/btc/usd", "prices/*/usd", "prices/btc/*", "prices/**", "**"} {
		x.Add(parse(b, p), -i)
	}
}

func BenchmarkIndexMatch(b *testing.B) {
	for _, n := range []int{1, 1000, 1_000_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var x topic.Index[int]
			fill(b, &x, n)
			count := 0
			b.ReportAllocs()
			for b.Loop() {
				x.Match("prices/btc/usd", func(int) { count++ })
			}
			if count != 5*b.N {
				b.Fatalf("%d values in %d calls", count, b.N)
			}
		})
	}
}

func BenchmarkIndexAddRemove(b *testing.B) {
	for _, p := range []string{"news", "news/*"} {
		for _, n := range []int{1, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", p, n), func(b *testing.B) {
				var x topic.Index[int]
				pattern := parse(b, p)
				for i := range n {
					x.Add(pattern, i)
				}
				rng := rand.New(rand.NewPCG(1, 2))
				for b.Loop() {
					v := rng.IntN(n)
					x.Remove(pattern, v)
					x.Add(pattern, v)
				}
			})
		}
	}
}
