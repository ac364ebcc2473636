package message

import "time"

// TimeBytes is how long a time is that [AppendTime] appends.
const TimeBytes = len("2006-01-02T15:04:05.000000Z")

// AppendTime appends a time as clients are told it: RFC 3339 in UTC, with
// microseconds. Its year has four digits.
func AppendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	// The format of package time with six digits is read anew for each time; this
	// one has a way of its own.
	dst = t.AppendFormat(dst, time.RFC3339)
	dst = append(dst[:len(dst)-1], '.')
	micros := t.Nanosecond() / 1000
	for unit := 100_000; unit > 0; unit /= 10 {
		dst = append(dst, byte('0'+micros/unit%10))
	}
	return append(dst, 'Z')
}
