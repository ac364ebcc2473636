package realizehit

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
)

const (
	maxWants   = engine.MaxEntryValue * 3 / 4 // of an entry; who wants more wants everything
	shareRest  = 20 * time.Millisecond        // between two looks at the registry
	shareCalls = 5 * time.Second              // for one of them
)

// share agrees with the other nodes that have the same log on who of them
// listens to Redis: the holder of a lease. The others tell it what they want
// in the registry, and are told when that is in force.
type share struct {
	redis *Redis
	bell  hub.Signal

	// The fields below belong to run.
	lease   engine.Lease
	written uint64               // version of the wants that were written
	told    time.Time            // when they were
	others  map[string]*follower // while this node listens
	deaf    time.Time            // since when this node listens and hears nothing; zero: it hears

	mu      sync.Mutex // guards the fields below
	until   time.Time  // this node listens until then
	on      bool       // it was told so when that was set, and not that it is over
	change  chan struct{}
	known   bool   // the lease was asked for, so that it is known who listens
	inForce uint64 // version of this node's wants that another listens for
}

// follower is another node, for which this one listens.
type follower struct {
	entry    engine.Version
	since    time.Time // when the entry last changed
	version  uint64
	patterns []string
	heard    uint64 // the version that it was told is in force
}

// wantsEntry is what a node writes into the registry.
type wantsEntry struct {
	Version  uint64   `json:"version"`
	Patterns []string `json:"patterns"`
}

func newShare(r *Redis) *share {
	return &share{redis: r, bell: hub.NewSignal(), others: map[string]*follower{}, change: make(chan struct{})}
}

func (s *share) nudge() { s.bell.Wake() }

// listens reports whether this node is the one that listens.
func (s *share) listens() bool { return s.holds(time.Now()) }

// holds reports whether this node's lease is good at a time.
func (s *share) holds(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.until)
}

// await waits until this node is to listen. false: ctx ended.
func (s *share) await(ctx context.Context) bool {
	for {
		s.mu.Lock()
		change, held := s.change, time.Now().Before(s.until)
		s.mu.Unlock()
		if held {
			return ctx.Err() == nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return false
		}
	}
}

// lost is closed when it changes who listens; it is closed already if this
// node does not.
func (s *share) lost() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !time.Now().Before(s.until) {
		done := make(chan struct{})
		close(done)
		return done
	}
	return s.change
}

// settled reports whether a name is in force at Redis, here or by the node
// that listens for this one's wants of a version.
func (s *share) settled(name string, version uint64) bool {
	if s.listens() {
		return s.redis.hearing.has(name) || !s.redis.hearing.isOn() && s.redis.hearing.tried()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known && s.inForce >= version
}

// setUntil changes until when this node listens.
func (s *share) setUntil(t time.Time) {
	s.mu.Lock()
	now := time.Now()
	on := now.Before(t)
	changed := now.Before(s.until) != on || s.on != on // the lease may have run out meanwhile
	news := changed || !s.known
	s.until, s.on, s.known = t, on, true
	if changed {
		close(s.change)
		s.change = make(chan struct{})
	}
	s.mu.Unlock()
	if news {
		s.redis.wants.nudge()
	}
}

func (s *share) run(ctx context.Context) {
	reg := s.redis.cfg.Registry
	for _, kind := range []string{kindWants, kindHeard} {
		defer reg.Watch(kind, s.nudge)()
	}
	every := s.redis.cfg.Lease / 4
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer s.leave()
	changed := s.redis.wants.next()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.bell:
		case <-changed:
		}
		changed = s.redis.wants.next() // what changes while it looks is for the next look
		s.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-time.After(shareRest):
		}
		timer.Reset(every)
	}
}

// look renews the lease or tries to get it, and does what follows.
func (s *share) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, shareCalls)
	defer cancel()
	if !s.redis.Connected() {
		return
	}
	if err := s.hold(ctx); err != nil && ctx.Err() == nil {
		s.redis.cfg.Logger.Debug("lease to listen to redis", "error", err)
	}
	var err error
	if s.listens() {
		err = s.serveOthers(ctx)
	} else {
		err = s.follow(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.redis.cfg.Logger.Warn("wants of nodes are not shared; trying again", "error", err)
	}
}

