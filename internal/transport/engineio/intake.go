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
}

// take reports whether more is to be read.
func (in *intake) take(p []byte) bool {
	for len(p) > 0 {
		ev, n, err := in.decoder.Next(p)
		p = p[n:]
		if err != nil {
			code := frame.Protocol
			if fault, ok := errors.AsType[*frame.Error](err); ok {
				code = fault.Code
			}
			in.fail(broken("%v", err), code)
			return false
		}
		if !in.event(ev) {
			return false
		}
	}
	return true
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
}

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
	if c.after != nil {
		select {
		case <-c.after:
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
