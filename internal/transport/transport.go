// Package transport has what all transports share: the table of open
// connections, why each of them ends, and what the public API has worked out
// of a request before a transport serves it. The packages below it put frames
// on a connection; they know nothing of topics beyond a subscription that
// they pull from, and nothing of each other.
//
// A transport's goroutine owns its connection and its subscription: it polls,
// writes, and otherwise waits for one of four things: a wake, its heartbeat,
// the end of the connection's context (whose cause says which goodbye to
// send), or the peer.
package transport

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
)

// Why a connection ends: the causes of a [Conn]'s context. All others mean
// that the peer is gone.
var (
	ErrKicked      = errors.New("closed by the operator")
	ErrDraining    = errors.New("server restarts")
	ErrCredential  = errors.New("credential ended") // the identity's cause is wrapped beside it
	ErrTooMany     = errors.New("too many connections")
	ErrDomainEnded = errors.New("domain deleted")
)

// Listen is a request to listen, checked and granted.
type Listen struct {
	Domain     *hub.Domain
	Filter     topic.Filter
	Start      message.Start
	Unreadable string // a Last-Event-ID that could not be read: see hub.Options
	Envelope   bool   // ?envelope=json
	Conn       *Conn  // opened by the caller, who closes it when the transport returns
}

// Info says whose connection it is.
type Info struct {
	Transport string // "sse", "websocket", "ndjson", "page"
	Remote    netip.Addr
	Domain    string
	// Name of the identity, for people; never a secret.
	Name string
	// Mask is how the operator is shown a pattern that holds what is secret;
	// nil: as it is.
	Mask func(pattern string) string
	// Identity tells when the credential ends, with the cause; nil: never.
	Identity Ender
}

// Ender is what a connection needs of the identity that opened it. OnEnd has
// fn called once when it ends, from any goroutine; fn does not block.
type Ender interface {
	OnEnd(fn func(cause error)) (stop func())
}

// Conn is an open connection. Its context ends with one of the causes above
// when the server wants it to end, or with the request's. All methods may be
// called concurrently.
type Conn struct {
	Info
	ID     string
	Opened time.Time

	Messages atomic.Uint64 // written to the peer
	Bytes    atomic.Uint64
	Received atomic.Uint64 // messages that the peer published

	table  *Table
	ctx    context.Context
	cancel context.CancelCauseFunc
	unhook func()
	closed atomic.Bool

	mu   sync.Mutex // guards subs
	subs []named
}

type named struct {
	name string
	sub  *hub.Subscription
}

// Context ends when the connection should; see the causes.
func (c *Conn) Context() context.Context { return c.ctx }

// End ends the connection with a cause.
func (c *Conn) End(cause error) { c.cancel(cause) }

// Track shows a subscription in the listing until Untrack.
func (c *Conn) Track(name string, s *hub.Subscription) {
	c.mu.Lock()
	c.subs = append(c.subs, named{name, s})
	c.mu.Unlock()
}

// Untrack is the reverse of Track.
func (c *Conn) Untrack(s *hub.Subscription) {
	c.mu.Lock()
	c.subs = slices.DeleteFunc(c.subs, func(n named) bool { return n.sub == s })
	c.mu.Unlock()
}

// SubscriptionView is a subscription as the operator sees it.
type SubscriptionView struct {
	Name     string     `json:"name,omitempty"`
	Patterns []string   `json:"patterns"`
	Cursor   message.ID `json:"cursor"`
	Lag      uint64     `json:"lag"`
}

// Subscriptions shows what the connection listens to.
func (c *Conn) Subscriptions() []SubscriptionView {
	c.mu.Lock()
	subs := slices.Clone(c.subs)
	c.mu.Unlock()
	views := make([]SubscriptionView, len(subs))
	for i, n := range subs {
		v := SubscriptionView{Name: n.name}
		for _, p := range n.sub.Filter().Patterns() {
			shown := p.String()
			if c.Mask != nil {
				shown = c.Mask(shown)
			}
			v.Patterns = append(v.Patterns, shown)
		}
		v.Cursor, v.Lag = n.sub.Position()
		views[i] = v
	}
	return views
}

// Close takes the connection out of the table; twice is no harm.
func (c *Conn) Close() {
	if c.closed.Swap(true) {
		return
	}
	if c.unhook != nil {
		c.unhook()
	}
	c.cancel(context.Canceled)
	c.table.remove(c)
}

// Table has the open connections of all transports.
type Table struct {
	now     func() time.Time
	metrics *Metrics
	perAddr int

	mu       sync.Mutex // guards the fields below
	conns    map[string]*Conn
	addrs    map[netip.Addr]int
	draining bool
	emptied  chan struct{} // closed when draining and empty
}

