package enginetest

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
)

// The cases for several openers run here with openers that share one engine in
// memory, as nodes share a server.

func sharedHarness() Harness {
	return Harness{
		New: func(t testing.TB, now func() time.Time) Store {
			e := memory.New(memory.Config{Now: now})
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			return Store{Open: func(testing.TB) engine.Engine { return &opener{shared: e, logs: map[string]*view{}} }}
		},
		Durabilities: []engine.Durability{engine.Memory},
		Clock:        true, Several: true,
		patience: time.Second,
	}
}

func severalOf(cases []testCase) []testCase {
	return slices.DeleteFunc(cases, func(c testCase) bool { return c.need&needSeveral == 0 })
}

func TestSeveralOpeners(t *testing.T) {
	runCases(t, sharedHarness(), engine.Memory, severalOf(logCases()))
	runCases(t, sharedHarness(), engine.Memory, severalOf(registryCases()))
}

// TestFaultySharingIsFound has openers that share a store badly.
func TestFaultySharingIsFound(t *testing.T) {
	alone := sharedHarness()
	alone.New = func(_ testing.TB, now func() time.Time) Store {
		return Store{Open: func(testing.TB) engine.Engine { return memory.New(memory.Config{Now: now}) }}
	}
	deaf := sharedHarness()
	open := deaf.New
	deaf.New = func(t testing.TB, now func() time.Time) Store {
		s := open(t, now)
		return Store{Open: func(t testing.TB) engine.Engine {
			o := s.Open(t).(*opener)
			o.deaf = true
			return o
		}}
	}
	for fault, c := range map[string]struct {
		h       Harness
		foundBy []testCase
	}{
		"each has a store of its own": {alone, slices.Concat(severalOf(logCases()), severalOf(registryCases()))},
		"none hears of the others": {deaf, []testCase{
			find(t, logCases(), "several ring"), find(t, registryCases(), "watch of several openers"),
		}},
	} {
		t.Run(fault, func(t *testing.T) {
			for _, tc := range c.foundBy {
				if try(t, c.h, tc) == nil {
					t.Errorf("%q does not find it", tc.name)
				}
			}
		})
	}
}

// opener is one of several that share an engine, as nodes share a server.
type opener struct {
	shared *memory.Engine

	deaf   bool // a fault: nothing is heard
	mu     sync.Mutex
	closed atomic.Bool
	logs   map[string]*view
	stops  []func()
}

func (o *opener) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed.Load() {
		return nil, engine.ErrClosed
	}
	l, err := o.shared.Log(ctx, domain, d)
	if err != nil {
		return nil, err
	}
	if v := o.logs[domain]; v == nil || v.log != l {
		o.logs[domain] = &view{opener: o, log: l}
	}
	return o.logs[domain], nil
}

func (o *opener) Drop(ctx context.Context, domain string) error {
	if o.closed.Load() {
		return engine.ErrClosed
	}
	return o.shared.Drop(ctx, domain)
}

func (o *opener) Registry() engine.Registry { return registryView{o} }

func (o *opener) Ping(ctx context.Context) error {
	if o.closed.Load() {
		return engine.ErrClosed
	}
	return o.shared.Ping(ctx)
}

func (o *opener) Close() error {
	o.closed.Store(true)
	o.mu.Lock()
	stops := o.stops
	o.stops = nil
	o.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	return nil
}

// watched keeps the end of a watch or of listening for Close.
func (o *opener) watched(begin func() (stop func())) (stop func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed.Load() || o.deaf {
		return func() {}
	}
	stop = begin()
	o.stops = append(o.stops, stop)
	return stop
}
