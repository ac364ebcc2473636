package wspubsub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"crier/internal/engine"
)

// restAfter lies between two looks that were rung for.
const restAfter = 100 * time.Millisecond

// keep gives signs of this node's life, follows what other nodes do with
// topics, and adopts those of nodes that are gone.
func (t *Topics) keep(ctx context.Context) {
	beat := time.NewTicker(leaseTime / 3)
	defer beat.Stop()
	failing := false
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-t.node.rung:
			if t.alone() {
				continue // the change was ours
			}
			err = t.follow(ctx)
		case <-beat.C:
			err = errors.Join(t.node.renew(ctx), t.follow(ctx), t.adopt(ctx))
		}
		if failed := err != nil && ctx.Err() == nil; failed != failing {
			failing = failed
			if failed {
				t.cfg.Logger.Warn("wspubsub: the registry cannot be asked about topics; trying again", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(restAfter):
		}
	}
}

// alone reports whether no topic of another node is known.
func (t *Topics) alone() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.foreign
}

// each calls fn with every topic that was started.
func (t *Topics) each(ctx context.Context, fn func(name string, e entry, v engine.Version)) error {
	const page = 1000
	for after := ""; ; {
		entries, err := t.cfg.Registry.List(ctx, kind, after, page)
		if err != nil {
			return fmt.Errorf("list topics of wspubsub: %w", err)
		}
		for _, got := range entries {
			after = got.Name
			e, err := decodeEntry(got)
			if err != nil {
				return err
			}
			fn(got.Name, e, got.Version)
		}
		if len(entries) < page {
			return nil
		}
	}
}

// follow looks at the topics that other nodes may have changed: theirs that
// have subscribers here, and ours that they took over. And at ours that this
// node does not know of: whoever wrote them was not told that it had.
func (t *Topics) follow(ctx context.Context) error {
	there := map[string]engine.Version{}
	foreign := false
	var ours []string
	if err := t.each(ctx, func(name string, e entry, v engine.Version) {
		there[name] = v
		if e.Node == t.cfg.Node {
			ours = append(ours, name)
		} else {
			foreign = true
		}
	}); err != nil {
		return err
	}
	var stale []string
	t.mu.Lock()
	t.foreign = foreign
	for _, name := range ours {
		if s := t.all[name]; s == nil || !s.started() && s.turns == 0 {
			stale = append(stale, name)
		}
	}
	for name, s := range t.all {
		if s.started() && s.turns == 0 && there[name] != s.version {
			stale = append(stale, name)
		}
	}
	t.mu.Unlock()
	for _, name := range stale {
		if err := t.turn(ctx, name, func(s *state) error { return t.refresh(ctx, s) }); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes the topics of nodes that live no more. They get the full grace.
func (t *Topics) adopt(ctx context.Context) error {
	orphans := map[string][]string{} // by node
	if err := t.each(ctx, func(name string, e entry, _ engine.Version) {
		if e.Node != t.cfg.Node {
			orphans[e.Node] = append(orphans[e.Node], name)
		}
	}); err != nil {
		return err
	}
	for node, names := range orphans {
		theirs, err := t.cfg.Registry.Acquire(ctx, leasePrefix+node, t.cfg.Node, leaseTime)
		if errors.Is(err, engine.ErrLeaseHeld) {
			continue // it lives
		}
		if err != nil {
			return fmt.Errorf("adopt topics: %w", err)
		}
		for _, name := range names {
			if err = t.adoptOne(ctx, node, name); err != nil {
				break
			}
		}
		if rerr := t.cfg.Registry.Release(ctx, theirs); err == nil {
			err = rerr
		}
		if err != nil {
			return fmt.Errorf("adopt topics: %w", err)
		}
		t.cfg.Logger.Info("wspubsub: adopted the topics of a node that is gone", "node", node, "topics", len(names))
	}
	return nil
}

func (t *Topics) adoptOne(ctx context.Context, node, name string) error {
	return t.turn(ctx, name, func(s *state) error {
		if err := t.refresh(ctx, s); err != nil {
			return err
		}
		t.mu.Lock()
		e, version := s.entry, s.version
		t.mu.Unlock()
		if version == 0 || e.Node != node {
			return nil
		}
		e.Node, e.Owned = t.cfg.Node, false
		version, _, err := t.put(ctx, name, e, version)
		if errors.Is(err, engine.ErrConflict) {
			return nil
		}
		if err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.grace(s, e, version)
		return nil
	})
}

// ring has follow run soon.
func (n *node) ring() {
	select {
	case n.rung <- struct{}{}:
	default:
	}
}