// NewTable makes a table. perAddress bounds the connections of one client
// address; 0 bounds nothing. now nil: time.Now.
func NewTable(perAddress int, now func() time.Time, m *Metrics) *Table {
	if now == nil {
		now = time.Now
	}
	if m == nil {
		m = NewMetrics(nil)
	}
	return &Table{now: now, metrics: m, perAddr: perAddress, conns: map[string]*Conn{}, addrs: map[netip.Addr]int{}, emptied: make(chan struct{})}
}

// Metrics that the transports count in.
func (t *Table) Metrics() *Metrics { return t.metrics }

// Open enters a connection. ctx is the request's: when it ends the connection
// does. Returns [ErrTooMany] or [ErrDraining].
func (t *Table) Open(ctx context.Context, info Info) (*Conn, error) {
	c := &Conn{Info: info, ID: newID(), Opened: t.now(), table: t}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	t.mu.Lock()
	switch {
	case t.draining:
		t.mu.Unlock()
		c.cancel(ErrDraining)
		return nil, ErrDraining
	case t.perAddr > 0 && info.Remote.IsValid() && t.addrs[info.Remote] >= t.perAddr:
		t.mu.Unlock()
		c.cancel(ErrTooMany)
		t.metrics.Refused.WithLabelValues("address").Inc()
		return nil, fmt.Errorf("%w: %d from one address, the limit", ErrTooMany, t.perAddr)
	}
	t.conns[c.ID] = c
	t.addrs[info.Remote]++
	t.mu.Unlock()
	t.metrics.Open.WithLabelValues(info.Transport).Inc()
	if info.Identity != nil {
		c.unhook = info.Identity.OnEnd(func(cause error) {
			c.cancel(fmt.Errorf("%w: %w", ErrCredential, cause))
		})
	}
	return c, nil
}

func (t *Table) remove(c *Conn) {
	t.mu.Lock()
	delete(t.conns, c.ID)
	if t.addrs[c.Remote]--; t.addrs[c.Remote] <= 0 {
		delete(t.addrs, c.Remote)
	}
	if t.draining && len(t.conns) == 0 {
		close(t.emptied)
		t.emptied = make(chan struct{})
	}
	t.mu.Unlock()
	t.metrics.Open.WithLabelValues(c.Transport).Dec()
}

// Get returns an open connection, or nil.
func (t *Table) Get(id string) *Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns[id]
}

// Len counts the open connections.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// List returns up to limit connections for which keep is true (nil: all), in
// the order of their ids, after the given one.
func (t *Table) List(after string, limit int, keep func(*Conn) bool) []*Conn {
	t.mu.Lock()
	page := make([]*Conn, 0, len(t.conns))
	for id, c := range t.conns {
		if id > after {
			page = append(page, c)
		}
	}
	t.mu.Unlock()
	if keep != nil {
		page = slices.DeleteFunc(page, func(c *Conn) bool { return !keep(c) })
	}
	slices.SortFunc(page, func(a, b *Conn) int { return strings.Compare(a.ID, b.ID) })
	return page[:min(limit, len(page))]
}

// Sample returns up to n connections, drawn at random.
func (t *Table) Sample(n int) []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	some := make([]*Conn, 0, min(n, len(t.conns)))
	for _, c := range t.conns { // maps are walked in random order
		if len(some) == n {
			break
		}
		some = append(some, c)
	}
	return some
}

// Drain lets no more connections in and ends those that are open with
// [ErrDraining], spread evenly over the given time, so that not all come back
// at once. It returns when all are gone or ctx ends.
func (t *Table) Drain(ctx context.Context, over time.Duration) error {
	t.mu.Lock()
	t.draining = true
	emptied := t.emptied
	conns := make([]*Conn, 0, len(t.conns))
	for _, c := range t.conns {
		conns = append(conns, c)
	}
	t.mu.Unlock()
	if len(conns) == 0 {
		return nil
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, c := range conns {
		if i%max(1, len(conns)/100) == 0 {
			timer.Reset(over / time.Duration(min(len(conns), 100)))
			select {
			case <-timer.C:
			case <-ctx.Done():
				over = 0
			}
		}
		c.cancel(ErrDraining)
	}
	select {
	case <-emptied:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: %d connections left: %w", t.Len(), context.Cause(ctx))
	}
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// Jitter returns a duration from least to most, at random, so that clients
// that were cut off together don't come back together.
func Jitter(least, most time.Duration) time.Duration {
	return least + mathrand.N(most-least+1)
}
