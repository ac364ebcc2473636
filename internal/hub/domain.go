package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// Domain is one ordered log with its subscriptions. All methods may be called
// concurrently.
type Domain struct {
	name string
	hub  *Hub
	log  engine.Log

	settings  atomic.Pointer[Settings] // with defaults filled in
	own       atomic.Pointer[Settings] // as the registry has them
	tailLimit atomic.Int64

	news     newsBox
	stopRing func()
	stop     context.CancelFunc
	wg       sync.WaitGroup
	done     chan struct{} // closed by close
	closing  sync.Once     // deleting the domain and closing the hub may meet

	feeding sync.Mutex        // held by the one that moves the tail along the log; guards the fields below
	woken   []*Subscription   // scratch
	spare   []message.Message // likewise
	burden  atomic.Int64      // how many subscriptions the last news woke

	refreshMu sync.Mutex // one refresh at a time

	mu        sync.RWMutex // guards the fields below
	state     engine.State // Head may be old; the head of delivery is tail.head()
	rollbacks uint64       // how often the log fell back behind the tail's head
	tail      tail
	newest    message.Epoch // of the last message that came into the tail; zero: none did
	index     topic.Index[*Subscription]
	subs      map[*Subscription]struct{}
	interests map[*interest]struct{}

	keysMu sync.Mutex
	keys   map[engine.Key]struct{} // idempotency keys under way
}

func newDomain(ctx context.Context, h *Hub, name string, own Settings) (*Domain, error) {
	full := own.over(h.defaults)
	log, err := h.engine.Log(ctx, name, full.Durability)
	if err != nil {
		return nil, err
	}
	d := &Domain{
		name: name, hub: h, log: log,
		done: make(chan struct{}),
		subs: map[*Subscription]struct{}{},
		keys: map[engine.Key]struct{}{},
	}
	d.own.Store(&own)
	d.settings.Store(&full)
	d.tailLimit.Store(h.tail)
	d.news.wake = make(chan struct{}, 1)
	d.stopRing = log.Listen(d.ring)
	state, err := log.State(ctx)
	if err != nil {
		d.stopRing()
		return nil, err
	}
	d.mu.Lock() // rings come already
	d.state = state
	d.tail.reset(state.Head)
	d.mu.Unlock()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	d.stop = stop
	d.wg.Go(func() { d.feed(life) })
	return d, nil
}

// Name returns the domain's name.
func (d *Domain) Name() string { return d.name }

// Settings returns what holds for the domain now, defaults filled in.
func (d *Domain) Settings() Settings { return *d.settings.Load() }

// OwnSettings returns what was set for this domain itself.
func (d *Domain) OwnSettings() Settings { return *d.own.Load() }

// Log is the domain's log, for those who manage it.
func (d *Domain) Log() engine.Log { return d.log }

// Done is closed when the domain ends: deleted, or the hub closed.
func (d *Domain) Done() <-chan struct{} { return d.done }

func (d *Domain) configure(ctx context.Context, own Settings) error {
	full := own.over(d.hub.defaults)
	if full.Durability != d.log.Durability() {
		if err := d.log.SetDurability(ctx, full.Durability); err != nil {
			return fmt.Errorf("durability of domain %q: %w", d.name, err)
		}
	}
	d.own.Store(&own)
	d.settings.Store(&full)
	return nil
}

func (d *Domain) close() {
	d.stopRing()
	d.stop()
	d.wg.Wait()
	d.closing.Do(func() { close(d.done) })
	d.mu.RLock()
	defer d.mu.RUnlock()
	for s := range d.subs {
		s.waker.Wake()
	}
}

// Publish appends a block, and returns once it is as durable as the domain
// says. Names, sizes and rights are the caller's to check. While a block with
// the same idempotency key is under way: [ErrKeyInFlight].
func (d *Domain) Publish(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	if !b.Key.IsZero() {
		if !d.beginKey(b.Key) {
			return engine.Receipt{}, ErrKeyInFlight
		}
		defer d.endKey(b.Key)
	}
	started := d.hub.now()
	r, err := d.log.Append(ctx, b)
	d.count(b, started, r, err)
	return r, err
}

