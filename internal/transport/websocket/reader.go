package websocket

import (
	"slices"
	"time"

	"crier/internal/transport/websocket/frame"
)

// readBuffer is what a socket is read into at a time.
const readBuffer = 4096

// read takes what the peer sends until the connection is closed. What comes
// after the end is known is thrown away, so that the peer's close frame is
// not answered with a reset that could overtake ours.
func (c *socket) read(m mode, initial []byte) {
	defer c.peerFinished()
	in := intake{socket: c, mode: m, decoder: frame.NewDecoder(c.srv.cfg.MaxMessage)}
	in.take(initial)
	buf := make([]byte, readBuffer)
	for {
		n, err := c.nc.Read(buf)
		if n > 0 {
			c.heard.Store(int64(time.Since(c.began)))
			in.take(buf[:n])
		}
		if err != nil {
			c.end(lost)
			_ = c.nc.Close() // the writer ends
			return
		}
	}
}

// intake turns the peer's bytes into requests and pongs.
type intake struct {
	socket  *socket
	mode    mode
	decoder frame.Decoder
	control bucket
	closed  bool // nothing more is taken

	// Of one that must not wait for room.
	hasty   bool
	waiting *request // there is no room for it
	left    []byte   // came after it
}

// take takes what the peer sent; a hasty one only as far as there is room.
func (in *intake) take(p []byte) {
	for len(p) > 0 && !in.closed {
		ev, n, err := in.decoder.Next(p)
		p = p[n:]
		if err != nil {
			in.finish(failed(err))
			return
		}
		in.event(ev)
		if in.waiting != nil {
			in.left = slices.Clone(p)
			return
		}
	}
}

// goOn takes what waited for room, if there is some now.
func (in *intake) goOn() {
	if in.waiting == nil {
		return
	}
	r, left := *in.waiting, in.left
	in.waiting, in.left = nil, nil
	if in.submit(r); in.waiting != nil {
		in.left = left
		return
	}
	in.take(left)
}

// submit hands a request to the worker; false: the socket has ended.
func (in *intake) submit(r request) bool {
	c := in.socket
	if !in.hasty {
		return c.submit(in.mode, r)
	}
	ok, begin := c.queue.put(r)
	if begin {
		c.wg.Go(func() { c.work(in.mode) })
	}
	if !ok {
		in.waiting = &r
	}
	return true
}

func (in *intake) finish(e ending) {
	in.closed = true
	in.socket.end(e)
}

func (in *intake) event(ev frame.Event) {
	c := in.socket
	switch ev.Op {
	case frame.Continuation:
	case frame.Ping, frame.Pong:
		if !in.control.take(time.Since(c.began)) {
			in.finish(flooded)
			return
		}
		if ev.Op == frame.Ping {
			c.ping(ev.Payload)
			return
		}
		c.ponged.Store(int64(time.Since(c.began)))
	case frame.Close:
		in.closed = true
		c.peerFinished()
		// Everything that the peer asked for before is carried out first.
		in.submit(request{closing: ev.Code})
	default:
		take, e := in.mode.admit(ev.Op)
		if e != nil {
			in.finish(*e)
			return
		}
		if take && !in.submit(request{op: ev.Op, data: slices.Clone(ev.Payload)}) {
			in.closed = true
		}
	}
}

// ping leaves the answer to a ping with the writer. Of several that it has
// not come to, the last is answered (RFC 6455, section 5.5.3).
func (c *socket) ping(payload []byte) {
	pong := append(make([]byte, 0, len(payload)), payload...)
	c.mu.Lock()
	c.pong = pong
	c.mu.Unlock()
	c.waker.Wake()
}

// Control frames of a peer: so many at once, and then one in so much time.
const (
	controlBurst = 64
	controlEvery = 100 * time.Millisecond
)

// bucket limits a rate: it is full at first, and fills by itself.
type bucket struct {
	owed time.Duration // when it will be full again, in time since the socket began
}

func (b *bucket) take(now time.Duration) bool {
	full := max(b.owed, now) + controlEvery
	if full-now > controlBurst*controlEvery {
		return false
	}
	b.owed = full
	return true
}
