package topic

import (
	"fmt"
	"slices"
	"strings"
)

// Pattern selects topics: a topic in which a segment may be "*" (any one
// segment) or the last may be "**" (one or more segments). The zero Pattern
// matches nothing. Patterns are values and compare with ==.
type Pattern struct {
	text string
	head uint16 // of a wild pattern: the bytes before the first segment that is a wildcard
	wild bool
}

// ParsePattern reads a pattern. Errors wrap [ErrName] and name the segment.
// The pattern keeps a copy of s, so that one taken out of a request does not
// hold the rest of the request in memory.
func ParsePattern(s string) (Pattern, error) {
	var wild bool
	var head int
	err := check("pattern", s, func(i, n int, seg string) error {
		switch {
		case seg == "*":
			wild = true
		case seg == "**":
			if i != n-1 {
				return fmt.Errorf("%w: pattern %s: segment %d is **, which only the last may be", ErrName, clip(s), i+1)
			}
			wild = true
		case strings.Contains(seg, "*"):
			return fmt.Errorf("%w: pattern %s: segment %d (%s) has a * beside other characters; it stands for a whole segment", ErrName, clip(s), i+1, clip(seg))
		}
		if !wild {
			head += len(seg) + 1
		}
		return nil
	})
	if err != nil {
		return Pattern{}, err
	}
	if !wild {
		return Exactly(strings.Clone(s)), nil
	}
	return Pattern{text: strings.Clone(s), head: uint16(head), wild: true}, nil
}

// Exactly is the pattern that matches one valid topic only.
func Exactly(topicName string) Pattern { return Pattern{text: topicName} }

// All is the pattern "**", the whole domain.
func All() Pattern { return Pattern{text: "**", wild: true} }

// String gives the pattern as it was written.
func (p Pattern) String() string { return p.text }

// IsZero reports whether p is no pattern.
func (p Pattern) IsZero() bool { return p.text == "" }

// IsTopic reports whether the pattern has no wildcard and so is a topic.
func (p Pattern) IsTopic() bool { return !p.wild && p.text != "" }

// Match reports whether the pattern selects the topic, which the caller knows
// to be valid. It does not allocate.
func (p Pattern) Match(topicName string) bool {
	if !p.wild {
		return p.text == topicName && topicName != ""
	}
	// Most topics that don't match differ before the first wildcard.
	head := int(p.head)
	if len(topicName) <= head || topicName[:head] != p.text[:head] {
		return false
	}
	pat, name := p.text[head:], topicName[head:]
	for {
		ps, prest, pmore := strings.Cut(pat, "/")
		if ps == "**" {
			return name != ""
		}
		ns, nrest, nmore := strings.Cut(name, "/")
		if ps != "*" && ps != ns || pmore != nmore {
			return false
		}
		if !pmore {
			return ns != ""
		}
		pat, name = prest, nrest
	}
}

// Contains reports whether every topic that q selects is selected by p too,
// whatever its length. Nothing contains the zero Pattern.
func (p Pattern) Contains(q Pattern) bool {
	if q.IsZero() {
		return false
	}
	if q.IsTopic() {
		return p.Match(q.text)
	}
	if !p.wild {
		return false
	}
	pat, sub := p.text, q.text
	for {
		ps, prest, pmore := strings.Cut(pat, "/")
		if ps == "**" {
			return true // q has at least one segment left, whatever it is
		}
		qs, qrest, qmore := strings.Cut(sub, "/")
		if qs == "**" || ps != "*" && ps != qs || pmore != qmore {
			return false
		}
		if !pmore {
			return true
		}
		pat, sub = prest, qrest
	}
}

// MarshalText and UnmarshalText make a Pattern a JSON string.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText parses the pattern.
func (p *Pattern) UnmarshalText(b []byte) error {
	parsed, err := ParsePattern(string(b))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

// Filter is a set of up to [MaxPatterns] patterns; a topic matches it if it
// matches one. The zero Filter matches nothing. A Filter does not change and
// may be shared.
type Filter struct {
	patterns []Pattern
}

// NewFilter makes a filter; doubled patterns count once. The caller has seen
// to the limit of patterns.
func NewFilter(patterns ...Pattern) Filter {
	f := Filter{patterns: make([]Pattern, 0, len(patterns))}
	for _, p := range patterns {
		if !slices.Contains(f.patterns, p) {
			f.patterns = append(f.patterns, p)
		}
	}
	return f
}

// Patterns returns the patterns; don't change them.
func (f Filter) Patterns() []Pattern { return f.patterns }

// Equal reports whether both have the same patterns in the same order.
func (f Filter) Equal(g Filter) bool { return slices.Equal(f.patterns, g.patterns) }

// Match reports whether one of the patterns selects the topic.
func (f Filter) Match(topicName string) bool {
	for _, p := range f.patterns {
		if p.Match(topicName) {
			return true
		}
	}
	return false
}

// Topics returns the topics of a filter that has no wildcard, and whether it
// is one.
func (f Filter) Topics() ([]string, bool) {
	topics := make([]string, 0, len(f.patterns))
	for _, p := range f.patterns {
		if p.wild {
			return nil, false
		}
		topics = append(topics, p.text)
	}
	return topics, true
}

// MatchesAll reports whether the filter selects every topic.
func (f Filter) MatchesAll() bool { return slices.Contains(f.patterns, All()) }

// String joins the patterns with commas, for people.
func (f Filter) String() string {
	var b strings.Builder
	for i, p := range f.patterns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.text)
	}
	return b.String()
}
