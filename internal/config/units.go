package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written plain or with KiB, MiB, GiB, TiB (or
// their decimal cousins KB, MB, GB, TB).
type Size int64

var units = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(b []byte) error {
	text, factor := strings.TrimSpace(string(b)), int64(1)
	for _, u := range units {
		if len(text) > len(u.suffix) && strings.EqualFold(text[len(text)-len(u.suffix):], u.suffix) {
			text, factor = strings.TrimSpace(text[:len(text)-len(u.suffix)]), u.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n >= 0 && n*float64(factor) <= 1<<62) { // neither holds for NaN
		return fmt.Errorf("%q is no size such as 1048576, 64MiB or 1GiB", b)
	}
	*s = Size(n * float64(factor))
	return nil
}

// String writes the size in the largest unit that is exact.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if u := units[i]; int64(s) >= u.bytes && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Duration is a time.Duration that may also be written in days, as 7d.
type Duration time.Duration

// ParseDuration reads what time.ParseDuration does, and days before it.
func ParseDuration(s string) (time.Duration, error) {
	days, rest := time.Duration(0), strings.TrimSpace(s)
	if before, after, ok := strings.Cut(rest, "d"); ok {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("%q is no duration such as 90d, 12h or 30s", s)
		}
		days, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || days+d < days {
		return 0, fmt.Errorf("%q is no duration such as 90d, 12h or 30s", s)
	}
	return days + d, nil
}

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	parsed, err := ParseDuration(string(b))
	*d = Duration(parsed)
	return err
}

// String is time.Duration's.
func (d Duration) String() string { return time.Duration(d).String() }
