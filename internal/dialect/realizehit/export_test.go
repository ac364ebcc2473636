package realizehit

import "crier/internal/topic"

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

// Attend answers what a client sends as far as it is about its form.
func Attend(data []byte) (answer []byte, pattern Pattern, err error) {
	a, v, err := parseAction(data)
	if err == nil && v != verbPing {
		pattern, err = ParsePattern(a.pattern(), true)
	}
	return a.answer(v, err), pattern, err
}
