package keys

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// probe is how often keys in use are looked at without a ring, and lookTimeout
// how long that may take.
const (
	probe       = 5 * time.Second
	lookTimeout = 5 * time.Second
)

// Checker is the [Source] of the keys in a registry.
type Checker struct {
	keys    *Registry
	log     *slog.Logger
	inUse   InUse
	rung    chan struct{}
	unwatch func()
	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewChecker follows the keys of a registry until Close.
func NewChecker(ctx context.Context, k *Registry) *Checker {
	c := &Checker{keys: k, log: k.Log, rung: make(chan struct{}, 1)}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.unwatch = k.Registry.Watch(kind, func() {
		select {
		case c.rung <- struct{}{}:
		default:
		}
	})
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.running.Go(func() { c.follow(life) })
	return c
}

// Close stops following.
func (c *Checker) Close() {
	c.unwatch()
	c.stop()
	c.running.Wait()
}

// Check implements [Source].
func (c *Checker) Check(ctx context.Context, domain, key string) (*Grant, error) {
	k, err := c.keys.look(ctx, domain, key)
	if err != nil {
		return nil, err
	}
	return c.inUse.Grant(Pair{domain, key}, k.ID), nil
}

// follow ends what was revoked: when it is rung, and now and then because rings
// may be lost, or come between a check and its connection.
func (c *Checker) follow(ctx context.Context) {
	tick := time.NewTicker(probe)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.rung:
		case <-tick.C:
		}
		c.sweep(ctx)
	}
}

func (c *Checker) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for _, p := range c.inUse.Pairs() {
		_, err := c.keys.look(ctx, p.Domain, p.Key)
		switch {
		case errors.Is(err, ErrBad):
			if n := c.inUse.End(p, ErrRevoked); n > 0 {
				c.log.InfoContext(ctx, "wspubsub key is not active any more; its connections end", "domain", p.Domain, "connections", n)
			}
		case err != nil:
			c.log.WarnContext(ctx, "wspubsub keys not looked at; those in use go on working", "error", err)
			return
		}
	}
}
