// Package enginetest judges engines: [RunLog] and [RunRegistry] run every rule
// of the contracts in package engine against an implementation, [Bench]
// measures it. An engine's own tests call them with a [Harness] that says how
// to open it and what it can do; nothing else about it is known here.
//
// Every case works on a store of its own, and states the rule that it checks,
// which is printed when it fails. Random cases print their seed.
package enginetest

import (
	"sync"
	"testing"
	"time"

	"crier/internal/engine"
)

// Harness says how an engine is opened, and what it can do. Cases that need
// what it cannot do are skipped.
type Harness struct {
	// New makes an empty store, which lasts as long as the test. The engines
	// that it opens ask now for the time, if Clock is set.
	New func(t testing.TB, now func() time.Time) Store

	// Durabilities are those that logs can be opened with; every case of
	// RunLog runs with each. The first one is what the others use.
	Durabilities []engine.Durability

	Clock   bool // engines go by the clock that New is given
	Reopens bool // what was acknowledged with more than [engine.Memory], and the registry, are there when a store is opened again after Close
	Several bool // a store can be opened by several at once

	Parallel bool // durabilities are judged side by side: for engines that wait more than they work

	Seeds int // random runs of each model test; 0: 20

	patience time.Duration // how long to wait for what must come; 0: a minute
}

// Store is where an engine keeps things.
type Store struct {
	// Open opens an engine over the store, and fails the test if it cannot.
	// The suite closes it.
	Open func(t testing.TB) engine.Engine
	// Crash ends the engine as kill -9 would, while calls may be under way:
	// from a moment on nothing of it reaches the store and no call is
	// acknowledged (they may fail however they like, but must end), and Open
	// finds what was there at that moment. The suite does not use or close a
	// crashed engine any more. Nil: cannot be done.
	Crash func(t testing.TB, e engine.Engine)
}

// Clock is a clock that moves when it is told. It may be used concurrently.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a clock that shows a moment in 2026.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
}

// Now shows the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// need is what a case asks of the harness.
type need uint8

const (
	needClock   need = 1 << iota
	needReopen       // of what is more durable than memory
	needCrash        // the same
	needSeveral      // openers
	needTime         // a case that takes seconds; not with -short
)

// missing says what the harness cannot do for a case, or nothing.
func (h Harness) missing(n need, d engine.Durability, store Store) string {
	switch {
	case n&needClock != 0 && !h.Clock:
		return "the engine has its own clock"
	case n&needReopen != 0 && (!h.Reopens || d == engine.Memory):
		return "nothing outlives the engine"
	case n&needCrash != 0 && (store.Crash == nil || !h.Reopens || d == engine.Memory):
		return "a crash cannot be made, or nothing outlives it"
	case n&needSeveral != 0 && !h.Several:
		return "a store has one opener at a time"
	case n&needTime != 0 && testing.Short():
		return "takes seconds"
	}
	return ""
}

// testCase is one rule and how it is checked.
type testCase struct {
	name string
	rule string // what was violated if it fails
	need need
	run  func(b *lab)
}

// RunLog judges the engine's logs with each durability.
func RunLog(t *testing.T, h Harness) {
	for _, d := range h.Durabilities {
		t.Run(string(d), func(t *testing.T) {
			if h.Parallel {
				t.Parallel()
			}
			runCases(t, h, d, logCases())
		})
	}
}

// RunRegistry judges the engine's registry.
func RunRegistry(t *testing.T, h Harness) {
	runCases(t, h, h.registryDurability(), registryCases())
}

// registryDurability stands for the registry's where a case asks for it.
func (h Harness) registryDurability() engine.Durability {
	if h.Reopens {
		return engine.Fsync
	}
	return engine.Memory
}

func runCases(t *testing.T, h Harness, d engine.Durability, cases []testCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newLab(t, h, d)
			if why := h.missing(c.need, d, b.store); why != "" {
				t.Skip(why)
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the rule that was violated: %s", c.rule)
				}
			})
			c.run(b)
		})
	}
}

func logCases() []testCase {
	var all []testCase
	for _, cases := range [][]testCase{
		orderCases(), startCases(), readCases(), seekCases(), trimCases(), forgetCases(), ttlCases(), epochCases(),
		keyCases(), ringCases(), durabilityCases(), closeCases(), crashCases(), severalCases(), modelCases(),
	} {
		all = append(all, cases...)
	}
	return all
}

func registryCases() []testCase {
	var all []testCase
	for _, cases := range [][]testCase{entryCases(), watchCases(), leaseCases(), registryLifeCases()} {
		all = append(all, cases...)
	}
	return all
}
