package engineio

import (
	"bytes"
	"errors"
	"time"

	"crier/internal/transport/engineio/packet"
	"crier/internal/transport/websocket/frame"
)

// intake turns the peer's bytes into packets.
type intake struct {
	socket  *socket
	probe   bool // not the transport yet
	decoder frame.Decoder
	control bucket
	done    bool // nothing more is carried out
	closed  bool // the peer has closed
}

// finish says that nothing more is carried out.
func (in *intake) finish() {
	if !in.done {
		in.done = true
		close(in.socket.read)
	}
}

// take carries out what came, unless there was an end.
func (in *intake) take(p []byte) {
	for len(p) > 0 && !in.done {
		ev, n, err := in.decoder.Next(p)
		p = p[n:]
		if err != nil {
			code := frame.Protocol
			if fault, ok := errors.AsType[*frame.Error](err); ok {
				code = fault.Code
			}
			in.fail(broken("%v", err), code)
			return
		}
		if !in.event(ev) {
			in.finish()
		}
	}
}

// fail ends a session whose transport the socket is, else only the socket.
func (in *intake) fail(cause error, code frame.Code) {
	c := in.socket
	c.mu.Lock()
	c.code = code
	c.mu.Unlock()
	if !in.probe {
		c.session.end(cause)
	}
	in.finish()
}

// event reports whether more is to be carried out.
func (in *intake) event(ev frame.Event) bool {
	c := in.socket
	switch ev.Op {
	case frame.Continuation:
		return true
	case frame.Ping, frame.Pong:
		if !in.control.take(time.Now()) {
			in.fail(broken("too many control frames"), frame.Policy)
			return false
		}
		if ev.Op == frame.Ping {
			c.mu.Lock()
			c.pong = append([]byte{}, ev.Payload...)
			c.mu.Unlock()
			c.session.wake.Wake()
			c.nudge.Wake()
		}
		return true
	case frame.Close:
		in.closed = true
		if !in.probe {
			c.session.end(errPeerClosed)
		}
		return false
	}
	p, err := packet.ParseFrame(c.session.version, ev.Op == frame.Binary, bytes.Clone(ev.Payload))
	if err == nil {
		err = in.packet(p)
	} else {
		err = errors.Join(ErrProtocol, err)
	}
	if err != nil {
		in.fail(err, frame.NoStatus)
		return false
	}
	return true
}

// packet carries one out.
func (in *intake) packet(p packet.Packet) error {
	c := in.socket
	if !in.probe {
		c.session.receiving.Lock()
		defer c.session.receiving.Unlock()
		return c.session.take(p)
	}
	switch {
	case p.Type == packet.Ping && string(p.Data) == "probe":
		c.mu.Lock()
		c.probes++
		c.mu.Unlock()
		c.nudge.Wake()
		return nil
	case p.Type == packet.Upgrade:
		c.mu.Lock()
		c.switchs = true
		c.mu.Unlock()
		c.nudge.Wake()
		return in.upgrade()
	}
	return broken("a probe begins with a ping")
}

// upgrade waits until the socket is the transport.
func (in *intake) upgrade() error {
	c := in.socket
	select {
	case <-c.chosen:
	case <-c.gone:
		return errPeerClosed
	}
	in.probe = false
	for _, done := range c.after {
		select {
		case <-done:
		case <-c.session.ended:
		}
	}
	return nil
}

// Control frames of a peer: so many at once, and then one in so much time.
const (
	controlBurst = 64
	controlEvery = 100 * time.Millisecond
)

// bucket limits a rate.
type bucket struct{ full time.Time }

func (b *bucket) take(now time.Time) bool {
	if b.full.Before(now) {
		b.full = now
	}
	next := b.full.Add(controlEvery)
	if next.Sub(now) > controlBurst*controlEvery {
		return false
	}
	b.full = next
	return true
}
