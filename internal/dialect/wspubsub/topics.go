package wspubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/engine"
	"crier/internal/transport/websocket"
)

// Errors that callers decide on.
var (
	// ErrOwned: the topic has an owner.
	ErrOwned = errors.New("the topic has an owner already")
	// ErrNotStarted: the topic was not started, or has ended.
	ErrNotStarted = errors.New("the topic was not started")
	// ErrLost: another node has taken the topic over.
	ErrLost = errors.New("the topic is owned by another now")
)

// Ender is a connection, as far as topics know it.
type Ender interface{ End(cause error) }

// ended closes the subscribers of a topic that ends (RFC 6455, section 7.4.1:
// going away).
func ended() error {
	return &websocket.Close{Code: 1001, Reason: "topic ended", Label: "topic"}
}

// lost closes an owner that is none any more: try again later.
func lost() error {
	return &websocket.Close{Code: 1013, Reason: "the topic was taken over", Label: "topic"}
}

// TopicsConfig is what Topics need; Registry is required.
type TopicsConfig struct {
	Registry engine.Registry
	// Node names this process among those that share the registry. It is the
	// same after a restart if nobody else can have the registry meanwhile.
	Node    string
	Grace   time.Duration // for which a topic lives on without an owner
	Metrics *TopicMetrics // nil: counted nowhere
	Logger  *slog.Logger  // nil: none
}

// TopicMetrics is what Topics count.
type TopicMetrics struct {
	Owned  prometheus.Gauge       // topics with their owner here
	Events *prometheus.CounterVec // by event
}

// NewTopicMetrics makes the metrics and registers them (nil: nowhere).
func NewTopicMetrics(reg prometheus.Registerer) *TopicMetrics {
	m := &TopicMetrics{
		Owned: prometheus.NewGauge(prometheus.GaugeOpts{Name: "crier_wspubsub_topics_owned", Help: "Topics of wspubsub whose owner is connected to this node."}),
		Events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_wspubsub_topic_events_total", Help: "What became of topics of wspubsub: started, taken_over, refused (they had an owner), lost (to another node) and ended.",
		}, []string{"event"}),
	}
	if reg != nil {
		reg.MustRegister(m.Owned, m.Events)
	}
	return m
}

// Topics knows which topics were started, and who owns them.
//
// A topic that was started is an entry of the registry: who started it, which
// node has its owner, or had it last, and whether it has one. All that changes
// a topic is one write that expects the version it was decided on, so of a
// takeover and the end of the grace, or of two publishers, one is first and the
// other learns of it. The node that is named in an entry is the one to end it,
// and holds a lease to show that it lives: the entries of a node that does not
// are adopted by another.
type Topics struct {
	cfg     TopicsConfig
	node    node
	life    context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex // guards the fields below, and those of topics
	all     map[string]*state
	foreign bool // there are topics of other nodes
	frozen  bool // what happens to connections changes no topic any more
}

// OpenTopics reads the topics that were started. Those of this node get the
// full grace anew, owned or not.
func OpenTopics(ctx context.Context, cfg TopicsConfig) (*Topics, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewTopicMetrics(nil)
	}
	t := &Topics{cfg: cfg, all: map[string]*state{}}
	t.node = node{registry: cfg.Registry, name: cfg.Node, rung: make(chan struct{}, 1)}
	t.life, t.stop = context.WithCancel(context.WithoutCancel(ctx))
	own := 0
	err := t.each(ctx, func(name string, e entry, v engine.Version) {
		if e.Node == cfg.Node {
			t.mu.Lock()
			t.grace(t.get(name), e, v)
			t.mu.Unlock()
			own++
		}
	})
	if err == nil && own > 0 {
		_, err = t.node.fence(ctx)
	}
	if err != nil {
		t.Freeze()
		t.stop()
		t.running.Wait()
		return nil, fmt.Errorf("read the topics of wspubsub: %w", err)
	}
	unwatch := cfg.Registry.Watch(kind, t.node.ring)
	t.running.Go(func() {
		defer unwatch()
		t.keep(t.life)
	})
	return t, nil
}

