// Package memory is a complete engine in RAM. It serves domains whose
// durability is "memory", alone or inside another engine, and tests. Its
// history lives as long as the process; all else of the engine's contracts
// holds: order without holes, marks, epochs, idempotency keys, fencing.
//
// A [Log] keeps fixed-size records in chunks, addressed by sequence number,
// and for each topic the sequence numbers of its messages, so that reading
// one topic costs what it returns. The work of a call is done on the caller's
// goroutine, in slices: no lock is held for more than a few thousand records,
// so that a reader with much to look through does not hold up a publisher.
// What is trimmed, deleted or expired is let go of at once.
//
// The invariant: a message of a topic that is gone for another reason than
// its own time to live is never newer than that topic's mark, or, if the
// topic has none, than the log's (see lost.go).
package memory

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// Config is what an engine needs; the zero value will do.
type Config struct {
	Now     func() time.Time // nil: time.Now
	Rand    func() uint16    // the random bytes of epochs; nil: crypto/rand
	MaxKeys int              // idempotency keys that a log remembers; 0: DefaultMaxKeys
}

// Engine is the whole engine. Its methods may be called concurrently.
type Engine struct {
	cfg      Config
	registry *Registry

	mu     sync.Mutex // guards the fields below
	closed bool
	logs   map[string]*Log
	above  uint32 // the second of the newest epoch of a dropped log: a domain made again begins above it
}

var _ engine.Engine = (*Engine)(nil)

// New makes an empty engine. It has no goroutines of its own while nobody
// watches the registry.
func New(cfg Config) *Engine {
	return &Engine{
		cfg:      cfg,
		registry: NewRegistry(cfg.Now),
		logs:     map[string]*Log{},
	}
}

// Log opens the log of a domain or makes it. Any durability but
// [engine.Memory] is refused with [engine.ErrDurability].
func (e *Engine) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	if err := topic.CheckDomain(domain); err != nil {
		return nil, err
	}
	if err := checkDurability(d); err != nil {
		return nil, fmt.Errorf("log of domain %s: %w", domain, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("log of domain %s: %w", domain, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, engine.ErrClosed
	}
	if l := e.logs[domain]; l != nil {
		return l, nil
	}
	cfg := LogConfig{Now: e.cfg.Now, Rand: e.cfg.Rand, MaxKeys: e.cfg.MaxKeys}
	cfg.Epoch = nextEpoch(message.Epoch{Began: e.above}, clock(cfg.Now), cfg.Rand)
	l := NewLog(cfg)
	e.logs[domain] = l
	return l, nil
}

// Drop deletes a domain's log, or returns [engine.ErrNotFound].
func (e *Engine) Drop(ctx context.Context, domain string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("drop domain %s: %w", domain, err)
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return engine.ErrClosed
	}
	l := e.logs[domain]
	if l == nil {
		e.mu.Unlock()
		return fmt.Errorf("drop domain %s: %w", domain, engine.ErrNotFound)
	}
	delete(e.logs, domain)
	e.above = max(e.above, l.epoch().Began)
	e.mu.Unlock()
	return l.Close()
}

// Registry returns the engine's registry.
func (e *Engine) Registry() engine.Registry { return e.registry }

// Ping says whether the engine is open.
func (e *Engine) Ping(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return engine.ErrClosed
	}
	return ctx.Err()
}

// Close closes the logs and the registry and lets go of all they hold. It
// returns once no listener and no watcher is running any more.
func (e *Engine) Close() error {
	e.mu.Lock()
	logs := e.logs
	e.logs, e.closed = nil, true
	e.mu.Unlock()
	for _, l := range logs {
		if err := l.Close(); err != nil {
			return err
		}
	}
	return e.registry.Close()
}

func checkDurability(d engine.Durability) error {
	if d != engine.Memory {
		return fmt.Errorf("%w: history in memory cannot be %q, only %q", engine.ErrDurability, d, engine.Memory)
	}
	return nil
}

// clock asks now, or the system's clock if there is none.
func clock(now func() time.Time) time.Time {
	if now == nil {
		return time.Now()
	}
	return now()
}

// nextEpoch draws an epoch above prev.
func nextEpoch(prev message.Epoch, now time.Time, random func() uint16) message.Epoch {
	if random == nil {
		random = cryptoRand
	}
	began := uint32(max(now.Unix(), 1))
	if began <= prev.Began {
		began = prev.Began + 1
	}
	return message.Epoch{Began: began, Rand: random()}
}

func cryptoRand() uint16 {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand.Read)
	return binary.BigEndian.Uint16(b[:])
}
