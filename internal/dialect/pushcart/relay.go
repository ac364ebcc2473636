package pushcart

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/dialect/redislink"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
)

// Channel is where Redis gets every message.
const Channel = "pushcart:messages"

// Times of the relay.
const (
	sendTimeout = 5 * time.Second
	afterFault  = 2 * time.Second
	callTimeout = 5 * time.Second // of the registry
	saveEvery   = time.Second     // what was published within it is published again after a crash
)

// What is on its way to Redis at a time.
const (
	sendMessages = 256
	sendBytes    = 256 << 10
)

// Entries of the registry.
const (
	kindRelay  = "pushcart" // "published": the id of the last message that Redis has
	cursorName = "published"
	leaseName  = "pushcart/redis" // who publishes to Redis
)

// RelayConfig is what a Relay needs. URL, Domain, Messages and Registry are
// required.
type RelayConfig struct {
	URL      string
	Domain   *hub.Domain
	Messages *hub.Encoding   // what [Messages] gave
	Registry engine.Registry // has the place that was reached, and by which nodes agree on who publishes
	Metrics  *RelayMetrics   // nil: counted nowhere
	Logger   *slog.Logger    // nil: none
	Lease    time.Duration   // how long the one that publishes may be silent before another does; 0: 10 s
}

// Relay publishes every message on [Channel], in the order of the log, each at
// least once. It is a subscription like any other, whose cursor is in the
// registry: when Redis was away, or the server, it goes on from where it was.
// Of several nodes the holder of a lease does it. Nobody who posts waits for
// it. All methods may be called concurrently.
type Relay struct {
	cfg  RelayConfig
	link *redislink.Link
	node string

	stop    context.CancelFunc
	running sync.WaitGroup
}

// OpenRelay begins to connect and to publish; a Redis that is away is tried
// again and again. What is acknowledged after the first OpenRelay of a log
// returned will be published. The caller must Close it before the hub.
func OpenRelay(ctx context.Context, cfg RelayConfig) (*Relay, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewRelayMetrics(nil)
	}
	if cfg.Lease == 0 {
		cfg.Lease = 10 * time.Second
	}
	link, err := redislink.New(cfg.URL)
	if err != nil {
		return nil, err
	}
	head, err := cfg.Domain.Head(ctx)
	if err != nil {
		return nil, fmt.Errorf("relay to Redis: %w", err)
	}
	_, err = cfg.Registry.Put(ctx, kindRelay, cursorName, []byte(head.String()), 0, nil)
	if err != nil && !errors.Is(err, engine.ErrConflict) { // it has begun long ago
		return nil, fmt.Errorf("relay to Redis: %w", err)
	}
	r := &Relay{cfg: cfg, link: link, node: rand.Text()}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.running.Go(func() { r.run(life) })
	return r, nil
}

// Close ends it. What was not published yet is, at the next start.
func (r *Relay) Close() {
	r.stop()
	r.running.Wait()
	r.link.Close()
}

// Connected reports whether Redis was ever reached.
func (r *Relay) Connected() bool { return r.link.Client() != nil }

// Check asks Redis for a sign of life.
func (r *Relay) Check(ctx context.Context) error { return r.link.Check(ctx) }

// run connects, and from then on publishes whenever the lease is this node's.
func (r *Relay) run(ctx context.Context) {
	r.link.Connect(ctx, r.cfg.Logger.With("dialect", "pushcart"))
	for ctx.Err() == nil {
		if l, ok := r.acquire(ctx); ok {
			r.hold(ctx, l)
			continue
		}
		redislink.Pause(ctx, r.cfg.Lease/3)
	}
}

func (r *Relay) acquire(ctx context.Context) (engine.Lease, bool) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	l, err := r.cfg.Registry.Acquire(ctx, leaseName, r.node, r.cfg.Lease)
	if err != nil && !errors.Is(err, engine.ErrLeaseHeld) && ctx.Err() == nil {
		r.cfg.Logger.Debug("pushcart: lease to publish to redis", "error", err)
	}
	return l, err == nil
}

