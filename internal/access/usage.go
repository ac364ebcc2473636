package access

import (
	"context"
	"fmt"
	"sync"
	"time"

	"crier/internal/engine"
)

// The last uses of keys are written late and at a bounded rate: a registry
// syncs for each write.
const (
	useGrain   = time.Minute      // how exact a last use is
	useFlush   = 10 * time.Second // how often they are written
	useBatch   = 50               // at most so many each time
	maxPending = 10_000           // uses that wait to be written; others are left out
)

// usage has the uses of keys that wait to be written.
type usage struct {
	reg engine.Registry

	mu      sync.Mutex // guards pending
	pending map[string]time.Time
}

func newUsage(reg engine.Registry) *usage {
	return &usage{reg: reg, pending: map[string]time.Time{}}
}

func (u *usage) note(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, known := u.pending[id]; known || len(u.pending) < maxPending {
		u.pending[id] = at
	}
}

// take takes some of them out.
func (u *usage) take(n int) map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	some := make(map[string]time.Time, min(n, len(u.pending)))
	for id, at := range u.pending {
		if len(some) == n {
			break
		}
		some[id] = at
		delete(u.pending, id)
	}
	return some
}

// flush writes some of them. What fails is tried again with the next.
func (u *usage) flush(ctx context.Context) error {
	some := u.take(useBatch)
	var failed error
	for id, at := range some {
		if failed == nil {
			text := at.UTC().Truncate(time.Second).Format(time.RFC3339)
			if _, err := u.reg.Put(ctx, kindUsed, id, []byte(text), engine.AnyVersion, nil); err != nil {
				failed = fmt.Errorf("write the last use of a key: %w", err)
			}
		}
		if failed != nil {
			u.noteUnlessNewer(id, at)
		}
	}
	return failed
}

func (u *usage) noteUnlessNewer(id string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, newer := u.pending[id]; !newer {
		u.pending[id] = at
	}
}