// hold keeps the lease, or asks for it.
func (s *share) hold(ctx context.Context) error {
	reg, ttl := s.redis.cfg.Registry, s.redis.cfg.Lease
	began := time.Now()
	if s.listens() {
		if s.isDeaf(began) {
			// Another may hear what this node does not.
			s.setUntil(time.Time{})
			return reg.Release(ctx, s.lease)
		}
		if time.Until(s.until) > ttl*3/5 {
			return nil
		}
		lease, err := reg.Renew(ctx, s.lease, ttl)
		switch {
		case err == nil:
			s.lease = lease
			s.setUntil(began.Add(ttl * 9 / 10))
		case errors.Is(err, engine.ErrLeaseLost):
			s.setUntil(time.Time{})
		}
		return err
	}
	if began.Sub(s.deaf) < ttl {
		return nil
	}
	lease, err := reg.Acquire(ctx, leaseName, s.redis.node, ttl)
	switch {
	case err == nil:
		s.lease, s.deaf = lease, time.Time{}
		s.dropOthers()
		s.setUntil(began.Add(ttl * 9 / 10))
	case errors.Is(err, engine.ErrLeaseHeld):
		s.setUntil(time.Time{})
		return nil
	}
	return err
}

// isDeaf reports whether this node has not heard Redis for a whole lease.
func (s *share) isDeaf(now time.Time) bool {
	switch {
	case s.redis.hearing.isOn():
		s.deaf = time.Time{}
	case s.deaf.IsZero():
		s.deaf = now
	case now.Sub(s.deaf) > s.redis.cfg.Lease:
		s.deaf = now // and does not ask for the lease for as long again
		return true
	}
	return false
}

// follow tells the one that listens what this node wants.
func (s *share) follow(ctx context.Context) error {
	s.dropOthers()
	reg, now := s.redis.cfg.Registry, time.Now()
	patterns, version := s.redis.wants.mine()
	if version != s.written || now.Sub(s.told) > s.redis.cfg.Lease/2 {
		value := encode(wantsEntry{version, patterns})
		if len(value) > maxWants {
			value = encode(wantsEntry{version, []string{prefix + "/**"}})
		}
		if _, err := reg.Put(ctx, kindWants, s.redis.node, value, engine.AnyVersion, nil); err != nil {
			return err
		}
		s.written, s.told = version, now
	}
	e, err := reg.Get(ctx, kindHeard, s.redis.node)
	if errors.Is(err, engine.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	heard, err := strconv.ParseUint(string(e.Value), 10, 64)
	if err != nil {
		return err
	}
	s.mu.Lock()
	changed := s.inForce != heard
	s.inForce = heard
	s.mu.Unlock()
	if changed {
		s.redis.wants.nudge()
	}
	return nil
}

// serveOthers takes over what other nodes want, and tells them what is in
// force. Nodes that have not been heard of for long are forgotten.
func (s *share) serveOthers(ctx context.Context) error {
	reg, now := s.redis.cfg.Registry, time.Now()
	var all []engine.Entry
	for after := ""; ; {
		page, err := reg.List(ctx, kindWants, after, 0)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		all, after = append(all, page...), page[len(page)-1].Name
	}
	for _, e := range all {
		if e.Name == s.redis.node { // of the time when another listened
			_ = reg.Delete(ctx, kindWants, e.Name, e.Version, nil)
			s.written = 0
			continue
		}
		f := s.others[e.Name]
		if f == nil {
			f = &follower{}
			s.others[e.Name] = f
		}
		if f.entry != e.Version {
			f.entry, f.since = e.Version, now
			var want wantsEntry
			if err := json.Unmarshal(e.Value, &want); err != nil {
				continue
			}
			s.redis.wants.others(f.patterns, want.Patterns)
			f.patterns, f.version = want.Patterns, want.Version
		}
		if now.Sub(f.since) > 2*s.redis.cfg.Lease {
			_ = reg.Delete(ctx, kindWants, e.Name, e.Version, nil)
			_ = reg.Delete(ctx, kindHeard, e.Name, engine.AnyVersion, nil)
			continue
		}
		if f.heard != f.version && s.redis.hearing.has(namesOf(f.patterns)...) {
			if _, err := reg.Put(ctx, kindHeard, e.Name, strconv.AppendUint(nil, f.version, 10), engine.AnyVersion, nil); err != nil {
				return err
			}
			f.heard = f.version
		}
	}
	for node, f := range s.others {
		if !slices.ContainsFunc(all, func(e engine.Entry) bool { return e.Name == node }) {
			s.redis.wants.others(f.patterns, nil)
			delete(s.others, node)
		}
	}
	return nil
}

// dropOthers forgets what other nodes want.
func (s *share) dropOthers() {
	for node, f := range s.others {
		s.redis.wants.others(f.patterns, nil)
		delete(s.others, node)
	}
}

// leave gives up what this node has in the registry.
func (s *share) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if s.listens() {
		s.setUntil(time.Time{})
		_ = s.redis.cfg.Registry.Release(ctx, s.lease)
	}
	for _, kind := range []string{kindWants, kindHeard} {
		_ = s.redis.cfg.Registry.Delete(ctx, kind, s.redis.node, engine.AnyVersion, nil)
	}
}
