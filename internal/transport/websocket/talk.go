package websocket

import (
	"context"
	"slices"
	"time"

	"crier/internal/transport/websocket/frame"
	"crier/internal/wire"
)

// talk is what a wired socket's peer says, from the first byte until all of it
// is carried out: frames become requests, which a goroutine carries out while
// there are some.
type talk struct {
	c       *wired
	decoder frame.Decoder
	control bucket
	queue   queue
	waiting *request // there is no room for it, and the peer is not heard
	left    []byte   // was read after it
	closed  bool     // nothing more is taken

	ctx  context.Context // of the requests; nil: there was none yet
	stop context.CancelFunc
}

// Data implements [wire.Handler].
func (c *wired) Data(_ *wire.Worker, p []byte) {
	c.heard = c.age()
	if c.parted {
		return
	}
	if c.talk == nil {
		c.talk = &talk{c: c, decoder: frame.NewDecoder(c.srv.cfg.MaxMessage), control: c.control}
		c.talk.queue.init(2 * c.srv.cfg.MaxMessage)
	}
	c.talk.take(p)
	c.rest()
}

// rest lets go of a talk that is over for now.
func (c *wired) rest() {
	t := c.talk
	if t == nil || t.closed || t.waiting != nil || !t.decoder.Idle() || t.queue.busy() {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	c.control = t.control
	c.talk = nil
}

// take takes what the peer sent, as far as there is room for it.
func (t *talk) take(p []byte) {
	for len(p) > 0 && !t.closed {
		ev, n, err := t.decoder.Next(p)
		p = p[n:]
		if err != nil {
			t.finish(failed(err))
			return
		}
		if t.event(ev); t.waiting != nil {
			t.left = slices.Clone(p)
			return
		}
	}
}

// goOn takes what waited for room, if there is some now.
func (t *talk) goOn() {
	if t.waiting == nil {
		return
	}
	r, left := *t.waiting, t.left
	t.waiting, t.left = nil, nil
	if t.submit(r); t.waiting != nil {
		t.left = left
		return
	}
	if t.take(left); t.waiting == nil {
		t.c.Resume()
	}
}

func (t *talk) finish(e ending) {
	t.closed = true
	t.c.end(e)
}

func (t *talk) event(ev frame.Event) {
	c := t.c
	switch ev.Op {
	case frame.Continuation:
	case frame.Ping, frame.Pong:
		if !t.control.take(c.age()) {
			t.finish(flooded)
			return
		}
		if ev.Op == frame.Pong {
			c.ponged = c.age()
			return
		}
		c.pong = append(make([]byte, 0, len(ev.Payload)), ev.Payload...)
		c.Schedule()
	case frame.Close:
		t.closed, c.parted = true, true
		// Everything that the peer asked for before is carried out first.
		t.submit(request{closing: ev.Code})
	default:
		take, e := c.mode.admit(ev.Op)
		if e != nil {
			t.finish(*e)
			return
		}
		if take {
			t.submit(request{op: ev.Op, data: slices.Clone(ev.Payload)})
		}
	}
}

// submit hands a request to the working goroutine; if there is no room for it
// the peer is not heard until there is.
func (t *talk) submit(r request) {
	ok, begin := t.queue.put(r)
	if begin {
		if t.ctx == nil {
			t.ctx, t.stop = context.WithCancel(t.c.srv.cfg.Wire.Context())
		}
		t.c.srv.cfg.Wire.Go(t.work)
	}
	if !ok {
		t.waiting = &r
		t.c.Hold()
	}
}

// work carries requests out until there are none. When the server wants the
// socket to end the rest is dropped; when only the peer went it is not.
func (t *talk) work() {
	c := t.c
	defer c.Schedule() // for what waits for room, and to let go of the talk
	for !c.ordered.Load() {
		batch, _ := t.queue.take(c.mode.together(), true)
		switch {
		case batch == nil:
			return
		case batch[0].closing != 0:
			c.end(answered(batch[0].closing))
		case !c.mode.handle(t.ctx, batch):
			return
		}
		t.queue.release(len(batch), 0)
		c.Schedule()
	}
}

// abandon gives what is under way some time to end.
func (t *talk) abandon(wait time.Duration) {
	switch {
	case t.stop == nil:
	case t.queue.busy():
		time.AfterFunc(wait, t.stop)
	default:
		t.stop()
	}
}