// Freeze is for a server that stops: connections that go from now on change
// nothing. What is owned stays so in the registry, and gets its grace after the
// restart.
func (t *Topics) Freeze() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frozen = true
	for _, s := range t.all {
		s.stopTimer()
	}
}

// Close stops, and gives the node's lease back.
func (t *Topics) Close(ctx context.Context) {
	t.Freeze()
	t.stop()
	t.running.Wait()
	t.node.release(ctx)
}

// Join adds a subscriber, which is ended with the topic. leave takes it away.
// Returns [ErrNotStarted], or an error of the engine.
func (t *Topics) Join(ctx context.Context, name string, who Ender) (leave func(), err error) {
	t.mu.Lock()
	if s := t.all[name]; s != nil && s.started() {
		leave = t.add(s, who)
	}
	t.mu.Unlock()
	if leave != nil {
		return leave, nil
	}
	err = t.turn(ctx, name, func(s *state) error {
		if err := t.refresh(ctx, s); err != nil {
			return err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		if !s.started() {
			return ErrNotStarted
		}
		leave = t.add(s, who)
		return nil
	})
	return leave, err
}

// add enters a subscriber. The caller holds t.mu.
func (t *Topics) add(s *state, who Ender) (leave func()) {
	s.listeners[who] = struct{}{}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(s.listeners, who)
		t.sweep(s)
	}
}

const (
	// maxTries bounds how often a change is tried that others were faster than.
	maxTries = 10
	// settle is how long a publisher waits for an owner here to go: one that
	// closes its connection and comes back at once must not find itself.
	settle = 250 * time.Millisecond
)

