package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Table has the open connections of all transports.
type Table struct {
	now     func() time.Time
	metrics *Metrics
	perAddr int

	mu       sync.Mutex // guards the fields below
	conns    map[uint64]*Conn
	addrs    map[netip.Addr]int
	shares   map[shareKey]*share
	draining bool
	emptied  chan struct{} // closed when draining and empty
}

// share is what connections have in common that one identity opened.
type share struct {
	Info
	table *Table

	// Guarded by the table's mu.
	conns int
	stop  func()
	cause error // with which the credential ended
}

// shareKey tells shares apart.
type shareKey struct {
	transport, domain, name string
	mask                    Mask
	identity                Ender
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
	return &Table{
		now: now, metrics: m, perAddr: perAddress,
		conns: map[uint64]*Conn{}, addrs: map[netip.Addr]int{}, shares: map[shareKey]*share{},
		emptied: make(chan struct{}),
	}
}

// Metrics that the transports count in.
func (t *Table) Metrics() *Metrics { return t.metrics }

// Open enters a connection. ctx is the request's: when it ends the connection
// does. Returns a [TooManyError] or [ErrDraining].
func (t *Table) Open(ctx context.Context, info Info) (*Conn, error) {
	c := &Conn{Remote: info.Remote, opened: t.now().UnixNano(), serve: &serving{}}
	c.serve.ctx, c.serve.cancel = context.WithCancelCause(ctx)
	sh, fresh, err := t.enter(c, info)
	if err != nil {
		c.serve.cancel(err)
		if errors.Is(err, ErrTooMany) {
			t.metrics.Refused.WithLabelValues("address").Inc()
		}
		return nil, err
	}
	t.metrics.Open.WithLabelValues(info.Transport).Inc()
	if fresh && info.Identity != nil {
		t.hook(sh)
	} else if cause := t.endOf(sh); cause != nil { // before it came
		c.End(cause)
	}
	return c, nil
}

// enter puts a connection into the table; fresh says that its share is new.
func (t *Table) enter(c *Conn, info Info) (sh *share, fresh bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining {
		return nil, false, ErrDraining
	}
	if t.perAddr > 0 && info.Remote.IsValid() && t.addrs[info.Remote] >= t.perAddr {
		return nil, false, &TooManyError{t.perAddr}
	}
	sh, fresh = t.share(info)
	sh.conns++
	c.share = sh
	for c.id == 0 || t.conns[c.id] != nil {
		c.id = rand.Uint64()
	}
	t.conns[c.id] = c
	t.addrs[info.Remote]++
	return sh, fresh, nil
}

// TooManyError is [ErrTooMany]; its text is for the client.
type TooManyError struct {
	Limit int // of one address
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("this address is at the limit of %d connections (--max-connections-per-address); close one, or come back later", e.Limit)
}

// Unwrap gives ErrTooMany.
func (e *TooManyError) Unwrap() error { return ErrTooMany }

// share finds or makes what the connection has in common with others. The
// caller holds mu.
func (t *Table) share(info Info) (sh *share, fresh bool) {
	info.Remote = netip.Addr{}
	key := shareKey{info.Transport, info.Domain, info.Name, info.Mask, info.Identity}
	if sh := t.shares[key]; sh != nil {
		return sh, false
	}
	sh = &share{Info: info, table: t}
	t.shares[key] = sh
	return sh, true
}

// hook has the connections of a share end with their credential.
func (t *Table) hook(sh *share) {
	stop := sh.Identity.OnEnd(func(cause error) {
		cause = fmt.Errorf("%w: %w", ErrCredential, cause)
		for _, c := range t.ending(sh, cause) {
			c.End(cause)
		}
	})
	t.mu.Lock()
	sh.stop = stop
	left := sh.conns == 0
	t.mu.Unlock()
	if left {
		stop()
	}
}

func (t *Table) endOf(sh *share) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return sh.cause
}

// ending notes that a share's credential ended, and lists its connections.
func (t *Table) ending(sh *share, cause error) []*Conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	sh.cause = cause
	conns := make([]*Conn, 0, sh.conns)
	for _, c := range t.conns {
		if c.share == sh {
			conns = append(conns, c)
		}
	}
	return conns
}

func (t *Table) remove(c *Conn) {
	t.mu.Lock()
	delete(t.conns, c.id)
	if t.addrs[c.Remote]--; t.addrs[c.Remote] <= 0 {
		delete(t.addrs, c.Remote)
	}
	var stop func()
	if c.conns--; c.conns == 0 {
		stop = c.stop
		delete(t.shares, shareKey{c.Transport, c.Domain, c.Name, c.share.Mask, c.Identity})
	}
	if t.draining && len(t.conns) == 0 {
		close(t.emptied)
		t.emptied = make(chan struct{})
	}
	t.mu.Unlock()
	if stop != nil {
		stop()
	}
	t.metrics.Open.WithLabelValues(c.Transport).Dec()
}

// Get returns an open connection, or nil.
func (t *Table) Get(id string) *Conn {
	n, err := strconv.ParseUint(id, 16, 64)
	if err != nil || idString(n) != id {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns[n]
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
		if after == "" || idString(id) > after {
			page = append(page, c)
		}
	}
	t.mu.Unlock()
	if keep != nil {
		page = slices.DeleteFunc(page, func(c *Conn) bool { return !keep(c) })
	}
	slices.SortFunc(page, func(a, b *Conn) int { return cmp.Compare(a.id, b.id) })
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
		c.End(ErrDraining)
	}
	select {
	case <-emptied:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: %d connections left: %w", t.Len(), context.Cause(ctx))
	}
}

// Jitter returns a duration from least to most, at random, so that clients
// that were cut off together don't come back together.
func Jitter(least, most time.Duration) time.Duration {
	return least + rand.N(most-least+1)
}
