package wspubsub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"crier/internal/engine"
)

// kind of the entries of topics that were started; their names are
// <domain>/<topic>.
const kind = "wspubsub-topic"

// entry is what the registry has of a topic that was started.
type entry struct {
	Life  string `json:"life"`  // drawn when it was started: a topic that ended and is started again is another
	Node  string `json:"node"`  // which has its owner, or had it last
	Owned bool   `json:"owned"` // it has one
}

func newLife() string { return rand.Text()[:12] }

func (e entry) encode() []byte {
	b, _ := json.Marshal(e) // strings and a bool
	return b
}

func decodeEntry(e engine.Entry) (entry, error) {
	var decoded entry
	if err := json.Unmarshal(e.Value, &decoded); err != nil {
		return decoded, fmt.Errorf("topic %q of wspubsub: %w: %w", e.Name, engine.ErrCorrupt, err)
	}
	return decoded, nil
}

// state is a topic as this node knows it. Topics.mu guards the fields below
// turn; who has the turn decides what becomes of the topic.
type state struct {
	name string
	turn chan struct{} // holds one element; who has it has the turn

	entry     entry
	version   engine.Version // of the entry; 0: the topic is not started
	owner     *Ownership     // here; nil: none here
	listeners map[Ender]struct{}
	timer     *time.Timer // of the grace; nil: none runs
	round     int         // of the timer; one that fired too late is of another
	turns     int         // that have it or wait for it
}

func (s *state) started() bool { return s.version != 0 }

func (s *state) stopTimer() {
	s.round++
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
}

// get finds a topic or makes an empty one. The caller holds t.mu.
func (t *Topics) get(name string) *state {
	s := t.all[name]
	if s == nil {
		s = &state{name: name, turn: make(chan struct{}, 1), listeners: map[Ender]struct{}{}}
		s.turn <- struct{}{}
		t.all[name] = s
	}
	return s
}

// sweep forgets a topic of which there is nothing to be known here: one that
// was not started, or another node's without subscribers here. The caller holds
// t.mu.
func (t *Topics) sweep(s *state) {
	ours := s.started() && s.entry.Node == t.cfg.Node
	if !ours && s.turns == 0 && len(s.listeners) == 0 && t.all[s.name] == s {
		s.stopTimer()
		delete(t.all, s.name)
	}
}

// turn calls fn when it is its turn with a topic.
func (t *Topics) turn(ctx context.Context, name string, fn func(s *state) error) error {
	t.mu.Lock()
	s := t.get(name)
	s.turns++ // so that it stays in the table
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		s.turns--
		t.sweep(s)
		t.mu.Unlock()
	}()
	select {
	case <-s.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { s.turn <- struct{}{} }()
	return fn(s)
}

// refresh reads a topic's entry. The caller has its turn.
func (t *Topics) refresh(ctx context.Context, s *state) error {
	got, err := t.cfg.Registry.Get(ctx, kind, s.name)
	if errors.Is(err, engine.ErrNotFound) {
		t.end(s)
		return nil
	}
	if err != nil {
		return fmt.Errorf("topic of wspubsub: %w", err)
	}
	e, err := decodeEntry(got)
	if err != nil {
		return err
	}
	t.mu.Lock()
	changed, another := got.Version != s.version, s.started() && e.Life != s.entry.Life
	t.mu.Unlock()
	if !changed {
		return nil
	}
	if another {
		t.end(s)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.drop(e, t)
	switch {
	case e.Node != t.cfg.Node:
		t.foreign = true
		s.stopTimer()
		s.entry, s.version = e, got.Version
	case s.owner == nil:
		// It is ours, and we did not know: a call that seemed to fail did not.
		t.grace(s, e, got.Version)
	default:
		s.entry, s.version = e, got.Version
	}
	return nil
}

// drop closes an owner here that the registry does not know of. The caller
// holds t.mu.
func (s *state) drop(e entry, t *Topics) {
	if s.owner != nil && (e.Node != t.cfg.Node || !e.Owned) {
		s.owner.who.End(lost())
		s.owner.lost = true
		s.owner = nil
		t.event("lost")
	}
}

// end closes the subscribers of a topic that is none any more, and its owner if
// there is one. The caller has its turn.
func (t *Topics) end(s *state) {
	t.mu.Lock()
	was := s.started()
	s.drop(entry{}, t)
	listeners := s.listeners
	s.listeners = map[Ender]struct{}{}
	s.stopTimer()
	s.entry, s.version = entry{}, 0
	t.mu.Unlock()
	if was {
		t.event("ended")
	}
	for who := range listeners {
		who.End(ended())
	}
}

// Ownership is a connection's hold on a topic.
type Ownership struct {
	topics *Topics
	name   string
	who    Ender
	left   chan struct{} // closed when the connection has gone
	// The fields below are guarded by Topics.mu.
	token uint64 // of the lease under which it was last seen to hold
	lost  bool
}

// Hold makes sure, before something is published, that the topic is still
// owned; it may wait for the registry. Returns [ErrLost], or an error of the
// engine.
func (o *Ownership) Hold(ctx context.Context) error {
	t := o.topics
	lease, err := t.node.fence(ctx)
	if err != nil {
		return err
	}
	t.mu.Lock()
	lost, seen := o.lost, o.token == lease.Token
	t.mu.Unlock()
	switch {
	case lost:
		return ErrLost
	case seen:
		return nil
	}
	// The lease was lost meanwhile: others may have taken the topic.
	return t.turn(ctx, o.name, func(s *state) error {
		if err := t.refresh(ctx, s); err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if o.lost || s.owner != o {
			return ErrLost
		}
		o.token = lease.Token
		return nil
	})
}

// Leave ends the ownership, once: the topic's grace begins.
func (o *Ownership) Leave() { o.topics.leave(o) }