// Own makes a connection the owner of a topic: it starts it, or takes it over
// within its grace. Returns [ErrOwned], or an error of the engine.
func (t *Topics) Own(ctx context.Context, name string, who Ender) (*Ownership, error) {
	o := &Ownership{topics: t, name: name, who: who, left: make(chan struct{})}
	err := t.tryOwn(ctx, o)
	if rival := t.ownerOf(name); errors.Is(err, ErrOwned) && rival != nil {
		timer := time.NewTimer(settle)
		defer timer.Stop()
		select {
		case <-rival.left:
			err = t.tryOwn(ctx, o)
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	switch {
	case errors.Is(err, ErrOwned):
		t.event("refused")
	case err == nil:
		t.cfg.Metrics.Owned.Inc()
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// ownerOf gives a topic's owner here, or nil.
func (t *Topics) ownerOf(name string) *Ownership {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.all[name]; s != nil {
		return s.owner
	}
	return nil
}

func (t *Topics) tryOwn(ctx context.Context, o *Ownership) error {
	return t.turn(ctx, o.name, func(s *state) error {
		for range maxTries {
			err := t.own(ctx, s, o)
			if !errors.Is(err, engine.ErrConflict) {
				return err
			}
		}
		return fmt.Errorf("own topic: %w: others are faster", engine.ErrUnavailable)
	})
}

func (t *Topics) event(name string) { t.cfg.Metrics.Events.WithLabelValues(name).Inc() }

// own tries once. The caller has the topic's turn.
func (t *Topics) own(ctx context.Context, s *state, o *Ownership) error {
	if err := t.refresh(ctx, s); err != nil {
		return err
	}
	t.mu.Lock()
	e, version, owner := s.entry, s.version, s.owner
	t.mu.Unlock()
	what := "taken_over"
	switch {
	case owner != nil, version != 0 && e.Owned && e.Node != t.cfg.Node:
		return ErrOwned
	case version == 0:
		e, what = entry{Life: newLife()}, "started"
	}
	e.Node, e.Owned = t.cfg.Node, true
	version, fence, err := t.put(ctx, s.name, e, version)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.stopTimer()
	s.entry, s.version, s.owner, o.token = e, version, o, fence.Token
	t.event(what)
	return nil
}

// put writes an entry while this node's lease is held.
func (t *Topics) put(ctx context.Context, name string, e entry, expect engine.Version) (engine.Version, engine.Lease, error) {
	for tries := 0; ; tries++ {
		fence, err := t.node.fence(ctx)
		if err != nil {
			return 0, fence, err
		}
		v, err := t.cfg.Registry.Put(ctx, kind, name, e.encode(), expect, &fence)
		if tries == 0 && errors.Is(err, engine.ErrLeaseLost) {
			t.node.lapse(fence) // it is taken anew
			continue
		}
		return v, fence, err
	}
}

// leave begins the grace of a topic whose owner is gone.
func (t *Topics) leave(o *Ownership) {
	defer close(o.left)
	t.cfg.Metrics.Owned.Dec()
	err := t.turn(t.life, o.name, func(s *state) error {
		t.mu.Lock()
		if s.owner != o || t.frozen {
			t.mu.Unlock()
			return nil
		}
		e, version := s.entry, s.version
		e.Owned = false
		t.grace(s, e, version)
		t.mu.Unlock()
		ctx, cancel := context.WithTimeout(t.life, callTimeout)
		defer cancel()
		version, _, err := t.put(ctx, s.name, e, version)
		t.mu.Lock()
		defer t.mu.Unlock()
		if err == nil {
			s.version = version
		}
		return err
	})
	if err != nil && t.life.Err() == nil {
		// This node ends the topic in time all the same.
		t.cfg.Logger.Warn("wspubsub: the registry was not told that a topic has no owner", "error", err)
	}
}

// callTimeout bounds one call of the registry.
const callTimeout = 5 * time.Second

// grace has a topic end unless somebody takes it over. The caller holds t.mu.
func (t *Topics) grace(s *state, e entry, v engine.Version) {
	s.entry, s.version, s.owner = e, v, nil
	t.expireIn(s, t.cfg.Grace)
}

// expireIn has expire called later, unless the timer is stopped before. The
// caller holds t.mu.
func (t *Topics) expireIn(s *state, d time.Duration) {
	s.stopTimer()
	if !t.frozen {
		round := s.round
		s.timer = time.AfterFunc(d, func() { t.expire(s, round) })
	}
}

// expire ends a topic whose grace is over. It runs on a goroutine of its own.
func (t *Topics) expire(s *state, round int) {
	t.mu.Lock()
	if t.frozen {
		t.mu.Unlock()
		return
	}
	t.running.Add(1)
	t.mu.Unlock()
	defer t.running.Done()
	err := t.turn(t.life, s.name, func(now *state) error {
		t.mu.Lock()
		version, stale := s.version, now != s || s.round != round
		t.mu.Unlock()
		if stale { // somebody was faster
			return nil
		}
		err := t.remove(s.name, version)
		switch {
		case err == nil, errors.Is(err, engine.ErrNotFound):
			t.end(s)
			return nil
		case errors.Is(err, engine.ErrConflict):
			if err = t.refresh(t.life, s); err == nil {
				return nil
			}
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.expireIn(s, again)
		return err
	})
	if err != nil && t.life.Err() == nil {
		t.cfg.Logger.Warn("wspubsub: a topic could not be ended; trying again", "error", err)
	}
}

// remove deletes an entry while this node's lease is held.
func (t *Topics) remove(name string, expect engine.Version) error {
	ctx, cancel := context.WithTimeout(t.life, callTimeout)
	defer cancel()
	fence, err := t.node.fence(ctx)
	if err != nil {
		return err
	}
	err = t.cfg.Registry.Delete(ctx, kind, name, expect, &fence)
	if errors.Is(err, engine.ErrLeaseLost) {
		t.node.lapse(fence)
	}
	return err
}

// again is when what failed is tried once more.
const again = time.Second
