package topic_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crier/internal/topic"
)

func parse(t testing.TB, s string) topic.Pattern {
	t.Helper()
	p, err := topic.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// naive matches by the words of the definition, segment by segment.
func naive(pattern, name string) bool {
	return naiveSegments(strings.Split(pattern, "/"), strings.Split(name, "/"))
}

func naiveSegments(pattern, name []string) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if len(name) == 0 {
		return false
	}
	if pattern[0] == "**" {
		return true
	}
	return (pattern[0] == "*" || pattern[0] == name[0]) && naiveSegments(pattern[1:], name[1:])
}

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"a/b", []string{"a/b"}, []string{"a", "a/b/c", "a/c", "A/b", "ab"}},
		{"*", []string{"a", "世界"}, []string{"a/b"}},
		{"a/*", []string{"a/b", "a/ab"}, []string{"a", "ab", "a/b/c", "b/a", "ab/c"}},
		{"*/b", []string{"a/b"}, []string{"b", "a/bb", "a/b/c"}},
		{"a/*/c", []string{"a/b/c"}, []string{"a/c", "a/b/d", "a/b/c/d", "a/b/cc"}},
		{"**", []string{"a", "a/b", "a/b/c"}, nil},
		{"a/**", []string{"a/b", "a/b/c"}, []string{"a", "ab", "b/c"}},
		{"*/**", []string{"a/b", "a/b/c"}, []string{"a"}},
		{"a/*/**", []string{"a/b/c", "a/b/c/d"}, []string{"a/b", "a"}},
	} {
		p := parse(t, tt.pattern)
		for _, name := range tt.yes {
			if !p.Match(name) {
				t.Errorf("%s does not match %s", p, name)
			}
		}
		for _, name := range append(tt.no, "") {
			if p.Match(name) {
				t.Errorf("%s matches %q", p, name)
			}
		}
	}
	if zero := (topic.Pattern{}); zero.Match("") || zero.Match("a") || !zero.IsZero() || zero.IsTopic() {
		t.Error("the zero pattern is something")
	}
}

func TestContains(t *testing.T) {
	for _, tt := range []struct {
		p, q string
		want bool
	}{
		{"**", "**", true},
		{"**", "a/*/**", true},
		{"a/**", "a/*", true},
		{"a/**", "a/b", true},
		{"a/**", "a", false},
		{"a/**", "**", false},
		{"a/*", "a/b", true},
		{"a/*", "a/*", true},
		{"a/*", "a/**", false},
		{"a/*", "*/b", false},
		{"*/b", "a/b", true},
		{"*", "**", false},
		{"*/**", "**", false},
		{"*/**", "*/*", true},
		{"*/**", "a/**", true},
		{"a/b", "a/b", true},
		{"a/b", "a/*", false},
		{"a/b", "a/b/**", false},
	} {
		if got := parse(t, tt.p).Contains(parse(t, tt.q)); got != tt.want {
			t.Errorf("%s contains %s: %v, want %v", tt.p, tt.q, got, tt.want)
		}
	}
	zero := topic.Pattern{}
	if topic.All().Contains(zero) || zero.Contains(topic.All()) || zero.Contains(zero) {
		t.Error("the zero pattern is contained or contains")
	}
}

// Names from a small alphabet, so that they match often.
func genTopic(letters ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		segs := rapid.SliceOfN(rapid.SampledFrom(letters), 1, 5).Draw(t, "segments")
		return strings.Join(segs, "/")
	})
}

func genPattern(letters ...string) *rapid.Generator[topic.Pattern] {
	return rapid.Custom(func(t *rapid.T) topic.Pattern {
		segs := rapid.SliceOfN(rapid.SampledFrom(append([]string{"*"}, letters...)), 0, 4).Draw(t, "segments")
		if len(segs) == 0 || rapid.Bool().Draw(t, "below") {
			segs = append(segs, "**")
		}
		p, err := topic.ParsePattern(strings.Join(segs, "/"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	})
}

func TestMatchIsNaiveMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, name := genPattern("a", "aa", "b").Draw(t, "pattern"), genTopic("a", "aa", "b").Draw(t, "topic")
		if got, want := p.Match(name), naive(p.String(), name); got != want {
			t.Fatalf("%s matches %s: %v, want %v", p, name, got, want)
		}
	})
}

