package memory

import (
	"context"
	"fmt"
	"time"

	"crier/internal/engine"
)

// Acquire takes or extends a lease; ttl must be above zero.
func (r *Registry) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
	if err := checkLease(ctx, name, holder, ttl); err != nil {
		return engine.Lease{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return engine.Lease{}, engine.ErrClosed
	}
	now := r.now()
	old, ok := r.leases[name]
	held := ok && now.Before(old.Until)
	if held && old.Holder != holder {
		return engine.Lease{}, fmt.Errorf("lease %q: %w: %q has it until %s", name, engine.ErrLeaseHeld, old.Holder, old.Until.UTC().Format(time.RFC3339))
	}
	l := engine.Lease{Name: name, Holder: holder, Token: old.Token, Until: now.Add(ttl)}
	if !held {
		r.dropExpired(now)
		r.token++
		l.Token = r.token
	}
	r.leases[name] = l
	return l, nil
}

// dropExpired lets go of a few leases that are over, so that their number is
// bounded by those that are held.
func (r *Registry) dropExpired(now time.Time) {
	looked := 0
	for name, l := range r.leases {
		if !now.Before(l.Until) {
			delete(r.leases, name)
		}
		if looked++; looked == 16 {
			return
		}
	}
}

// Renew extends a lease that is still held.
func (r *Registry) Renew(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error) {
	if err := checkLease(ctx, l.Name, l.Holder, ttl); err != nil {
		return engine.Lease{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return engine.Lease{}, engine.ErrClosed
	}
	if !r.holds(l) {
		return engine.Lease{}, fmt.Errorf("renew lease %q: %w", l.Name, engine.ErrLeaseLost)
	}
	renewed := r.leases[l.Name]
	renewed.Until = r.now().Add(ttl)
	r.leases[l.Name] = renewed
	return renewed, nil
}

// Release gives a lease back, if it is held.
func (r *Registry) Release(ctx context.Context, l engine.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return engine.ErrClosed
	}
	if r.holds(l) {
		delete(r.leases, l.Name)
	}
	return nil
}

// holds reports whether the lease with that token is held now.
func (r *Registry) holds(l engine.Lease) bool {
	have, ok := r.leases[l.Name]
	return ok && have.Token == l.Token && r.now().Before(have.Until)
}

func checkLease(ctx context.Context, name, holder string, ttl time.Duration) error {
	for _, field := range []struct{ what, s string }{{"name", name}, {"holder", holder}} {
		if n := len(field.s); n == 0 || n > engine.MaxEntryName {
			return fmt.Errorf("lease: %s is %d bytes long, it must be 1 to %d", field.what, n, engine.MaxEntryName)
		}
	}
	if ttl <= 0 {
		return fmt.Errorf("lease %q: time to live is %s, it must be above zero", name, ttl)
	}
	return ctx.Err()
}
