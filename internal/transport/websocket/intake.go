package websocket

import (
	"slices"
	"time"

	"crier/internal/transport/websocket/frame"
)

// hearer is the socket that an intake is of.
type hearer interface {
	age() time.Duration
	// submit hands a request to whoever carries it out. false: there is no
	// room for it, and the intake keeps it.
	submit(r request) bool
	pinged(payload []byte) // not kept
	pongCame()
	peerFinished() // nothing more is to be expected of the peer
	end(e ending)
}

// intake turns the peer's bytes into requests, pings and pongs. While one
// request waits for room it takes no more.
type intake struct {
	to      hearer
	mode    mode
	decoder frame.Decoder
	control bucket
	closed  bool     // nothing more is taken
	refused bool     // a message was: no other is taken, but the peer's close frame is waited for
	waiting *request // there is no room for it
	left    []byte   // came after it
}

func newIntake(s *Server, to hearer, m mode) intake {
	return intake{to: to, mode: m, decoder: frame.NewDecoder(s.cfg.MaxMessage)}
}

// take takes what the peer sent, as far as there is room for it.
func (in *intake) take(p []byte) {
	for len(p) > 0 && !in.closed && in.waiting == nil {
		ev, n, err := in.decoder.Next(p)
		p = p[n:]
		if err != nil {
			in.finish(failed(err))
			return
		}
		in.event(ev)
	}
	if in.waiting != nil && len(p) > 0 {
		in.left = slices.Clone(p)
	}
}

// goOn takes what waited for room; it reports whether there was some for all.
func (in *intake) goOn() bool {
	r, left := *in.waiting, in.left
	in.waiting, in.left = nil, nil
	if in.submit(r); in.waiting != nil {
		in.left = left
		return false
	}
	in.take(left)
	return in.waiting == nil
}

func (in *intake) submit(r request) {
	if !in.to.submit(r) {
		in.waiting = &r
	}
}

func (in *intake) finish(e ending) {
	in.closed = true
	in.to.end(e)
}

func (in *intake) event(ev frame.Event) {
	switch ev.Op {
	case frame.Continuation:
	case frame.Ping, frame.Pong:
		switch {
		case !in.control.take(in.to.age()):
			in.finish(flooded)
		case ev.Op == frame.Ping:
			in.to.pinged(ev.Payload)
		default:
			in.to.pongCame()
		}
	case frame.Close:
		in.closed = true
		in.to.peerFinished()
		// Everything that the peer asked for before is carried out first.
		in.submit(request{closing: ev.Code})
	default:
		if in.refused {
			return
		}
		take, e := in.mode.admit(ev.Op)
		if e != nil {
			in.refused = true
			in.to.end(*e)
			return
		}
		if take {
			in.submit(request{op: ev.Op, data: slices.Clone(ev.Payload)})
		}
	}
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
