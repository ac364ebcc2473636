package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"crier/internal/engine"
)

// closedMark is the value of the entry that says that the server was closed.
type closedMark struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

const closedName = "closed"

// closeForGood writes the mark, unless it is there.
func closeForGood(ctx context.Context, reg engine.Registry, why string, now time.Time) error {
	value, err := json.Marshal(closedMark{now, why})
	if err != nil {
		return fmt.Errorf("close the server: %w", err)
	}
	_, err = reg.Put(ctx, kindGate, closedName, value, 0, nil)
	if err != nil && !errors.Is(err, engine.ErrConflict) {
		return fmt.Errorf("close the server: %w", err)
	}
	return nil
}

// gate is open or closed. It goes from open to closed once, unless it is held
// open, and never back.
type gate struct {
	reg    engine.Registry
	held   bool // Config.Open
	log    *slog.Logger
	closed atomic.Bool
	anon   life // of everybody who came in because it was open
}

func (g *gate) open() bool { return g.held || !g.closed.Load() }

// look closes the gate if the mark is there, or a key, which could only be
// without a mark if somebody had put it there by hand.
func (g *gate) look(ctx context.Context) error {
	if g.closed.Load() {
		return nil
	}
	_, err := g.reg.Get(ctx, kindGate, closedName)
	if errors.Is(err, engine.ErrNotFound) {
		var keys []engine.Entry
		keys, err = g.reg.List(ctx, kindKey, "", 1)
		if err == nil && len(keys) == 0 {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("look whether the server is closed: %w", err)
	}
	if g.closed.CompareAndSwap(false, true) && !g.held {
		g.log.InfoContext(ctx, "server is closed: everything needs a grant")
		g.anon.end(ErrClosed)
	}
	return nil
}
