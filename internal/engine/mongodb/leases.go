package mongodb

import (
	"context"
	"fmt"
	"time"

	"crier/internal/engine"
)

// Acquire takes or extends a lease. Its token is the number of the fact that
// it was taken by. Ends are by the clocks of the nodes.
func (r *Registry) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
	if err := checkLease(ctx, name, holder, ttl); err != nil {
		return engine.Lease{}, err
	}
	var l engine.Lease
	_, err := r.commit(ctx, func(f *fact) (bool, error) {
		now := r.e.now()
		old, ok := r.leases[name]
		held := ok && now.Before(old.Until)
		if held && old.Holder != holder {
			return false, fmt.Errorf("%w: %q has it until %s", engine.ErrLeaseHeld, old.Holder, old.Until.Format(time.RFC3339))
		}
		l = engine.Lease{Name: name, Holder: holder, Token: old.Token, Until: now.Add(ttl)}
		if !held {
			l.Token = f.number()
		}
		f.setLease(l)
		return true, nil
	})
	if err != nil {
		return engine.Lease{}, fmt.Errorf("lease %q: %w", name, err)
	}
	return l, nil
}

// Renew extends a lease that is still held.
func (r *Registry) Renew(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error) {
	if err := checkLease(ctx, l.Name, l.Holder, ttl); err != nil {
		return engine.Lease{}, err
	}
	var renewed engine.Lease
	_, err := r.commit(ctx, func(f *fact) (bool, error) {
		if !r.holds(l) {
			return false, engine.ErrLeaseLost
		}
		renewed = r.leases[l.Name]
		renewed.Until = r.e.now().Add(ttl)
		f.setLease(renewed)
		return true, nil
	})
	if err != nil {
		return engine.Lease{}, fmt.Errorf("renew lease %q: %w", l.Name, err)
	}
	return renewed, nil
}

// Release gives a lease back, if it is held.
func (r *Registry) Release(ctx context.Context, l engine.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := r.commit(ctx, func(f *fact) (bool, error) {
		f.setLease(l)
		f.Gone = true
		return r.holds(l), nil
	})
	if err != nil {
		return fmt.Errorf("release lease %q: %w", l.Name, err)
	}
	return nil
}

func (f *fact) setLease(l engine.Lease) {
	f.Lease, f.Name, f.Holder, f.Token, f.Until = true, []byte(l.Name), []byte(l.Holder), int64(l.Token), l.Until.UnixMicro()
}

// holds reports whether the lease with that token is held now. The caller
// holds mu.
func (r *Registry) holds(l engine.Lease) bool {
	have, ok := r.leases[l.Name]
	return ok && have.Token == l.Token && r.e.now().Before(have.Until)
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
