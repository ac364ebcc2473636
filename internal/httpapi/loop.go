package httpapi

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/httpapi/strict"
	"crier/internal/wire"
)

// mostReturns is how often a connection may come back to net/http and be adopted
// again: one that mixes its requests is better served there.
const mostReturns = 4

// loop has the connections of publishers that were adopted: those whose first
// request, served by net/http, was a good publish. Their requests are read by a
// strict parser, on the wire; whatever that does not take, or that would not
// succeed, goes back to net/http with the connection, untouched.
type loop struct {
	api  *API
	kind wire.Kind
	date dateline
	way  prometheus.Counter // publishes answered here
	http prometheus.Counter // and there

	blocks   sync.Pool // of *pressed
	draining atomic.Bool

	mu    sync.Mutex // guards the fields below
	open  map[*publisher]struct{}
	empty chan struct{} // closed when draining and none is open; nil: nobody waits
}

func newLoop(a *API) *loop {
	l := &loop{
		api: a, open: map[*publisher]struct{}{}, date: dateline{now: a.Now},
		way:  a.Metrics.Publishes.WithLabelValues("loop"),
		http: a.Metrics.Publishes.WithLabelValues("http"),
	}
	l.kind = a.Wire.NewKind(func() wire.Local { return &press{loop: l} })
	return l
}

// adopt answers a publish that succeeded, and has a loop serve its connection
// from there on. It reports false, and did nothing, if the connection has to
// stay with net/http.
func (a *API) adopt(w http.ResponseWriter, r *http.Request, t target, who *access.Identity, receipt engine.Receipt) bool {
	l := a.loop
	if l == nil {
		a.Metrics.Publishes.WithLabelValues("http").Inc()
		return false
	}
	l.http.Inc()
	returns, _ := r.Context().Value(returnsKey{}).(int)
	if l.draining.Load() || returns >= mostReturns || who.FromURL() || !strict.Like(r) {
		return false
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	s := &publisher{loop: l, who: who, host: r.Host, authorization: r.Header.Get("Authorization"), returns: returns}
	s.at.target, s.at.path = t, r.RequestURI
	s.Prepare()
	s.Talks()
	_ = nc.SetDeadline(time.Time{})
	begun, _ := rw.Reader.Peek(rw.Reader.Buffered()) // what is buffered can be had
	begun = slices.Clone(begun)
	answer := appendCreated(nil, t, receipt, l.date.text(), false)
	l.enter(s)
	if err := a.Wire.Adopt(nc, &s.Socket, s, begun, func(*wire.Worker) { s.begin(answer) }); err != nil {
		// Out of descriptors, or at the end of the server: the answer is owed
		// all the same.
		l.leave(s)
		a.Logger.Debug("a publisher's connection stays with net/http", "error", err)
		_ = nc.SetWriteDeadline(time.Now().Add(lastAnswer))
		_, _ = nc.Write(appendCreated(nil, t, receipt, l.date.text(), true))
		_ = nc.Close()
	}
	return true
}

// lastAnswer is how long a connection that ends may take for its answer.
const lastAnswer = time.Second

// enter puts a connection on the list. Its key is held meanwhile: one that
// nobody holds may be forgotten when many others are used, and then its end is
// not noticed.
func (l *loop) enter(s *publisher) {
	s.letGo = s.who.OnEnd(func(error) {}) // publish asks
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[s] = struct{}{}
	l.api.Metrics.Adopted.Inc()
}

// leave takes a connection off the list; twice is no harm.
func (l *loop) leave(s *publisher) {
	s.letGo()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.open[s]; !there {
		return
	}
	delete(l.open, s)
	l.api.Metrics.Adopted.Dec()
	if len(l.open) == 0 && l.empty != nil {
		close(l.empty)
		l.empty = nil
	}
}

// Drain ends the publishers' connections that a loop serves: those that wait for
// nothing at once, the others when they are answered. It returns when there are
// none, or ctx ends.
func (a *API) Drain(ctx context.Context) error {
	l := a.loop
	if l == nil {
		return nil
	}
	l.draining.Store(true)
	l.mu.Lock()
	all := make([]*publisher, 0, len(l.open))
	for s := range l.open {
		all = append(all, s)
	}
	empty := make(chan struct{})
	if len(all) == 0 {
		close(empty)
	} else {
		l.empty = empty
	}
	l.mu.Unlock()
	for _, s := range all {
		s.Schedule()
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// giveBack has net/http serve a connection.
func (l *loop) giveBack(s *publisher, begun []byte, reason string) {
	l.api.Metrics.Returned.WithLabelValues(reason).Inc()
	l.leave(s)
	nc, err := s.Release(slices.Clone(begun))
	if err != nil {
		l.api.Logger.Debug("a publisher's connection is lost", "error", err)
		return
	}
	l.api.Return(&returnedConn{nc, s.returns + 1})
}

// returnedConn is a publisher's connection that net/http serves again.
type returnedConn struct {
	*wire.Released
	returns int
}

type returnsKey struct{}

// ConnContext is for the http.Server that serves the API and what it returned.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if back, ok := c.(*returnedConn); ok {
		return context.WithValue(ctx, returnsKey{}, back.returns)
	}
	return ctx
}
