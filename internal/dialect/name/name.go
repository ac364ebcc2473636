// Package name turns names that come from outside into segments of topics, so
// that no two names share a topic and a native client can compute which one a
// name has.
package name

import (
	"crypto/sha256"
	"encoding/hex"
)

// MaxSegment is the longest segment that a name becomes as it is, in bytes.
const MaxSegment = 200

// Segment gives the segment of a name. Bytes outside A-Z, a-z, 0-9, dot,
// underscore and hyphen, and the dots of "." and "..", become ~ and two
// upper-case hex digits; the empty name becomes ~; what is then longer than
// [MaxSegment] becomes ~~ and the SHA-256 of the name in hex.
func Segment(name string) string {
	if name == "" {
		return "~"
	}
	dots := name == "." || name == ".."
	seg := make([]byte, 0, len(name))
	for i := range len(name) {
		c := name[i]
		if dots || !plain(c) {
			const digits = "0123456789ABCDEF"
			seg = append(seg, '~', digits[c>>4], digits[c&15])
		} else {
			seg = append(seg, c)
		}
		if len(seg) > MaxSegment {
			sum := sha256.Sum256([]byte(name))
			return "~~" + hex.EncodeToString(sum[:])
		}
	}
	return string(seg)
}

func plain(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		return true
	}
	return false
}
