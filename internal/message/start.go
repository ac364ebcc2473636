package message

import (
	"fmt"
	"strconv"
	"strings"
)

// StartKind says how a subscription or page chooses the place where it begins.
type StartKind uint8

// The ways to begin.
const (
	StartLatest   StartKind = iota // after the newest message
	StartEarliest                  // before the oldest that is left
	StartLast                      // before the newest N that match
	StartAfter                     // after a cursor
)

// MaxLast is the largest N of last:N.
const MaxLast = 100_000

// Start is the place where a subscription or page begins. The zero value is
// the place after the newest message.
type Start struct {
	Kind  StartKind
	After ID  // for StartAfter
	Last  int // for StartLast
}

// After begins right after the message with the given id.
func After(id ID) Start { return Start{Kind: StartAfter, After: id} }

// Latest, Earliest and Last begin as their names say.
func Latest() Start    { return Start{Kind: StartLatest} }
func Earliest() Start  { return Start{Kind: StartEarliest} }
func Last(n int) Start { return Start{Kind: StartLast, Last: n} }

// String is the reverse of [ParseStart].
func (s Start) String() string {
	switch s.Kind {
	case StartEarliest:
		return "earliest"
	case StartLast:
		return "last:" + strconv.Itoa(s.Last)
	case StartAfter:
		return s.After.String()
	}
	return "latest"
}

// ParseStart reads a cursor as clients write it: an id, "earliest", "latest"
// or "last:N" with N from 0 to [MaxLast]. Errors wrap [ErrID].
func ParseStart(s string) (Start, error) {
	switch s {
	case "earliest":
		return Earliest(), nil
	case "latest":
		return Latest(), nil
	}
	if digits, ok := strings.CutPrefix(s, "last:"); ok {
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || n > MaxLast {
			return Start{}, fmt.Errorf("%w: in last:N, N is a number from 0 to %d, got %q", ErrID, MaxLast, digits[:min(len(digits), 20)])
		}
		return Last(int(n)), nil
	}
	id, err := ParseID(s)
	if err != nil {
		return Start{}, err
	}
	return After(id), nil
}
