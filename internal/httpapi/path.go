package httpapi

import (
	"fmt"
	"net/url"
	"strings"

	"crier/internal/topic"
)

// Prefix is where the public API lives.
const Prefix = "/t/"

// target is what a request's path names.
type target struct {
	domain string
	name   string // topic or pattern; empty if the path is the domain alone
}

// parseTarget reads an escaped path below [Prefix]. It is split at "/" before
// anything is decoded, so that an encoded slash never makes a segment; a "+"
// is a plus. Names are not checked against the rules of topics here, but for
// what decoding could hide.
func parseTarget(escaped string) (target, error) {
	rest, ok := strings.CutPrefix(escaped, Prefix)
	if !ok {
		return target{}, fmt.Errorf("path does not begin with %s", Prefix)
	}
	if len(rest) > 3*(topic.MaxBytes+topic.MaxDomain)+topic.MaxSegments {
		return target{}, fmt.Errorf("path is %d bytes long; a topic has at most %d", len(rest), topic.MaxBytes)
	}
	var t target
	var name strings.Builder
	i := 0
	for raw := range strings.SplitSeq(rest, "/") {
		seg, err := url.PathUnescape(raw)
		if err != nil {
			return target{}, fmt.Errorf("segment %d of the path: %w", i+1, err)
		}
		if strings.Contains(seg, "/") {
			return target{}, fmt.Errorf("segment %d of the path holds an encoded slash; topics have segments, not slashes", i+1)
		}
		switch {
		case i == 0:
			t.domain = seg
		case i > 1:
			name.WriteByte('/')
			fallthrough
		default:
			if seg == "" {
				return target{}, fmt.Errorf("segment %d of the path is empty (a slash at the end, or two in a row)", i+1)
			}
			name.WriteString(seg)
		}
		i++
	}
	t.name = name.String()
	if err := topic.CheckDomain(t.domain); err != nil {
		return target{}, err
	}
	return t, nil
}

// appendTopicPath writes the escaped path of a topic.
func appendTopicPath(dst []byte, domain, name string) []byte {
	dst = append(dst, Prefix...)
	dst = append(dst, domain...)
	for seg := range strings.SplitSeq(name, "/") {
		dst = append(dst, '/')
		dst = append(dst, url.PathEscape(seg)...)
	}
	return dst
}
