package realizehit

import (
	"context"
	"time"

	"crier/internal/topic"
)

// For tests of what decides what is taken in from Redis.

type Ears = ears

func NewEars(log string) *Ears            { return newEars(log) }
func (e *ears) Changed(kind, name string) { e.changed(kind, name) }
func (e *ears) Heard(pattern, channel, payload string) bool {
	return e.heard(pattern, channel, payload)
}
func GlobMatch(glob, s string) bool    { return globMatch(glob, s) }
func RedisName(p topic.Pattern) string { return redisName(p) }
func InASCII(text []byte) []byte       { return inASCII(text) }

// Lease is who listens to Redis, as far as this node knows.
type Lease struct{ s *share }

func NewLease() Lease                          { return Lease{newShare(&Redis{wants: newWants()})} }
func (l Lease) Until(t time.Time)              { l.s.setUntil(t) }
func (l Lease) Lost() <-chan struct{}          { return l.s.lost() }
func (l Lease) Await(ctx context.Context) bool { return l.s.await(ctx) }

// Attend answers what a client sends as far as it is about its form.
func Attend(data []byte) (answer []byte, pattern Pattern, err error) {
	a, v, err := parseAction(data)
	if err == nil && v != verbPing {
		pattern, err = ParsePattern(a.pattern(), true)
	}
	return a.answer(v, err), pattern, err
}
