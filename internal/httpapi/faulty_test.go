package httpapi_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"crier/internal/engine"
)

// faulty is an engine that can be away, and can hold an append.
type faulty struct {
	engine.Engine
	away   atomic.Bool
	lost   atomic.Bool // appends are done, and nobody knows
	quits  atomic.Bool // appends go on after their caller's time is over
	starts bool        // its logs are a Starter
	late   chan error  // what came of one that went on; to be made by the test

	registry *faultyRegistry // nil: the engine's

	mu   sync.Mutex
	gate chan struct{} // appends wait for it to be closed
	held chan struct{} // told when one waits
}

// faultyRegistry is a registry that can be away.
type faultyRegistry struct {
	engine.Registry
	away atomic.Bool
}

func (r *faultyRegistry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if r.away.Load() {
		return engine.Entry{}, engine.ErrUnavailable
	}
	return r.Registry.Get(ctx, kind, name)
}

func (f *faulty) Registry() engine.Registry {
	if f.registry != nil {
		return f.registry
	}
	return f.Engine.Registry()
}

// hold makes appends wait until release.
func (f *faulty) hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gate, f.held = gate, make(chan struct{}, 1)
	return func() { close(gate) }
}

func (f *faulty) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := f.Engine.Log(ctx, domain, d)
	if starter, ok := l.(engine.Starter); ok && f.starts {
		return startingLog{faultyLog{l, f}, starter}, err
	}
	return faultyLog{l, f}, err
}

type startingLog struct {
	faultyLog
	starter engine.Starter
}

func (l startingLog) Start(b engine.Block, done func(engine.Receipt, error)) bool {
	if l.f.away.Load() {
		done(engine.Receipt{}, engine.ErrUnavailable)
		return true
	}
	return l.starter.Start(b, done)
}

type faultyLog struct {
	engine.Log
	f *faulty
}

func (l faultyLog) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	l.f.mu.Lock()
	gate, held := l.f.gate, l.f.held
	l.f.mu.Unlock()
	if gate != nil {
		select {
		case held <- struct{}{}:
		default:
		}
		select {
		case <-gate:
		case <-ctx.Done():
			if l.f.quits.Load() {
				go func() {
					<-gate
					_, err := l.Log.Append(context.WithoutCancel(ctx), b)
					l.f.late <- err
				}()
				return engine.Receipt{}, ctx.Err()
			}
			<-gate
		}
	}
	if l.f.away.Load() {
		return engine.Receipt{}, engine.ErrUnavailable
	}
	r, err := l.Log.Append(ctx, b)
	if l.f.lost.Load() {
		return engine.Receipt{}, fmt.Errorf("%w: %w", engine.ErrUnknown, engine.ErrUnavailable)
	}
	return r, err
}

func (l faultyLog) State(ctx context.Context) (engine.State, error) {
	if l.f.away.Load() {
		return engine.State{}, engine.ErrUnavailable
	}
	return l.Log.State(ctx)
}
