package transporttest

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// socketBuffer is how much a connection takes before its peer reads.
const socketBuffer = 64 << 10

// half is one direction of a connection: bytes that were written and not yet
// read. It waits on a condition and on timers only, which fake time knows.
type half struct {
	room    int
	mu      sync.Mutex // guards the fields below
	changed *sync.Cond
	data    []byte
	from    int  // where in data the unread begins
	ended   bool // by the writer
	refused bool // by the reader
	read    deadline
	write   deadline
	watch   func() // told of every change; nil: nobody
}

// told says that something changed. The caller holds mu.
func (h *half) told() {
	h.changed.Broadcast()
	if h.watch != nil {
		h.watch()
	}
}

type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newHalf(room int) *half {
	h := &half{room: room}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// set moves a deadline of h.
func (h *half) set(d *deadline, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.changed.Broadcast()
		})
	}
	h.changed.Broadcast()
}

func (h *half) Read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.refused:
			return 0, net.ErrClosed
		case h.read.over():
			return 0, os.ErrDeadlineExceeded
		case len(h.data) > h.from:
			n := copy(p, h.data[h.from:])
			if h.from += n; h.from == len(h.data) {
				h.data, h.from = h.data[:0], 0
			}
			h.told()
			return n, nil
		case h.ended:
			return 0, io.EOF
		}
		h.changed.Wait()
	}
}

func (h *half) Write(p []byte) (written int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.ended:
			return written, net.ErrClosed
		case h.refused:
			return written, io.ErrClosedPipe
		case h.write.over():
			return written, os.ErrDeadlineExceeded
		case len(p) == 0:
			return written, nil
		}
		if n := min(len(p), h.room-(len(h.data)-h.from)); n > 0 {
			if h.from >= h.room {
				h.data, h.from = h.data[:copy(h.data, h.data[h.from:])], 0
			}
			h.data = append(h.data, p[:n]...)
			p = p[n:]
			written += n
			h.told()
			continue
		}
		h.changed.Wait()
	}
}

func (h *half) close(flag *bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*flag = true
	for _, d := range []*deadline{&h.read, &h.write} {
		if d.timer != nil {
			d.timer.Stop()
		}
	}
	h.told()
}

// conn is one end of a connection in memory.
type conn struct {
	in, out *half
	rate    int // bytes a second that can be read; 0: no bound
	closed  chan struct{}
	once    sync.Once
	adopted atomic.Bool // it is a kernel's now: Close does not concern the peer
}

// Pair makes two ends of a connection, which takes so many bytes each way
// before they are read.
func Pair(room int) (client, server net.Conn) {
	up, down := newHalf(room), newHalf(room)
	return newConn(down, up, 0), newConn(up, down, 0)
}

func newConn(in, out *half, rate int) *conn {
	return &conn{in: in, out: out, rate: rate, closed: make(chan struct{})}
}

var _ net.Conn = (*conn)(nil)

func (c *conn) Read(p []byte) (int, error) {
	if c.rate > 0 && len(p) > 0 {
		p = p[:min(len(p), max(1, c.rate/10))]
		n, err := c.in.Read(p)
		timer := time.NewTimer(time.Duration(n) * time.Second / time.Duration(c.rate))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.closed:
		}
		return n, err
	}
	return c.in.Read(p)
}

func (c *conn) Write(p []byte) (int, error) { return c.out.Write(p) }

func (c *conn) Close() error {
	if c.adopted.Load() {
		return nil
	}
	c.once.Do(func() { close(c.closed) })
	c.in.close(&c.in.refused)
	c.out.close(&c.out.ended)
	return nil
}

func (c *conn) SetReadDeadline(t time.Time) error  { c.in.set(&c.in.read, t); return nil }
func (c *conn) SetWriteDeadline(t time.Time) error { c.out.set(&c.out.write, t); return nil }
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) LocalAddr() net.Addr  { return address{} }
func (c *conn) RemoteAddr() net.Addr { return address{} }

type address struct{}

func (address) Network() string { return "memory" }
func (address) String() string  { return "192.0.2.1:1" }

// network has one listener.
type network struct {
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newNetwork() *network {
	return &network{queue: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.queue:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (n *network) Close() error {
	n.once.Do(func() { close(n.closed) })
	return nil
}

// Addr implements [net.Listener].
func (n *network) Addr() net.Addr { return address{} }

// dial connects; the client reads at most rate bytes a second.
func (n *network) dial(ctx context.Context, rate int) (net.Conn, error) {
	up, down := newHalf(socketBuffer), newHalf(socketBuffer)
	select {
	case n.queue <- newConn(up, down, 0):
		return newConn(down, up, rate), nil
	case <-n.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
