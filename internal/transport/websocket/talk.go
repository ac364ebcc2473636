package websocket

import (
	"context"
	"time"

	"crier/internal/wire"
)

// talk is what a wired socket's peer says, from the first byte until all of it
// is carried out: frames become requests, which a goroutine carries out while
// there are some.
type talk struct {
	c     *wired
	in    intake
	queue queue

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
		c.talk = &talk{c: c, in: newIntake(c.srv, c, c.mode)}
		c.talk.in.control = c.control
		c.talk.queue.init(2 * c.srv.cfg.MaxMessage)
	}
	if c.talk.in.take(p); c.talk.in.waiting != nil {
		c.Hold()
	}
	c.rest()
}

// hear goes on with what waited for room.
func (c *wired) hear() {
	if c.talk == nil {
		return
	}
	if c.talk.in.waiting != nil && c.talk.in.goOn() {
		c.Resume()
	}
	c.rest()
}

// rest lets go of a talk that is over for now.
func (c *wired) rest() {
	t := c.talk
	if t == nil || t.in.closed || t.in.waiting != nil || !t.in.decoder.Idle() || t.queue.busy() {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	c.control = t.in.control
	c.talk = nil
}

// pongCame implements [hearer].
func (c *wired) pongCame() { c.ponged = c.age() }

// pinged implements [hearer].
func (c *wired) pinged(payload []byte) {
	c.pong = append(make([]byte, 0, len(payload)), payload...)
	c.Schedule()
}

// peerFinished implements [hearer]. A goodbye may wait for it.
func (c *wired) peerFinished() {
	c.parted = true
	c.Schedule()
}

// submit implements [hearer].
func (c *wired) submit(r request) bool {
	t := c.talk
	ok, begin := t.queue.put(r)
	if begin {
		if t.ctx == nil {
			t.ctx, t.stop = context.WithCancel(c.srv.cfg.Wire.Context())
		}
		c.srv.cfg.Wire.Go(t.work)
	}
	return ok
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
