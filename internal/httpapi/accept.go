package httpapi

import (
	"strconv"
	"strings"
)

// representation is what a listener wants.
type representation int

const (
	none representation = iota
	asPage
	asSSE
	asNDJSON
)

// offers are the representations in the order in which ties are decided.
var offers = [...]struct {
	rep        representation
	kind, name string
}{
	{asPage, "application", "json"},
	{asSSE, "text", "event-stream"},
	{asNDJSON, "application", "x-ndjson"},
}

// maxAccept bounds the ranges of an Accept header that are looked at.
const maxAccept = 32

// negotiate chooses by the Accept headers (RFC 9110, section 12.5.1): of the
// ranges that cover an offer the most specific gives its q, the highest q
// wins, JSON wins ties. No header: JSON. Nothing acceptable: none.
func negotiate(accept []string) representation {
	if len(accept) == 0 {
		return asPage
	}
	var q [len(offers)]float64
	var specific [len(offers)]int
	seen := 0
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if seen++; seen > maxAccept {
			break
		}
		kind, name, weight := parseRange(part)
		for i, o := range offers {
			level := 0
			switch {
			case kind == o.kind && name == o.name:
				level = 3
			case kind == o.kind && name == "*":
				level = 2
			case kind == "*" && name == "*":
				level = 1
			}
			if level > specific[i] || level > 0 && level == specific[i] && weight > q[i] {
				specific[i], q[i] = level, weight
			}
		}
	}
	if seen == 0 {
		return asPage
	}
	best, bestQ := none, 0.0
	for i, o := range offers {
		if q[i] > bestQ {
			best, bestQ = o.rep, q[i]
		}
	}
	return best
}

func parseRange(s string) (kind, name string, q float64) {
	media, params, _ := strings.Cut(s, ";")
	kind, name, _ = strings.Cut(strings.ToLower(strings.TrimSpace(media)), "/")
	q = 1
	for p := range strings.SplitSeq(params, ";") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(strings.TrimSpace(k), "q") {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil || f < 0 || f > 1 {
				f = 0
			}
			q = f
		}
	}
	return kind, name, q
}
