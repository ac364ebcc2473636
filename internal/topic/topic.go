// Package topic has the names of topics and domains, the patterns and filters
// that select them, and the index that finds, for a topic, the subscriptions
// whose patterns match it. It knows nothing of messages or connections.
package topic

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of names.
const (
	MaxBytes    = 512 // of a topic or pattern
	MaxSegments = 16
	MaxPatterns = 64 // of a filter
	MaxDomain   = 64 // bytes of a domain's name
)

// ErrName is wrapped by every error about a topic, pattern or domain that
// breaks the rules.
var ErrName = errors.New("bad name")

// Check reports whether s is a topic: 1 to 16 segments joined by "/", at most
// 512 bytes of UTF-8, no segment that is empty, "." or "..", no control
// character, no "*". The error wraps [ErrName] and names the offending
// segment or byte.
func Check(s string) error {
	return check("topic", s, func(i, n int, seg string) error {
		if at := strings.IndexByte(seg, '*'); at >= 0 {
			return fmt.Errorf("%w: topic %s: segment %d (%s) holds a *, which only patterns may", ErrName, clip(s), i+1, clip(seg))
		}
		return nil
	})
}

// CheckDomain reports whether s names a domain: [A-Za-z0-9._-]{1,64}, but not
// "." or "..", which no path of the public API could say. The error wraps
// [ErrName] and names the offending byte.
func CheckDomain(s string) error {
	if s == "" {
		return fmt.Errorf("%w: domain is empty", ErrName)
	}
	if len(s) > MaxDomain {
		return fmt.Errorf("%w: domain %s is %d bytes long, the limit is %d", ErrName, clip(s), len(s), MaxDomain)
	}
	if s == "." || s == ".." {
		return fmt.Errorf("%w: domain is %q", ErrName, s)
	}
	for i, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return fmt.Errorf("%w: domain %s: byte %d (%q) is not one of A-Z a-z 0-9 . _ -", ErrName, clip(s), i, r)
		}
	}
	return nil
}

// check applies the rules that topics and patterns share, and segment to each
// segment (index, number of segments, text).
func check(what, s string, segment func(i, n int, seg string) error) error {
	if s == "" {
		return fmt.Errorf("%w: %s is empty", ErrName, what)
	}
	if len(s) > MaxBytes {
		return fmt.Errorf("%w: %s %s is %d bytes long, the limit is %d", ErrName, what, clip(s), len(s), MaxBytes)
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1: // U+FFFD itself is three bytes long and allowed
			return fmt.Errorf("%w: %s %s: byte %d is not UTF-8", ErrName, what, clip(s), i)
		case r < 0x20 || 0x7f <= r && r < 0xa0:
			return fmt.Errorf("%w: %s %s: byte %d is the control character %U", ErrName, what, clip(s), i, r)
		}
		i += size
	}
	n := strings.Count(s, "/") + 1
	if n > MaxSegments {
		return fmt.Errorf("%w: %s %s has %d segments, the limit is %d", ErrName, what, clip(s), n, MaxSegments)
	}
	i := 0
	for seg := range strings.SplitSeq(s, "/") {
		switch seg {
		case "":
			return fmt.Errorf("%w: %s %s: segment %d is empty", ErrName, what, clip(s), i+1)
		case ".", "..":
			return fmt.Errorf("%w: %s %s: segment %d is %q", ErrName, what, clip(s), i+1, seg)
		}
		if err := segment(i, n, seg); err != nil {
			return err
		}
		i++
	}
	return nil
}

// clip quotes s for an error message, cut at a whole character if it is long.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return strconv.Quote(s)
	}
	end := limit
	for end > limit-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return strconv.Quote(s[:end] + "…")
}
