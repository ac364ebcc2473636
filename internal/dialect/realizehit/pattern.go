package realizehit

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"crier/internal/dialect/name"
	"crier/internal/topic"
)

// Limits of a pattern.
const (
	maxFilters   = 14 // with the two segments before them: what a topic may have
	maxCanonical = 4 << 10
)

// prefix is the first segment of every topic of the dialect.
const prefix = "realizehit"

// any1 is the value that stands for any.
const any1 = "*"

// Pattern is a set of filters, each with a value. In a subscription a value
// may be *.
type Pattern struct {
	names, values []string // in the order of names
}

// errPattern is an error of a pattern for its sender to see.
type errPattern struct{ text string }

func (e *errPattern) Error() string { return e.text }

func wrong(format string, args ...any) error { return &errPattern{fmt.Sprintf(format, args...)} }

// ParsePattern reads a pattern as clients write it, a JSON object. wild says
// whether values may be *. Errors say what is wrong with it.
func ParsePattern(raw []byte, wild bool) (Pattern, error) {
	var filters map[string]json.RawMessage
	if err := json.Unmarshal(raw, &filters); err != nil || filters == nil {
		return Pattern{}, wrong("the pattern is not a JSON object of filters and values")
	}
	if len(filters) == 0 {
		return Pattern{}, wrong("the pattern has no filter; give at least one")
	}
	if len(filters) > maxFilters {
		return Pattern{}, wrong("the pattern has %d filters, the limit is %d", len(filters), maxFilters)
	}
	var p Pattern
	for n := range filters {
		p.names = append(p.names, n)
	}
	slices.Sort(p.names)
	for _, n := range p.names {
		v, err := parseValue(filters[n])
		if err != nil {
			return Pattern{}, wrong("filter %s: %v", clip(n), err)
		}
		p.values = append(p.values, v)
	}
	return p, p.check(wild)
}

// parseValue reads a string, which is trimmed, or a number.
func parseValue(raw json.RawMessage) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", errors.New("its value cannot be read")
	}
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), nil
	case json.Number:
		return decimal(v.String())
	}
	return "", errors.New("its value is neither a string nor a number")
}

// decimal gives a number's decimal text, as JavaScript writes it: of a whole
// one that is not below 0, which is all that a value can be.
func decimal(s string) (string, error) {
	if strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0 {
		return s, nil
	}
	const exact = 1 << 53
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > exact || f != float64(int64(f)) {
		return "", fmt.Errorf("its value %s is no whole number from 0 up", clip(s))
	}
	return strconv.FormatInt(int64(f), 10), nil
}

// check holds a pattern to the rules.
func (p Pattern) check(wild bool) error {
	for i, n := range p.names {
		if n == "" || word(n) < len(n) {
			return wrong("filter name %s has other characters than 0-9, A-Z and a-z, or none", clip(n))
		}
		v := p.values[i]
		if v == any1 {
			if !wild {
				return wrong("filter %s: its value is *, which only subscriptions may have", clip(n))
			}
			continue
		}
		if v == "" || word(v) < len(v) {
			return wrong("filter %s: its value %s has other characters than 0-9, A-Z and a-z, or none", clip(n), clip(v))
		}
	}
	if n := len(p.Canonical()); n > maxCanonical {
		return wrong("the pattern is %d bytes long, the limit is %d", n, maxCanonical)
	}
	if err := topic.Check(strings.ReplaceAll(p.Topic(), any1, "x")); err != nil {
		return wrong("the pattern is too long for a topic: %v", err)
	}
	return nil
}

// word counts the bytes at the beginning of s that names and values have.
func word(s string) int {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z':
		default:
			return i
		}
	}
	return len(s)
}

func clip(s string) string {
	const limit = 40
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strconv.Quote(s)
}

// ParseChannel reads the canonical form, as Redis has it. ok is false for
// every other name of a channel.
func ParseChannel(s string) (p Pattern, ok bool) {
	if len(s) > maxCanonical {
		return p, false
	}
	for filter := range strings.SplitSeq(s, "|") {
		n, v, ok := strings.Cut(filter, ":")
		if !ok || len(p.names) == maxFilters || len(p.names) > 0 && p.names[len(p.names)-1] >= n {
			return Pattern{}, false
		}
		p.names, p.values = append(p.names, n), append(p.values, v)
	}
	return p, p.check(false) == nil
}

// Canonical is the form that Redis knows as a channel: name:value pairs in the
// order of names, joined by |.
func (p Pattern) Canonical() string {
	var b strings.Builder
	for i, n := range p.names {
		if i > 0 {
			b.WriteByte('|')
		}
		b.WriteString(n)
		b.WriteByte(':')
		b.WriteString(p.values[i])
	}
	return b.String()
}

// ID is what payloads are marked with: the first 8 hex digits of the MD5 of
// the canonical form.
func (p Pattern) ID() string {
	sum := md5.Sum([]byte(p.Canonical()))
	return hex.EncodeToString(sum[:4])
}

// Wild reports whether a value is *.
func (p Pattern) Wild() bool { return slices.Contains(p.values, any1) }

// Topic is the topic, or with a * the pattern of topics, of the dialect: the
// names joined by |, then each value a segment.
func (p Pattern) Topic() string {
	names := strings.Join(p.names, "|")
	if len(names) > name.MaxSegment {
		names = name.Segment(names) // which makes it short
	}
	var b strings.Builder
	b.WriteString(prefix + "/" + names)
	for _, v := range p.values {
		b.WriteByte('/')
		if v == any1 {
			b.WriteString(v)
		} else {
			b.WriteString(name.Segment(v))
		}
	}
	return b.String()
}

// filter selects the messages of the pattern. The pattern was checked.
func (p Pattern) filter() (topic.Filter, error) {
	tp, err := topic.ParsePattern(p.Topic())
	return topic.NewFilter(tp), err
}