// If p contains q, p matches what q matches; if not, there is a witness: a
// topic that q matches and p does not. A letter that neither pattern has, and
// one segment more than either, are enough to find it.
func TestContainsHasNoWitness(t *testing.T) {
	names := []string{""}
	var all []string
	for range 6 {
		var longer []string
		for _, n := range names {
			for _, letter := range []string{"a", "b", "z"} {
				longer = append(longer, strings.TrimPrefix(n+"/"+letter, "/"))
			}
		}
		names = longer
		all = append(all, names...)
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := genPattern("a", "b").Draw(t, "p"), genPattern("a", "b").Draw(t, "q")
		witness := slices.IndexFunc(all, func(n string) bool { return naive(q.String(), n) && !naive(p.String(), n) })
		switch contains := p.Contains(q); {
		case contains && witness >= 0:
			t.Fatalf("%s is said to contain %s, but %s", p, q, all[witness])
		case !contains && witness < 0:
			t.Fatalf("%s is said not to contain %s, but no topic shows it", p, q)
		}
	})
}

func TestPatternIsJSONString(t *testing.T) {
	type grant struct{ Pattern topic.Pattern }
	b, err := json.Marshal(grant{parse(t, "a/*/**")})
	if err != nil || string(b) != `{"Pattern":"a/*/**"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var g grant
	if err := json.Unmarshal(b, &g); err != nil || g.Pattern != parse(t, "a/*/**") {
		t.Fatalf("%v, %v", g, err)
	}
	wantError(t, json.Unmarshal([]byte(`{"Pattern":"a/**/b"}`), &g), "segment 2 is **")
}

func TestFilter(t *testing.T) {
	exact := topic.NewFilter(topic.Exactly("a"), topic.Exactly("b/c"), topic.Exactly("a"))
	mixed := topic.NewFilter(parse(t, "a/*"), topic.Exactly("b"))
	for _, tt := range []struct {
		filter  topic.Filter
		text    string
		yes, no []string
		topics  []string
		all     bool
	}{
		{exact, "a, b/c", []string{"a", "b/c"}, []string{"b", "a/b", ""}, []string{"a", "b/c"}, false},
		{mixed, "a/*, b", []string{"a/x", "b"}, []string{"a", "x", ""}, nil, false},
		{topic.NewFilter(topic.Exactly("a"), topic.All()), "a, **", []string{"a", "x/y"}, []string{""}, nil, true},
		{topic.Filter{}, "", nil, []string{"", "a"}, []string{}, false},
	} {
		for _, n := range tt.yes {
			if !tt.filter.Match(n) {
				t.Errorf("%s does not match %s", tt.filter, n)
			}
		}
		for _, n := range tt.no {
			if tt.filter.Match(n) {
				t.Errorf("%s matches %q", tt.filter, n)
			}
		}
		if got := tt.filter.String(); got != tt.text {
			t.Errorf("String() = %q, want %q", got, tt.text)
		}
		topics, ok := tt.filter.Topics()
		if !slices.Equal(topics, tt.topics) || ok != (tt.topics != nil) {
			t.Errorf("%s: Topics() = %v, %v", tt.filter, topics, ok)
		}
		if got := tt.filter.MatchesAll(); got != tt.all {
			t.Errorf("%s: MatchesAll() = %v", tt.filter, got)
		}
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	p := parse(t, "prices/*/usd/**")
	f := topic.NewFilter(parse(t, "a/*"), topic.Exactly("x"), p)
	if n := testing.AllocsPerRun(100, func() {
		p.Match("prices/btc/usd/spot")
		f.Match("prices/btc/usd/spot")
		f.Match("nothing/of/it")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"a/b", "*", "**", "a/*/**", "a/**/b", "a*", "***", "", "*/..", "\xff/*"} {
		f.Add(s, "a/b")
	}
	f.Fuzz(func(t *testing.T, s, name string) {
		p, err := topic.ParsePattern(s)
		if err != nil {
			wantError(t, err, "pattern")
			return
		}
		if p.String() != s {
			t.Fatalf("%q is read as %q", s, p)
		}
		// A pattern is a topic once its stars are.
		if err := topic.Check(strings.ReplaceAll(s, "*", "x")); err != nil {
			t.Fatalf("a pattern of no topic: %v", err)
		}
		if !p.Contains(p) || !topic.All().Contains(p) {
			t.Fatalf("%q is not contained in itself or in all", s)
		}
		if topic.Check(name) == nil && p.Match(name) != naive(s, name) {
			t.Fatalf("%q matches %q: %v", s, name, p.Match(name))
		}
	})
}

func BenchmarkPatternMatch(b *testing.B) {
	for _, tt := range []struct{ name, pattern, topic string }{
		{"exact", "prices/btc/usd/spot", "prices/btc/usd/spot"},
		{"star", "prices/*/usd/*", "prices/btc/usd/spot"},
		{"below", "prices/**", "prices/btc/usd/spot"},
		{"other", "prices/*/usd/*", "weather/paris/today"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			p := parse(b, tt.pattern)
			for b.Loop() {
				p.Match(tt.topic)
			}
		})
	}
}
