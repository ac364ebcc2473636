// Package transport has what all transports share: the table of open
// connections, why each of them ends, and what the public API has worked out
// of a request before a transport serves it. The packages below it put frames
// on a connection; they know nothing of topics beyond a subscription that
// they pull from, and nothing of each other.
//
// A connection is served in one of two ways. On the wire it is a handler that
// is given turns, and a [Flow] moves its messages; its [Conn] has an [Owner].
// Else it is a goroutine that polls its subscription, writes, and otherwise
// waits for one of four things: a wake, its heartbeat, the end of the
// connection's context (whose cause says which goodbye to send), or the peer.
package transport

import (
	"context"

	"errors"
	"fmt"

	"net/netip"
	"slices"

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
	Transport string // "sse", "websocket", "ndjson", "page", "engineio"
	Remote    netip.Addr
	Domain    string
	// Name of the identity, for people; never a secret.
	Name string
	// Mask is how the operator is shown a pattern that holds what is secret;
	// nil: as it is. It is comparable.
	Mask Mask
	// Identity tells when the credential ends, with the cause; nil: never. It
	// is comparable: connections of one identity are told together.
	Identity Ender
}

// Mask hides what is secret in a pattern.
type Mask interface{ Mask(pattern string) string }

// Ender is what a connection needs of the identity that opened it. OnEnd has
// fn called once when it ends, from any goroutine; fn does not block.
type Ender interface {
	OnEnd(fn func(cause error)) (stop func())
}

// Conn is an open connection. Its context ends with one of the causes above
// when the server wants it to end, or with the request's. All methods may be
// called concurrently. There may be very many: what several have in common
// they share.
type Conn struct {
	*share
	Remote netip.Addr

	Messages atomic.Uint64 // written to the peer
	Bytes    atomic.Uint64
	Received atomic.Uint64 // messages that the peer published

	id     uint64
	opened int64 // Unix nanoseconds
	closed atomic.Bool

	mu    sync.Mutex // guards the fields below
	owner Owner      // nil: the handler that serves the request
	serve *serving   // nil: there is an owner
	sub   *hub.Subscription
	more  *more // what few connections have; nil: nothing of it
}

// more is what few connections have.
type more struct {
	subs  []named // those that have a name, or come after the first
	after func()  // see OnRelease
}

// extra makes room for more. The caller holds mu.
func (c *Conn) extra() *more {
	if c.more == nil {
		c.more = &more{}
	}
	return c.more
}

// serving is what ends a connection that its request's handler serves.
type serving struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Owner is what a connection belongs to that outlives its request.
type Owner interface {
	// End ends the connection with a cause; it is called by any goroutine,
	// perhaps more than once, and does not block.
	End(cause error)
}

type named struct {
	name string
	sub  *hub.Subscription
}

// ID names the connection to the operator.
func (c *Conn) ID() string { return idString(c.id) }

func idString(id uint64) string { return fmt.Sprintf("%016x", id) }

// Opened is when it was opened.
func (c *Conn) Opened() time.Time { return time.Unix(0, c.opened) }

// Context ends when the connection should; see the causes. It means nothing
// once the connection has an owner.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.serve == nil {
		return context.Background()
	}
	return c.serve.ctx
}

// End ends the connection with a cause.
func (c *Conn) End(cause error) {
	c.mu.Lock()
	owner := c.owner
	if owner == nil {
		c.serve.cancel(cause) // under the lock, so that Detach sees it
	}
	c.mu.Unlock()
	if owner != nil {
		owner.End(cause)
	}
}

// Detach gives the connection to an owner: it does not end with its request
// any more, and Close is not for its handler: the owner calls Release. If it
// should have ended already the owner is told at once.
func (c *Conn) Detach(o Owner) {
	c.mu.Lock()
	serve := c.serve
	c.owner, c.serve = o, nil
	c.mu.Unlock()
	if serve.ctx.Err() != nil {
		o.End(context.Cause(serve.ctx))
	}
	serve.cancel(nil)
}

// Track shows a subscription in the listing until Untrack.
func (c *Conn) Track(name string, s *hub.Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name == "" && c.sub == nil {
		c.sub = s
		return
	}
	m := c.extra()
	m.subs = append(m.subs, named{name, s})
}

// Untrack is the reverse of Track.
func (c *Conn) Untrack(s *hub.Subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sub == s {
		c.sub = nil
	}
	if c.more != nil {
		c.more.subs = slices.DeleteFunc(c.more.subs, func(n named) bool { return n.sub == s })
	}
}

// tracked lists the subscriptions.
func (c *Conn) tracked() []named {
	c.mu.Lock()
	defer c.mu.Unlock()
	var subs []named
	if c.sub != nil {
		subs = append(subs, named{sub: c.sub})
	}
	if c.more != nil {
		subs = append(subs, c.more.subs...)
	}
	return subs
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
	subs := c.tracked()
	views := make([]SubscriptionView, len(subs))
	for i, n := range subs {
		v := SubscriptionView{Name: n.name}
		for _, p := range n.sub.Filter().Patterns() {
			shown := p.String()
			if c.share.Mask != nil {
				shown = c.share.Mask.Mask(shown)
			}
			v.Patterns = append(v.Patterns, shown)
		}
		v.Cursor, v.Lag = n.sub.Position()
		views[i] = v
	}
	return views
}

// Close takes the connection out of the table, unless it has an owner; twice
// is no harm.
func (c *Conn) Close() {
	c.mu.Lock()
	serve := c.serve
	c.mu.Unlock()
	if serve != nil {
		c.Release()
		serve.cancel(context.Canceled)
	}
}

// OnRelease has fn called when the connection is over, whoever owns it then.
// It is called before the connection is served, once at most.
func (c *Conn) OnRelease(fn func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.extra().after = fn
}

// Release takes the connection out of the table; twice is no harm.
func (c *Conn) Release() {
	if c.closed.Swap(true) {
		return
	}
	c.mu.Lock()
	m := c.more
	c.mu.Unlock()
	if m != nil && m.after != nil {
		m.after()
	}
	c.table.remove(c)
}