// hold publishes while the lease lasts.
func (r *Relay) hold(ctx context.Context, l engine.Lease) {
	held, lost := context.WithCancel(ctx)
	defer lost()
	var keeping sync.WaitGroup
	keeping.Go(func() {
		defer lost()
		r.keep(held, l)
	})
	r.cfg.Metrics.Active.Set(1)
	err := r.publish(held, l)
	r.cfg.Metrics.Active.Set(0)
	lost()
	keeping.Wait()
	if err != nil && ctx.Err() == nil {
		r.cfg.Logger.Warn("pushcart: not published to redis; trying again", "error", err)
		redislink.Pause(ctx, afterFault)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.cfg.Registry.Release(ctx, l) // it ends by itself too
}

// keep renews the lease. It returns when it may be another's soon.
func (r *Relay) keep(ctx context.Context, l engine.Lease) {
	// A lease counts from before it was asked for.
	until := time.Now().Add(r.cfg.Lease * 9 / 10)
	for {
		redislink.Pause(ctx, r.cfg.Lease/3)
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		call, cancel := context.WithDeadline(ctx, until)
		_, err := r.cfg.Registry.Renew(call, l, r.cfg.Lease)
		cancel()
		switch {
		case err == nil:
			until = began.Add(r.cfg.Lease * 9 / 10)
		case errors.Is(err, engine.ErrLeaseLost), !time.Now().Before(until):
			return
		}
	}
}

// cursor reads where it goes on.
func (r *Relay) cursor(ctx context.Context) (message.ID, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	e, err := r.cfg.Registry.Get(ctx, kindRelay, cursorName)
	if err != nil {
		return message.ID{}, fmt.Errorf("read the place that was reached: %w", err)
	}
	id, err := message.ParseID(string(e.Value))
	if err != nil {
		return id, fmt.Errorf("read the place that was reached: %w", err)
	}
	return id, nil
}

// save writes the place that was reached; only the holder of the lease can.
func (r *Relay) save(ctx context.Context, at message.ID, l engine.Lease) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	_, err := r.cfg.Registry.Put(ctx, kindRelay, cursorName, []byte(at.String()), engine.AnyVersion, &l)
	if err != nil {
		return fmt.Errorf("save the place that was reached: %w", err)
	}
	return nil
}

// publish follows the log until ctx ends.
func (r *Relay) publish(ctx context.Context, l engine.Lease) (err error) {
	at, err := r.cursor(ctx)
	if err != nil {
		return err
	}
	signal := hub.NewSignal()
	sub, err := r.cfg.Domain.Subscribe(ctx, hub.Options{Filter: allTopics(), Start: message.After(at), Waker: signal})
	if err != nil {
		return err
	}
	defer sub.Close()
	saved, when := at, time.Now()
	defer func() {
		if saved != at {
			err = errors.Join(err, r.save(ctx, at, l))
		}
	}()
	saving := time.NewTicker(saveEvery)
	defer saving.Stop()
	var b hub.Batch
	for {
		if err := sub.Poll(ctx, &b, sendMessages, sendBytes); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if b.Gap != nil {
			r.cfg.Metrics.Gaps.Inc()
			r.cfg.Logger.Warn("pushcart: history no longer holds what redis was yet to get", "after", b.Gap.After, "resumed", b.Gap.Resumed.String(), "reason", string(b.Gap.Reason))
		}
		if len(b.Entries) > 0 {
			if !r.send(ctx, b.Entries, &at) {
				return nil
			}
			at = b.Position
		}
		if b.Empty() {
			select {
			case <-signal:
			case <-saving.C:
			case <-ctx.Done():
				return nil
			}
		}
		if saved != at && time.Since(when) >= saveEvery {
			if err := r.save(ctx, at, l); err != nil {
				return err
			}
			saved, when = at, time.Now()
		}
	}
}

// send publishes messages, again and again until Redis has confirmed them all;
// at moves along. false: ctx ended before that.
func (r *Relay) send(ctx context.Context, entries []*hub.Entry, at *message.ID) bool {
	c := r.link.Client()
	var wait redislink.Backoff
	for len(entries) > 0 {
		cmds := make(rueidis.Commands, len(entries))
		for i, e := range entries {
			cmds[i] = c.B().Publish().Channel(Channel).Message(rueidis.BinaryString(e.Frame(r.cfg.Messages))).Build()
		}
		try, cancel := context.WithTimeout(ctx, sendTimeout)
		answers := c.DoMulti(try, cmds...)
		cancel()
		n := 0
		var err error
		for ; n < len(answers); n++ {
			if err = answers[n].Error(); err != nil {
				break
			}
		}
		r.cfg.Metrics.Published.Add(float64(n))
		if n > 0 {
			*at = entries[n-1].ID
			entries = entries[n:]
			wait.Reset()
		}
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return false
		}
		r.cfg.Metrics.Failed.Inc()
		if wait.First() {
			r.cfg.Logger.Warn("pushcart: not published to redis; trying again", "error", err)
		}
		if wait.Pause(ctx); ctx.Err() != nil {
			return false
		}
	}
	return true
}
