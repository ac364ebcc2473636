package name_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"crier/internal/dialect/name"
	"crier/internal/topic"
)

func TestSegment(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"CNN", "CNN"},
		{"a.b_c-D9", "a.b_c-D9"},
		{"", "~"},
		{".", "~2E"},
		{"..", "~2E~2E"},
		{"...", "..."},
		{"a/b", "a~2Fb"},
		{"~", "~7E"},
		{"*", "~2A"},
		{"é", "~C3~A9"},
		{"\x00\xff", "~00~FF"},
		{strings.Repeat("a", 200), strings.Repeat("a", 200)},
		{strings.Repeat("a", 201), "~~a92efd82109373e58f9a2056dee01e807e216ce6075f7051207c0a9f7d666e50"},
		{strings.Repeat("/", 66) + "aa", strings.Repeat("~2F", 66) + "aa"},
	} {
		if got := name.Segment(tt.name); got != tt.want {
			t.Errorf("%.20q is %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := name.Segment(strings.Repeat("/", 67)); !strings.HasPrefix(got, "~~") || len(got) != 66 {
		t.Errorf("a name that grows too long is %s", got)
	}
}

func TestNoTwoNamesShareASegment(t *testing.T) {
	seen := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.StringOf(rapid.SampledFrom([]rune("~2Fa./|*é"))), rapid.String()).Draw(t, "name")
		seg := name.Segment(n)
		if err := topic.Check("qri/" + seg); err != nil {
			t.Fatalf("%q: %v", n, err)
		}
		if other, there := seen[seg]; there && other != n {
			t.Fatalf("%q and %q are both %s", n, other, seg)
		}
		seen[seg] = n
	})
}
