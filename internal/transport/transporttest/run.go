package transporttest

import (
	"testing"
	"testing/synctest"
)

// scenario is something that is true of every transport, or of those for
// which it is.
type scenario struct {
	name string
	// is says for which transports; nil: all.
	is        func(Traits) bool
	tailBytes int64
	run       func(e *Env)
}

// tiny is a tail that holds next to nothing, so that all comes from the store.
const tiny = 1

// Run runs every scenario that the transport's traits allow, each in a bubble
// of its own.
func Run(t *testing.T, d Driver) {
	for _, list := range [][]scenario{listening, gaps, endings, loads} {
		for _, s := range list {
			if s.is != nil && !s.is(d.Traits()) {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { s.run(NewEnv(t, d, s.tailBytes)) })
			})
		}
	}
}

// The traits that scenarios ask for.
func resumes(t Traits) bool    { return t.IDs }
func connects(t Traits) bool   { return !t.Polls }
func heartbeats(t Traits) bool { return t.Heartbeat > 0 }
func stalls(t Traits) bool     { return t.Stall > 0 }
