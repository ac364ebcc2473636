package wspubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"crier/internal/engine"
)

// leaseTime is how long a node is taken to live without a sign of it; it gives
// one every third of that.
const leaseTime = 10 * time.Second

// leasePrefix begins the names of the nodes' leases.
const leasePrefix = "wspubsub-node/"

// node is this process's lease. It is taken when the first topic is.
type node struct {
	registry engine.Registry
	name     string
	rung     chan struct{}

	mu    sync.Mutex // held while the lease is taken or renewed; guards lease
	lease engine.Lease
}

// fence gives the lease, which it takes if it is not held.
func (n *node) fence(ctx context.Context) (engine.Lease, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Now().Before(n.lease.Until) {
		return n.lease, nil
	}
	l, err := n.registry.Acquire(ctx, leasePrefix+n.name, n.name, leaseTime)
	if err != nil {
		return engine.Lease{}, fmt.Errorf("lease of this node: %w", err)
	}
	n.lease = l
	return l, nil
}

// lapse notes that a lease was lost.
func (n *node) lapse(l engine.Lease) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lease.Token == l.Token {
		n.lease = engine.Lease{}
	}
}

// renew extends the lease, if it was ever taken.
func (n *node) renew(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lease.Token == 0 {
		return nil
	}
	l, err := n.registry.Renew(ctx, n.lease, leaseTime)
	if errors.Is(err, engine.ErrLeaseLost) {
		l, err = n.registry.Acquire(ctx, leasePrefix+n.name, n.name, leaseTime)
	}
	if err != nil {
		return fmt.Errorf("renew the lease of this node: %w", err)
	}
	n.lease = l
	return nil
}

func (n *node) release(ctx context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lease.Token != 0 {
		_ = n.registry.Release(ctx, n.lease) // it ends by itself too
		n.lease = engine.Lease{}
	}
}
