// Package name maps the names of the outside, which may hold any bytes, onto
// segments of topics and onto domains. No two names share a segment or a
// domain, and anybody can compute them: docs/migrate-from-qri.md and
// docs/migrate-from-wspubsub.md have the rules for those who write clients.
package name

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"crier/internal/topic"
)

// MaxSegment bounds a segment that is not a hash, in bytes.
const MaxSegment = 200

// Reserved is what the domains begin with that stand for names which are no
// domain's.
const Reserved = "ws."

const upperHex = "0123456789ABCDEF"

// Segment gives the segment that stands for a name. Bytes outside
// [A-Za-z0-9._-], and the dots of "." and "..", become ~HH, HH being upper-case
// hex; an empty name becomes "~". What is then longer than [MaxSegment] becomes
// "~~" and the SHA-256 of the name in lower-case hex.
func Segment(s string) string {
	if s == "" {
		return "~"
	}
	dots := s == "." || s == ".."
	escapes := 0
	for i := range len(s) {
		if dots || !plain(s[i]) {
			escapes++
		}
	}
	n := len(s) + 2*escapes
	switch {
	case n > MaxSegment:
		sum := sha256.Sum256([]byte(s))
		return "~~" + hex.EncodeToString(sum[:])
	case escapes == 0:
		return s
	}
	var b strings.Builder
	b.Grow(n)
	for i := range len(s) {
		if c := s[i]; dots || !plain(c) {
			b.WriteByte('~')
			b.WriteByte(upperHex[c>>4])
			b.WriteByte(upperHex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// Domain gives the domain that stands for a name: the name itself if it can be
// one and does not begin with [Reserved], else Reserved and the first 40
// digits of the name's SHA-256 in lower-case hex.
func Domain(s string) string {
	if topic.CheckDomain(s) == nil && !strings.HasPrefix(s, Reserved) {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return Reserved + hex.EncodeToString(sum[:20])
}