// StartPublish is Publish for callers that must not wait. It returns false, and
// nothing was done, if the log would make it wait or cannot do otherwise; then
// Publish has to be called on a goroutine that may. done is called once, from any goroutine and perhaps
// before StartPublish returns; it must not block. The slice of drafts is the
// caller's again then.
func (d *Domain) StartPublish(b engine.Block, done func(engine.Receipt, error)) bool {
	log, ok := d.log.(engine.Starter)
	if !ok {
		return false
	}
	keyed := !b.Key.IsZero()
	if keyed && !d.beginKey(b.Key) {
		done(engine.Receipt{}, ErrKeyInFlight)
		return true
	}
	started := d.hub.now()
	began := log.Start(b, func(r engine.Receipt, err error) {
		if keyed {
			d.endKey(b.Key)
		}
		d.count(b, started, r, err)
		done(r, err)
	})
	if keyed && !began {
		d.endKey(b.Key)
	}
	return began
}

// count counts what came of a publish.
func (d *Domain) count(b engine.Block, started time.Time, r engine.Receipt, err error) {
	m := d.hub.metrics
	if err != nil {
		m.PublishFailed.Inc()
		return
	}
	m.PublishSeconds.Observe(d.hub.now().Sub(started).Seconds())
	if r.Repeated {
		m.Repeated.Inc()
		return
	}
	var bytes int
	for i := range b.Drafts {
		bytes += len(b.Drafts[i].Data)
	}
	m.Published.Add(float64(len(b.Drafts)))
	m.PublishedBytes.Add(float64(bytes))
}

func (d *Domain) beginKey(k engine.Key) bool {
	k.Body = [16]byte{} // the same key with another body is under way too
	d.keysMu.Lock()
	defer d.keysMu.Unlock()
	if _, there := d.keys[k]; there {
		return false
	}
	d.keys[k] = struct{}{}
	return true
}

func (d *Domain) endKey(k engine.Key) {
	k.Body = [16]byte{}
	d.keysMu.Lock()
	delete(d.keys, k)
	d.keysMu.Unlock()
}

// Head asks the log for its newest id: the place after everything that was
// acknowledged before.
func (d *Domain) Head(ctx context.Context) (message.ID, error) {
	state, err := d.log.State(ctx)
	if err != nil {
		return message.ID{}, err
	}
	return state.Position(state.Head), nil
}

// Complete returns the cursor after which nothing that matches is gone.
func (d *Domain) Complete(ctx context.Context, f topic.Filter) (message.ID, error) {
	seq, err := d.log.Complete(ctx, f)
	if err != nil {
		return message.ID{}, err
	}
	state, err := d.log.State(ctx)
	if err != nil {
		return message.ID{}, err
	}
	return state.Position(seq), nil
}

// Forget deletes the history of one topic. When it returns no subscription of
// this node gets anything of it any more.
func (d *Domain) Forget(ctx context.Context, topicName string) error {
	if err := d.log.Forget(ctx, topicName); err != nil {
		return err
	}
	_, err := d.refresh(ctx)
	return err
}

// NewEpoch begins a new epoch, as after a restore from backup.
func (d *Domain) NewEpoch(ctx context.Context) (message.Epoch, error) {
	e, err := d.log.BeginEpoch(ctx)
	if err != nil {
		return e, err
	}
	_, err = d.refresh(ctx)
	return e, err
}

// State asks the log.
func (d *Domain) State(ctx context.Context) (engine.State, error) { return d.log.State(ctx) }

// Topics lists topics that have messages.
func (d *Domain) Topics(ctx context.Context, f topic.Filter, after string, limit int) ([]engine.TopicInfo, error) {
	return d.log.Topics(ctx, f, after, limit)
}

// Subscriptions counts them.
func (d *Domain) Subscriptions() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.subs)
}

func (d *Domain) trim(ctx context.Context) error {
	s := d.Settings()
	err := d.log.Trim(ctx, engine.Retention{Before: d.hub.now().Add(-s.RetentionAge), Bytes: s.RetentionBytes})
	if errors.Is(err, engine.ErrClosed) {
		return nil
	}
	return err
}

// position gives the id of a sequence number as a place. The caller holds
// d.mu for reading.
func (d *Domain) position(seq uint64) message.ID { return d.state.Position(seq) }

// resolve finds the sequence number after which a cursor's subscriber reads
// on. A cursor that this node finds good needs no question to the source.
func (d *Domain) resolve(ctx context.Context, cursor message.ID) (engine.Resolution, error) {
	d.mu.RLock()
	view := d.state
	view.Head = d.tail.head()
	d.mu.RUnlock()
	if r := engine.Resolve(view, cursor); r.Reason == "" {
		return r, nil
	}
	state, err := d.log.State(ctx)
	if err != nil {
		return engine.Resolution{}, err
	}
	return engine.Resolve(state, cursor), nil
}
