package index_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
)

// sample fills an Active with messages of many topics, and tells what it was.
func sample(rnd *rand.Rand, topics, messages int) (*index.Active, map[string][]index.Posting) {
	const first = 1000
	a := index.NewActive(first)
	want := map[string][]index.Posting{}
	for i := range messages {
		name := fmt.Sprintf("t/%d", rnd.IntN(topics))
		if rnd.IntN(50) == 0 {
			name = strings.Repeat("long", 1+rnd.IntN(128))
		}
		p := index.Posting{Seq: first + uint64(i), Offset: int64(4160 + 100*i), TTL: rnd.IntN(5) == 0}
		if rnd.IntN(100) == 0 {
			a.Skip(p.Seq) // damaged
			continue
		}
		if rnd.IntN(2) == 0 {
			a.Add([]byte(name), p.Offset, 10, int64(i+1), p.TTL)
		} else {
			a.AddString(name, p.Offset, 10, int64(i+1), p.TTL)
		}
		want[name] = append(want[name], p)
		if rnd.IntN(10) == 0 {
			a.AddKey(index.Key{Key: engine.Key{Hash: [16]byte{byte(i), 1}}, Time: int64(i), First: p.Seq, N: 1 + i%1000, Fsync: i%2 == 0})
		}
	}
	return a, want
}

