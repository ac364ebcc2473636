package name_test

import (
	"net/url"
	"strings"
	"testing"

	"crier/internal/dialect/name"
	"crier/internal/topic"
)

func TestSegment(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"123", "123"},
		{"a.b_c-D", "a.b_c-D"},
		{"", "~"},
		{".", "~2E"},
		{"..", "~2E~2E"},
		{"...", "..."},
		{"a b", "a~20b"},
		{"a/b*c", "a~2Fb~2Ac"},
		{"~", "~7E"},
		{"~20", "~7E20"},
		{"\x00\xff", "~00~FF"},
		{"é", "~C3~A9"},
		{strings.Repeat("a", 200), strings.Repeat("a", 200)},
		{strings.Repeat("a", 201), "~~a92efd82109373e58f9a2056dee01e807e216ce6075f7051207c0a9f7d666e50"},
		{strings.Repeat("/", 66), strings.Repeat("~2F", 66)},
		{strings.Repeat("/", 67), "~~3eb1349aab9dc074e2028d6801ffe27e5de46b30e87a4e66e5fbb0b764f514e1"},
	} {
		got := name.Segment(tt.name)
		if got != tt.want {
			t.Errorf("%.20q: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestDomain(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"test", "test"},
		{"example.com", "example.com"},
		{strings.Repeat("a", 64), strings.Repeat("a", 64)},
		{strings.Repeat("a", 65), "ws.635361c48bb9eab14198e76ea8ab7f1a41685d6a"},
		{"", "ws.e3b0c44298fc1c149afbf4c8996fb92427ae41e4"},
		{".", "ws.cdb4ee2aea69cc6a83331bbe96dc2caa9a299d21"},
		{"a b", "ws.c8687a08aa5d6ed2044328fa6a697ab8e96dc342"},
	} {
		if got := name.Domain(tt.name); got != tt.want {
			t.Errorf("%.20q: %s, want %s", tt.name, got, tt.want)
		}
	}
	if got := name.Domain("ws.a"); got == "ws.a" || !strings.HasPrefix(got, "ws.") {
		t.Errorf("a name that begins as reserved ones do: %s", got)
	}
}

// FuzzNames: whatever the name, it is a segment and a domain, and the name can
// be had back from a segment that is no hash.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"", ".", "..", "a/b", "~~x", "ws.x", "é\xff", strings.Repeat("ab", 101)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		seg := name.Segment(s)
		if err := topic.Check("qri/" + seg + "/" + seg); err != nil || strings.Contains(seg, "/") {
			t.Fatalf("%q: %q: %v", s, seg, err)
		}
		if err := topic.CheckDomain(name.Domain(s)); err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(seg, "~~"):
			if len(seg) != 66 {
				t.Fatalf("%q: %q", s, seg)
			}
		case seg == "~":
			if s != "" {
				t.Fatalf("%q: %q", s, seg)
			}
		default:
			back, err := url.PathUnescape(strings.ReplaceAll(seg, "~", "%"))
			if err != nil || back != s {
				t.Fatalf("%q: %q says %q: %v", s, seg, back, err)
			}
		}
	})
}
