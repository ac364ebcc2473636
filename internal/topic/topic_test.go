package topic_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"crier/internal/topic"
)

func TestCheck(t *testing.T) {
	long := strings.Repeat("x", topic.MaxBytes+1)
	for _, tt := range []struct {
		name, topic string
		want        string // part of the error; empty: a good topic
	}{
		{"one segment", "news", ""},
		{"many segments", "a/b/c", ""},
		{"16 segments", strings.Repeat("s/", 15) + "s", ""},
		{"512 bytes", strings.Repeat("x", topic.MaxBytes), ""},
		{"not ASCII", "grüße/世界/🙂", ""},
		{"the replacement character itself", "a\ufffdb", ""},
		{"dots among others", "a/.b/c./...", ""},
		{"space and punctuation", "a b/+#?&%/$SYS", ""},

		{"empty", "", "topic is empty"},
		{"513 bytes", long, "is 513 bytes long, the limit is 512"},
		{"17 segments", strings.Repeat("s/", 16) + "s", "has 17 segments, the limit is 16"},
		{"leading slash", "/a", "segment 1 is empty"},
		{"trailing slash", "a/b/", "segment 3 is empty"},
		{"double slash", "a//b", "segment 2 is empty"},
		{"only a slash", "/", "segment 1 is empty"},
		{"dot", "a/./b", `segment 2 is "."`},
		{"dot dot", "a/b/..", `segment 3 is ".."`},
		{"line break", "a/b\nc", "byte 3 is the control character U+000A"},
		{"NUL", "\x00", "byte 0 is the control character U+0000"},
		{"DEL", "ab\x7f", "byte 2 is the control character U+007F"},
		{"C1 control", "ü\u0085", "byte 2 is the control character U+0085"},
		{"not UTF-8", "ab\xff", "byte 2 is not UTF-8"},
		{"not UTF-8 after a replacement character", "\ufffd\xc3", "byte 3 is not UTF-8"},
		{"star", "a/*", `segment 2 ("*") holds a *`},
		{"star inside", "a/b*c/d", `segment 2 ("b*c") holds a *`},
		{"star star", "**", `segment 1 ("**") holds a *`},
		{"shown cut at a character", strings.Repeat("x", 79) + "üü/", `xxx…"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, topic.Check(tt.topic), tt.want)
		})
	}
}

func TestParsePattern(t *testing.T) {
	for _, tt := range []struct {
		name, pattern string
		want          string
	}{
		{"topic", "a/b", ""},
		{"star", "*", ""},
		{"stars", "*/a/*", ""},
		{"whole domain", "**", ""},
		{"below", "a/**", ""},
		{"star and star star", "*/**", ""},

		{"empty", "", "pattern is empty"},
		{"star star in the middle", "a/**/b", "segment 2 is **, which only the last may be"},
		{"star star first", "**/b", "segment 1 is **, which only the last may be"},
		{"star beside", "a/b*", `segment 2 ("b*") has a * beside other characters`},
		{"three stars", "***", `segment 1 ("***") has a * beside other characters`},
		{"empty segment", "*//*", "segment 2 is empty"},
		{"dot dot", "*/..", `segment 2 is ".."`},
		{"control", "*/\t", "byte 2 is the control character U+0009"},
		{"too many", strings.Repeat("*/", 16) + "**", "has 17 segments, the limit is 16"},
		{"too long", "*/" + strings.Repeat("x", topic.MaxBytes), "is 514 bytes long, the limit is 512"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := topic.ParsePattern(tt.pattern)
			wantError(t, err, tt.want)
			if err != nil {
				if !p.IsZero() {
					t.Errorf("an error and the pattern %q", p)
				}
				return
			}
			if p.String() != tt.pattern {
				t.Errorf("String() = %q, want %q", p, tt.pattern)
			}
			if want := !strings.Contains(tt.pattern, "*"); p.IsTopic() != want {
				t.Errorf("IsTopic() = %v, want %v", p.IsTopic(), want)
			}
		})
	}
}

func TestCheckDomain(t *testing.T) {
	for _, tt := range []struct{ name, domain, want string }{
		{"main", "main", ""},
		{"all kinds", "Az09._-", ""},
		{"three dots", "...", ""},
		{"64 bytes", strings.Repeat("d", 64), ""},
		{"empty", "", "domain is empty"},
		{"65 bytes", strings.Repeat("d", 65), "is 65 bytes long, the limit is 64"},
		{"dot", ".", `domain is "."`},
		{"dot dot", "..", `domain is ".."`},
		{"slash", "a/b", "byte 1 ('/')"},
		{"space", "a b", "byte 1 (' ')"},
		{"not ASCII", "abü", "byte 2 ('ü')"},
		{"not UTF-8", "ab\xff", "byte 2"},
		{"NUL", "\x00", `byte 0 ('\x00')`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, topic.CheckDomain(tt.domain), tt.want)
		})
	}
}

// wantError checks that err wraps ErrName and says want, or is nil if want is
// empty.
func wantError(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case want != "" && err == nil:
		t.Errorf("no error, want one with %q", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("error %q, want %q in it", err, want)
	case want != "" && !errors.Is(err, topic.ErrName):
		t.Errorf("error %q does not wrap ErrName", err)
	}
}

// The rules of a topic said a second time, as one expression.
var good = regexp.MustCompile(`^[^/*\x00-\x1f\x7f-\x{9f}]+(/[^/*\x00-\x1f\x7f-\x{9f}]+){0,15}$`)

func FuzzCheck(f *testing.F) {
	for _, s := range []string{"a/b", "", "a//b", "a/../b", ".", "a\x00", "ü/\xff", "\ufffd", "*", "a/\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		err := topic.Check(s)
		want := len(s) <= topic.MaxBytes && strings.ToValidUTF8(s, "") == s && good.MatchString(s)
		for seg := range strings.SplitSeq(s, "/") {
			want = want && seg != "." && seg != ".."
		}
		if (err == nil) != want {
			t.Fatalf("Check(%q) = %v, want good: %v", s, err, want)
		}
		if err != nil && (!errors.Is(err, topic.ErrName) || len(err.Error()) > 1000) {
			t.Fatalf("Check(%q): a bad error %q", s, err)
		}
		if err == nil {
			p, err := topic.ParsePattern(s)
			if err != nil || !p.IsTopic() || p != topic.Exactly(s) || !p.Match(s) {
				t.Fatalf("the topic %q is not the pattern that matches it: %v %v", s, p, err)
			}
		}
	})
}
