// Package hub is where messages meet subscriptions. It opens domains, takes
// publishes into their logs, keeps the shared tail of each (recent messages
// in memory, each wire encoding made at most once), and moves subscriptions
// along the log: out of the tail while they keep up, out of the store while
// they don't.
//
// The invariant: the log is the queue. No subscription has one of its own; it
// is a filter and a cursor, and what it gets is everything that matches, in
// order, after its cursor, or a gap. Nothing that a subscriber does or leaves
// undone can hold up a publisher or another subscriber.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/topic"
)

// Errors that callers decide on, beside those of the engine.
var (
	// ErrNoDomain: the domain does not exist.
	ErrNoDomain = errors.New("no such domain")
	// ErrKeyInFlight: a publish with the same idempotency key is under way.
	ErrKeyInFlight = errors.New("a publish with this idempotency key is under way")
	// ErrClosed: the hub, the domain or the subscription was closed.
	ErrClosed = errors.New("closed")
)

// Main is the domain that exists from the start.
const Main = "main"

// Config is what a Hub needs. Engine is required.
type Config struct {
	Engine   engine.Engine
	Defaults Settings         // of domains that don't say otherwise; zero fields: DefaultSettings
	Logger   *slog.Logger     // nil: none
	Now      func() time.Time // nil: time.Now
	Metrics  *Metrics         // nil: counted nowhere

	// TailBytes bounds the recent messages in memory, all domains together:
	// data, topics, encodings and what holds them. 0: 64 MiB.
	TailBytes int64
	// Probe is how long an engine's bus may be silent before the log is
	// asked for its head. 0: 5 s.
	Probe time.Duration
}

// Hub has the domains. All methods may be called concurrently.
type Hub struct {
	engine  engine.Engine
	log     *slog.Logger
	now     func() time.Time
	metrics *Metrics
	tail    int64
	probe   time.Duration
	slots   encodingSlots
	pieces  pieces

	defaults Settings

	// changing is held from when settings are read or written in the registry
	// until the open domains agree with them, so that no reload brings back
	// what it read before a change.
	changing sync.Mutex

	mu      sync.RWMutex // guards the fields below
	domains map[string]*Domain
	closed  bool

	reload chan struct{} // capacity 1: the registry's domains changed
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// New opens the hub and every domain that the registry knows, making "main"
// if it is not there yet. The hub does not own the engine: close it after.
func New(ctx context.Context, cfg Config) (*Hub, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.TailBytes == 0 {
		cfg.TailBytes = 64 << 20
	}
	if cfg.Probe == 0 {
		cfg.Probe = 5 * time.Second
	}
	h := &Hub{
		engine: cfg.Engine, log: cfg.Logger, now: cfg.Now, metrics: cfg.Metrics,
		tail: cfg.TailBytes, probe: cfg.Probe,
		defaults: cfg.Defaults.over(DefaultSettings()),
		domains:  map[string]*Domain{},
		reload:   make(chan struct{}, 1),
	}
	if err := h.defaults.Validate(); err != nil {
		return nil, err
	}
	if err := h.ensureMain(ctx); err != nil {
		return nil, err
	}
	stopWatch := h.engine.Registry().Watch(kindDomain, func() { // before it is read
		select {
		case h.reload <- struct{}{}:
		default:
		}
	})
	if err := h.load(ctx); err != nil {
		stopWatch()
		h.closeDomains()
		return nil, err
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	h.wg.Go(func() {
		defer stopWatch()
		h.maintain(life)
	})
	return h, nil
}

// Close ends every subscription with [ErrClosed] and waits for all that the
// hub started.
func (h *Hub) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	h.mu.Unlock()
	h.stop()
	h.wg.Wait()
	h.closeDomains()
	return nil
}

func (h *Hub) closeDomains() {
	h.mu.Lock()
	open := h.domains
	h.domains = map[string]*Domain{}
	h.mu.Unlock()
	for _, d := range open {
		d.close()
	}
}

// Domain returns an open domain, or [ErrNoDomain]. The name is looked up,
// not checked.
func (h *Hub) Domain(name string) (*Domain, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if d := h.domains[name]; d != nil {
		return d, nil
	}
	if h.closed {
		return nil, ErrClosed
	}
	return nil, fmt.Errorf("%w: %q", ErrNoDomain, name)
}

// Domains returns the open domains, by name.
func (h *Hub) Domains() []*Domain {
	h.mu.RLock()
	defer h.mu.RUnlock()
	all := make([]*Domain, 0, len(h.domains))
	for _, d := range h.domains {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Domain) int { return strings.Compare(a.name, b.name) })
	return all
}

// Ping asks the engine whether it would take a publish now.
func (h *Hub) Ping(ctx context.Context) error { return h.engine.Ping(ctx) }

// openDomain opens a domain's log with its settings and puts it in the table.
func (h *Hub) openDomain(ctx context.Context, name string, own Settings) (*Domain, error) {
	if err := topic.CheckDomain(name); err != nil {
		return nil, err
	}
	d, err := newDomain(ctx, h, name, own)
	if err != nil {
		return nil, fmt.Errorf("open domain %q: %w", name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.mu.Unlock()
		d.close()
		h.mu.Lock()
		return nil, ErrClosed
	}
	if there := h.domains[name]; there != nil {
		h.mu.Unlock()
		d.close()
		h.mu.Lock()
		return there, nil
	}
	h.domains[name] = d
	h.shareTail()
	return d, nil
}

// shareTail gives every domain the same part of the memory for tails. The
// caller holds h.mu.
func (h *Hub) shareTail() {
	if len(h.domains) == 0 {
		return
	}
	share := max(h.tail/int64(len(h.domains)), 64<<10)
	for _, d := range h.domains {
		d.tailLimit.Store(share)
	}
}

// maintain enforces retention every second and takes over what other nodes
// or commands changed in the registry.
func (h *Hub) maintain(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	owed := false // a reload failed, and nobody will ask for it again
	reload := func() {
		err := h.load(ctx)
		if err != nil && ctx.Err() == nil && !owed {
			h.log.Warn("domains not reloaded, it is tried again", "error", err)
		}
		owed = err != nil
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.reload:
			reload()
		case <-second.C:
			if owed {
				reload()
			}
			now := h.now()
			h.pieces.drop(func(p *Piece) bool { return now.Sub(p.used) > keptFor })
			for _, d := range h.Domains() {
				if err := d.trim(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, engine.ErrClosed) {
					h.log.Warn("retention not enforced", "domain", d.name, "error", err)
				}
			}
		}
	}
}
