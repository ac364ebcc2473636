package enginetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
)

// The engine of these tests is the one in memory, made faulty: for each fault
// there must be a case that finds it.

// recorder is a test whose failure is wanted.
type recorder struct {
	testing.TB
	ctx      context.Context
	mu       sync.Mutex
	failed   bool
	problems []string
	cleanups []func()
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Cleanup(fn func())        { r.cleanups = append(r.cleanups, fn) }
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) Error(args ...any)        { r.note(fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, a ...any) {
	r.note(fmt.Sprintf(f, a...))
}
func (r *recorder) Fatalf(f string, a ...any) {
	r.note(fmt.Sprintf(f, a...))
	runtime.Goexit()
}

func (r *recorder) note(problem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = true
	r.problems = append(r.problems, problem)
}

// try runs a case against a harness, and returns what it complains about.
func try(t *testing.T, h Harness, c testCase) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &recorder{TB: t, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(newLab(r, h, h.Durabilities[0]))
	}()
	<-done
	for _, fn := range slices.Backward(r.cleanups) {
		fn()
	}
	if !r.failed {
		return nil
	}
	return r.problems
}

// faulty is an engine in memory whose logs or registry have a fault.
type faulty struct {
	*memory.Engine
	log      func(engine.Log) engine.Log
	registry func(engine.Registry) engine.Registry
	mu       sync.Mutex
	logs     map[string]engine.Log
}

func (f *faulty) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := f.Engine.Log(ctx, domain, d)
	if err != nil || f.log == nil {
		return l, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logs[domain] == nil {
		f.logs[domain] = f.log(l)
	}
	return f.logs[domain], nil
}

func (f *faulty) Registry() engine.Registry {
	if f.registry == nil {
		return f.Engine.Registry()
	}
	return f.registry(f.Engine.Registry())
}

func faultyHarness(log func(engine.Log) engine.Log, registry func(engine.Registry) engine.Registry) Harness {
	return Harness{
		New: func(_ testing.TB, now func() time.Time) Store {
			return Store{Open: func(testing.TB) engine.Engine {
				return &faulty{
					Engine: memory.New(memory.Config{Now: now}),
					log:    log, registry: registry, logs: map[string]engine.Log{},
				}
			}}
		},
		Durabilities: []engine.Durability{engine.Memory},
		Clock:        true,
		Seeds:        3,
		patience:     200 * time.Millisecond,
	}
}

func find(t *testing.T, cases []testCase, name string) testCase {
	t.Helper()
	i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("there is no case %q", name)
	}
	return cases[i]
}
