package registry

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"crier/internal/engine"
)

// held is a lease as this process knows it, and the end that the file has for
// it, which is never before the true one.
type held struct {
	engine.Lease
	stored time.Time
}

// Acquire takes a lease, or extends one that the holder has; ttl must be
// above zero.
func (r *Registry) Acquire(ctx context.Context, name, holder string, ttl time.Duration) (engine.Lease, error) {
	if err := checkLease(name, holder, ttl); err != nil {
		return engine.Lease{}, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return engine.Lease{}, fmt.Errorf("acquire lease %q: %w", name, err)
	}
	defer unlock()
	now := r.now()
	old := r.leases[name]
	var l engine.Lease
	switch {
	case old == nil || !now.Before(old.Until):
		l, err = r.take(name, holder, now, ttl)
	case old.Holder == holder:
		l, err = r.extend(old, now, ttl)
	default:
		err = fmt.Errorf("%w: %q has it until %s", engine.ErrLeaseHeld, old.Holder, old.Until.UTC().Format(time.RFC3339))
	}
	if err != nil {
		return engine.Lease{}, fmt.Errorf("acquire lease %q: %w", name, err)
	}
	return l, nil
}

// Renew extends a lease that is still held.
func (r *Registry) Renew(ctx context.Context, l engine.Lease, ttl time.Duration) (engine.Lease, error) {
	if err := checkLease(l.Name, l.Holder, ttl); err != nil {
		return engine.Lease{}, err
	}
	unlock, err := r.lock(ctx)
	if err != nil {
		return engine.Lease{}, fmt.Errorf("renew lease %q: %w", l.Name, err)
	}
	defer unlock()
	if !r.holds(l) {
		return engine.Lease{}, fmt.Errorf("renew lease %q: %w", l.Name, engine.ErrLeaseLost)
	}
	renewed, err := r.extend(r.leases[l.Name], r.now(), ttl)
	if err != nil {
		return engine.Lease{}, fmt.Errorf("renew lease %q: %w", l.Name, err)
	}
	return renewed, nil
}

// Release gives a lease back, if it is held.
func (r *Registry) Release(ctx context.Context, l engine.Lease) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return fmt.Errorf("release lease %q: %w", l.Name, err)
	}
	defer unlock()
	if !r.holds(l) {
		return nil
	}
	err = r.update(func(tx *bbolt.Tx) error { return tx.Bucket(leasesBucket).Delete([]byte(l.Name)) })
	if err != nil {
		return fmt.Errorf("release lease %q: %w", l.Name, err)
	}
	delete(r.leases, l.Name)
	return nil
}

// holds reports whether the lease with that token is held now. The caller has
// the lock.
func (r *Registry) holds(l engine.Lease) bool {
	h := r.leases[l.Name]
	return h != nil && h.Token == l.Token && r.now().Before(h.Until)
}

// take commits a lease with a new token, and with it the end of a few leases
// that nobody holds, so that their number is bounded by those that are held.
func (r *Registry) take(name, holder string, now time.Time, ttl time.Duration) (engine.Lease, error) {
	h := &held{Lease: engine.Lease{Name: name, Holder: holder, Until: now.Add(ttl)}}
	h.stored = h.Until
	over := r.expired(now)
	err := r.update(func(tx *bbolt.Tx) error {
		leases := tx.Bucket(leasesBucket)
		for _, name := range over {
			if err := leases.Delete([]byte(name)); err != nil {
				return err
			}
		}
		var err error
		if h.Token, err = leases.NextSequence(); err != nil {
			return err
		}
		return leases.Put([]byte(name), encodeLease(h))
	})
	if err != nil {
		return engine.Lease{}, err
	}
	for _, name := range over {
		delete(r.leases, name)
	}
	r.leases[name] = h
	return h.Lease, nil
}

// expired returns the names of a few leases that are over.
func (r *Registry) expired(now time.Time) []string {
	var over []string
	looked := 0
	for name, h := range r.leases {
		if looked++; looked > 16 {
			break
		}
		if !now.Before(h.Until) {
			over = append(over, name)
		}
	}
	return over
}

// extend moves the end of a lease, and commits one that lies further off if
// the file's would come too early. An end may also come nearer.
func (r *Registry) extend(h *held, now time.Time, ttl time.Duration) (engine.Lease, error) {
	next := *h
	next.Until = now.Add(ttl)
	if next.Until.After(h.stored) {
		next.stored = next.Until.Add(ttl)
		err := r.update(func(tx *bbolt.Tx) error {
			return tx.Bucket(leasesBucket).Put([]byte(h.Name), encodeLease(&next))
		})
		if err != nil {
			return engine.Lease{}, err
		}
	}
	*h = next
	return h.Lease, nil
}

// settle writes the true end of every lease where the file has a later one.
func (r *Registry) settle() error {
	var unsettled []*held
	for _, h := range r.leases {
		if h.stored.After(h.Until) {
			h.stored = h.Until
			unsettled = append(unsettled, h)
		}
	}
	if len(unsettled) == 0 {
		return nil
	}
	return r.update(func(tx *bbolt.Tx) error {
		leases := tx.Bucket(leasesBucket)
		for _, h := range unsettled {
			if err := leases.Put([]byte(h.Name), encodeLease(h)); err != nil {
				return err
			}
		}
		return nil
	})
}

func encodeLease(h *held) []byte {
	stored := make([]byte, 0, 16+len(h.Holder))
	stored = binary.BigEndian.AppendUint64(stored, h.Token)
	stored = binary.BigEndian.AppendUint64(stored, uint64(h.stored.UnixNano()))
	return append(stored, h.Holder...)
}

func decodeLease(name string, stored []byte) (*held, error) {
	if len(stored) <= 16 || len(stored) > 16+engine.MaxEntryName {
		return &held{}, fmt.Errorf("%w: lease %q is %d bytes long", engine.ErrCorrupt, name, len(stored))
	}
	until := time.Unix(0, int64(binary.BigEndian.Uint64(stored[8:])))
	return &held{
		Lease:  engine.Lease{Name: name, Holder: string(stored[16:]), Token: binary.BigEndian.Uint64(stored), Until: until},
		stored: until,
	}, nil
}

func checkLease(name, holder string, ttl time.Duration) error {
	for _, field := range []struct{ what, s string }{{"name", name}, {"holder", holder}} {
		if n := len(field.s); n == 0 || n > engine.MaxEntryName {
			return fmt.Errorf("lease: %s is %d bytes long, it must be 1 to %d", field.what, n, engine.MaxEntryName)
		}
	}
	if ttl <= 0 {
		return fmt.Errorf("lease %q: time to live is %s, it must be above zero", name, ttl)
	}
	return nil
}