// TestSealedEqualsActive asks an index in memory and its file the same things.
func TestSealedEqualsActive(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		topics := []int{1, 3, 40, 3000}[rnd.IntN(4)]
		a, want := sample(rnd, topics, rnd.IntN(5000))
		file := a.Build(12345)
		s, err := index.OpenSealed(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		sum := a.Summary()
		sum.End = 12345
		if s.Summary() != sum {
			t.Fatalf("seed %d: summary %+v, want %+v", seed, s.Summary(), sum)
		}
		for _, x := range []index.Index{a, s} {
			check(t, seed, x, want, rnd)
		}
		var keys [2][]index.Key
		for i, x := range []index.Index{a, s} {
			if err := x.Keys(func(k index.Key) bool { keys[i] = append(keys[i], k); return true }); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(keys[0], keys[1]) {
			t.Fatalf("seed %d: keys differ", seed)
		}
	}
}

func check(t *testing.T, seed uint64, x index.Index, want map[string][]index.Posting, rnd *rand.Rand) {
	t.Helper()
	last := x.Summary().Last
	for name, all := range want {
		topic, ok, err := x.Lookup(name)
		if err != nil || !ok || topic.Count != len(all) || topic.Last != all[len(all)-1].Seq || topic.Bytes != int64(10*len(all)) ||
			topic.TTL != slices.ContainsFunc(all, func(p index.Posting) bool { return p.TTL }) {
			t.Fatalf("seed %d, %T: topic %q: %+v, %v, %v", seed, x, name, topic, ok, err)
		}
		after := 990 + rnd.Uint64N(last-980)
		upTo := after + rnd.Uint64N(last-980)
		limit := 1 + rnd.IntN(30)
		var in []index.Posting
		below, above := 0, 0
		for _, p := range all {
			if p.Seq > after && p.Seq <= upTo {
				in = append(in, p)
			}
			if p.Seq <= upTo {
				below++
			}
			if p.Seq > after {
				above++
			}
		}
		got, err := x.After(nil, topic, after, upTo, limit)
		if err != nil || !slices.Equal(got, in[:min(limit, len(in))]) {
			t.Fatalf("seed %d, %T: %q in (%d, %d], %d: %v, want %v, %v", seed, x, name, after, upTo, limit, got, in, err)
		}
		back := slices.Clone(all[max(0, below-limit):below])
		slices.Reverse(back)
		got, err = x.Before(nil, topic, upTo, limit)
		if err != nil || !slices.Equal(got, back) {
			t.Fatalf("seed %d, %T: %q up to %d, %d: %v, want %v, %v", seed, x, name, upTo, limit, got, back, err)
		}
		if n, err := x.Above(topic, after); n != above || err != nil {
			t.Fatalf("seed %d, %T: %q has %d above %d, want %d, %v", seed, x, name, n, after, above, err)
		}
	}
	for _, name := range []string{"", "nothing", "t/", "zzz"} {
		if _, ok, err := x.Lookup(name); ok || err != nil {
			t.Fatalf("seed %d, %T: %q is there, %v", seed, x, name, err)
		}
	}
	names := make([]string, 0, len(want))
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, from := range []string{"", "t/2", "long", "longlonglonglong", "u"} {
		i, _ := slices.BinarySearch(names, from)
		most := rnd.IntN(len(names) + 2)
		var got []string
		if err := x.Names(from, func(topic index.Topic) bool {
			got = append(got, topic.Name)
			return len(got) <= most
		}); err != nil {
			t.Fatal(err)
		}
		if want := names[i:][:min(most+1, len(names)-i)]; !slices.Equal(got, want) {
			t.Fatalf("seed %d, %T: names from %q: %d, want %d", seed, x, from, len(got), len(want))
		}
	}
}

// TestDamage changes one byte anywhere: it is noticed, or not looked at.
func TestDamage(t *testing.T) {
	a, want := sample(rand.New(rand.NewPCG(1, 1)), 300, 2000)
	good := a.Build(99)
	stride := 37
	if testing.Short() {
		stride *= 11 // some 70 places are left, in every part of the file
	}
	for at := 0; at < len(good); at += stride {
		file := slices.Clone(good)
		file[at] ^= 0x40
		s, err := index.OpenSealed(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			if !errors.Is(err, index.ErrBad) {
				t.Fatalf("byte %d: %v", at, err)
			}
			continue
		}
		for name, all := range want {
			topic, ok, err := s.Lookup(name)
			if errors.Is(err, index.ErrBad) {
				continue
			}
			if err != nil || !ok {
				t.Fatalf("byte %d: topic %q is gone: %v", at, name, err)
			}
			got, err := s.After(nil, topic, 0, 1<<40, 1<<20)
			if !errors.Is(err, index.ErrBad) && (err != nil || !slices.Equal(got, all)) {
				t.Fatalf("byte %d: topic %q has other messages: %v", at, name, err)
			}
		}
	}
	for _, n := range []int{0, 1, 255, 4095, 4096, 4097, len(good) - 1} {
		if _, err := index.OpenSealed(bytes.NewReader(good[:n]), int64(n)); !errors.Is(err, index.ErrBad) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestTable(t *testing.T) {
	var marks []index.Mark
	for i := range 10_000 {
		marks = append(marks, index.Mark{Topic: fmt.Sprintf("t/%05d", i), Seq: uint64(1 + i*7919%10_007), Deleted: i%3 == 0})
	}
	keys := []index.Key{{Key: engine.Key{Hash: [16]byte{1}}, Time: 5, First: 6, N: 7, Fsync: true}}
	file := index.BuildTable(11, 20_000, slices.Values(marks), keys)
	x, err := index.OpenTable(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	newest := slices.MaxFunc(marks, func(a, b index.Mark) int { return int(a.Seq) - int(b.Seq) })
	newest.Topic = ""
	if m := x.Marks(); m != (index.Marks{Low: 11, Covers: 20_000, Newest: newest, Count: len(marks)}) {
		t.Errorf("%+v", m)
	}
	for _, m := range marks {
		if got, ok, err := x.Lookup(m.Topic); got != m || !ok || err != nil {
			t.Fatalf("%+v, want %+v, %v", got, m, err)
		}
	}
	var walked []index.Mark
	if err := x.Walk("t/05", func(m index.Mark) bool { walked = append(walked, m); return true }); err != nil || !slices.Equal(walked, marks[5000:]) {
		t.Errorf("%d marks from the middle, %v", len(walked), err)
	}
	var got []index.Key
	if err := x.Keys(func(k index.Key) bool { got = append(got, k); return true }); err != nil || !slices.Equal(got, keys) {
		t.Errorf("keys %v, %v", got, err)
	}
	if _, err := index.OpenSealed(bytes.NewReader(file), int64(len(file))); !errors.Is(err, index.ErrBad) {
		t.Errorf("a table opened as the index of a segment: %v", err)
	}
	empty := index.BuildTable(0, 5, slices.Values([]index.Mark(nil)), nil)
	x, err = index.OpenTable(bytes.NewReader(empty), int64(len(empty)))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := x.Lookup("a"); ok || err != nil {
		t.Error(ok, err)
	}
	if err := x.Walk("", func(index.Mark) bool { t.Error("a mark"); return true }); err != nil {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	a, _ := sample(rand.New(rand.NewPCG(1, 1)), 30, 200)
	f.Add(a.Build(99), "t/1")
	f.Add(index.BuildTable(1, 2, slices.Values([]index.Mark{{Topic: "a", Seq: 1}}), nil), "a")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		// The checksums are made right, so that what lies behind them is read.
		file := index.Paginate(content)
		yes := func(index.Topic) bool { return true }
		if s, err := index.OpenSealed(bytes.NewReader(file), int64(len(file))); err == nil {
			if topic, ok, err := s.Lookup(name); ok && err == nil {
				_, _ = s.After(nil, topic, 0, 1<<40, 1000)
				_, _ = s.Before(nil, topic, 1<<40, 1000)
				_, _ = s.Above(topic, 10)
			}
			_ = s.Names(name, yes)
			_ = s.Keys(func(index.Key) bool { return true })
		}
		if x, err := index.OpenTable(bytes.NewReader(file), int64(len(file))); err == nil {
			_, _, _ = x.Lookup(name)
			_ = x.Walk(name, func(index.Mark) bool { return true })
		}
	})
}
