package websocket

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
)

// mode is what raw and crier.v1.json differ in.
type mode interface {
	// admit says, on the reading goroutine, whether a message is taken; one
	// that is not is ignored, or ends the socket.
	admit(op frame.Op) (take bool, end *ending)
	// handle carries out requests, in order; on the working goroutine.
	// false: what comes after them is not to be carried out.
	handle(ctx context.Context, requests []request) bool
	// together is how many requests handle may be given at once.
	together() int

	// The others are called on the writing goroutine.

	apply(p *pen, it item)
	message(p *pen, st *stream, e *hub.Entry)
	gap(p *pen, st *stream, g *message.Gap) *ending
	cursor(p *pen, st *stream, at message.ID)
}

// socket is one connection. Its three goroutines meet in the fields below mu.
type socket struct {
	srv    *Server
	conn   *transport.Conn
	life   context.Context // ends when the connection should, with the cause
	ctx    context.Context // ends some time after the socket, or with life
	stop   context.CancelFunc
	nc     net.Conn
	secure bool // through TLS
	began  time.Time
	wg     sync.WaitGroup // reader and worker

	waker    hub.Waker     // of the writer: something below mu is new
	wake     hub.Signal    // the same for a writing goroutine
	gone     chan struct{} // closed by end
	peerDone chan struct{} // closed when nothing more is to be expected of the peer

	heard   atomic.Int64 // when the peer last sent something, since began
	ponged  atomic.Int64 // when it last sent a pong
	held    atomic.Bool  // the reader waits for room, so that the peer is not heard
	queue   queue
	peerSet sync.Once

	mu      sync.Mutex // guards the fields below
	bye     *ending    // how it ends, once that is known
	byeAt   time.Time
	pong    []byte // what the last ping said; nil: no ping is open
	items   []item
	ready   []*stream // that may have something, in turn
	streams []*stream // all of them
}

// newSocket makes a socket for goroutines of its own.
func newSocket(s *Server, conn *transport.Conn) *socket {
	c := newCore(s, conn, conn.Context())
	c.wake = hub.NewSignal()
	c.waker = c.wake
	return c
}

// newCore makes what a socket is however it is served.
func newCore(s *Server, conn *transport.Conn, life context.Context) *socket {
	c := &socket{
		srv: s, conn: conn, began: time.Now(), life: life,
		gone: make(chan struct{}), peerDone: make(chan struct{}),
	}
	c.queue.init(2 * s.cfg.MaxMessage)
	c.ctx, c.stop = context.WithCancel(life)
	return c
}

// received implements [rawPeer].
func (c *socket) received(n int) {
	c.conn.Received.Add(uint64(n))
	c.queue.release(n, 0)
}

// age is the time since the socket began, which is never 0.
func (c *socket) age() time.Duration { return max(time.Since(c.began), 1) }

// open takes the connection over from the HTTP server and finishes the
// opening handshake. It returns what the peer sent already. An error means
// that nothing was written.
func (c *socket) open(w http.ResponseWriter, h Handshake) ([]byte, error) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	c.nc = nc
	_, c.secure = nc.(*tls.Conn)
	initial, _ := rw.Reader.Peek(rw.Reader.Buffered())
	initial = slices.Clone(initial) // the reader with its buffer is garbage from here on
	_ = nc.SetDeadline(time.Time{})
	_ = nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.CloseWait))
	if _, err := nc.Write(h.response()); err != nil {
		c.end(lost)
	}
	return initial, nil
}

// serve runs the socket until it has ended, in whatever way.
func (c *socket) serve(m mode, initial []byte) {
	unhook := context.AfterFunc(c.life, func() {
		c.end(endOf(context.Cause(c.life)))
	})
	defer unhook()
	c.wg.Go(func() { c.read(m, initial) })
	c.write(m)
	_ = c.nc.Close() // the reader ends
	// What the peer asked for before it went is still carried out.
	late := time.AfterFunc(c.srv.cfg.CloseWait, c.stop)
	c.wg.Wait()
	late.Stop()
	c.srv.ended(c.conn, *c.bye)
}

// ended counts a socket that has ended.
func (s *Server) ended(c *transport.Conn, e ending) {
	s.cfg.Metrics.Ended.WithLabelValues(transportName, e.label).Inc()
	s.cfg.Logger.Debug("socket ended", "connection", c.ID(), "reason", e.label, "code", uint16(e.code))
}

// end says how the socket ends; the first to say it decides. From then on
// writing may take only as long as the closing handshake.
func (c *socket) end(e ending) {
	c.mu.Lock()
	if c.bye == nil {
		c.bye, c.byeAt = &e, time.Now()
		if c.nc != nil {
			_ = c.nc.SetWriteDeadline(c.byeAt.Add(c.srv.cfg.CloseWait))
		}
		close(c.gone)
	}
	c.mu.Unlock()
	c.waker.Wake()
}

// peerFinished notes that nothing more is to be expected of the peer.
func (c *socket) peerFinished() { c.peerSet.Do(func() { close(c.peerDone) }) }

// stream is a subscription on a socket.
type stream struct {
	socket *socket
	id     string // to the client; empty in raw mode
	sub    *hub.Subscription
	told   message.ID // the cursor that the client has; the writer's
	behind bool       // the last poll found something; the writer's

	active bool // it has been announced; guarded by socket.mu
	queued bool // in socket.ready; guarded by socket.mu
}

// Wake implements [hub.Waker].
func (st *stream) Wake() {
	c := st.socket
	c.mu.Lock()
	fresh := st.active && !st.queued
	if fresh {
		st.queued = true
		c.ready = append(c.ready, st)
	}
	c.mu.Unlock()
	if fresh {
		c.waker.Wake()
	}
}

// subscribe begins a subscription, which is silent until add.
func (c *socket) subscribe(ctx context.Context, id string, l transport.Listen) (*stream, error) {
	st := &stream{socket: c, id: id}
	sub, err := l.Domain.Subscribe(ctx, hub.Options{
		Filter: l.Filter, Start: l.Start, Unreadable: l.Unreadable, Waker: st,
	})
	if err != nil {
		return nil, err
	}
	st.sub = sub
	c.conn.Track(id, sub)
	c.mu.Lock()
	c.streams = append(c.streams, st)
	c.mu.Unlock()
	return st, nil
}

// add lets a stream begin to give messages.
func (c *socket) add(st *stream) {
	c.mu.Lock()
	st.active = true
	c.mu.Unlock()
	st.Wake()
}

// drop ends a stream.
func (c *socket) drop(st *stream) {
	c.mu.Lock()
	st.active = false
	is := func(other *stream) bool { return other == st }
	c.ready = slices.DeleteFunc(c.ready, is)
	c.streams = slices.DeleteFunc(c.streams, is)
	c.mu.Unlock()
	c.conn.Untrack(st.sub)
	st.sub.Close()
}

// closeStreams ends all of them.
func (c *socket) closeStreams() {
	c.mu.Lock()
	streams := slices.Clone(c.streams)
	c.mu.Unlock()
	for _, st := range streams {
		c.drop(st)
	}
	c.stop()
}
