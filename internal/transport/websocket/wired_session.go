package websocket

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
	"crier/internal/wire"
)

// turnsAtOnce is how many subscriptions a socket writes of before other
// sockets have their turn.
const turnsAtOnce = 4

// wiredSession is a socket on the wire that speaks crier.v1.json: what socket
// does with a writing and a reading goroutine, it does in turns.
type wiredSession struct {
	wire.Socket
	writer
	in intake

	endLife context.CancelCauseFunc
	behind  *stream       // whose history is read, away from the loop
	full    time.Duration // since when the peer takes nothing; 0: it takes what comes
	parting bool          // the close frame is in the pen, or written
	done    bool
}

// serveWiredSession leaves net/http and serves a socket on the wire. An error
// means that nothing was written.
func (s *Server) serveWiredSession(w http.ResponseWriter, h Handshake, conn *transport.Conn, first *transport.Listen, sess Session) error {
	life, endLife := context.WithCancelCause(s.cfg.Wire.Context())
	core := newCore(s, conn, life)
	c := &wiredSession{endLife: endLife}
	c.Prepare()
	core.waker = c
	m := newSessionMode(core, sess)
	c.writer = writer{socket: core, mode: m, vigil: newVigil(&s.cfg)}
	c.in = newIntake(s, c, m)
	if first != nil {
		st, answer, err := m.begin(core.ctx, "", *first)
		if err != nil {
			c.abandon(err)
			return err
		}
		core.items = []item{{frame: answer, add: st}}
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		c.abandon(err)
		return fmt.Errorf("take the connection over: %w", err)
	}
	initial, _ := rw.Reader.Peek(rw.Reader.Buffered())
	initial = slices.Clone(initial) // the reader with its buffer is garbage from here on
	_ = nc.SetDeadline(time.Time{})
	conn.Detach(c)
	if err := s.cfg.Wire.Adopt(nc, &c.Socket, c, initial, func(*wire.Worker) { c.begin(h) }); err != nil {
		_ = nc.Close()
		s.flows.CutOff(s.cfg.Logger, err)
		c.finish(lost)
	}
	return nil
}

// abandon lets go of a socket that never was one.
func (c *wiredSession) abandon(cause error) {
	c.closeStreams()
	c.endLife(cause)
}

// begin finishes the opening handshake.
func (c *wiredSession) begin(h Handshake) {
	c.pen = c.srv.pen()
	c.pen.reset()
	c.pen.small(h.response())
	c.pen.ready()
	c.push()
}

// Wake implements [hub.Waker], for all that the socket may have to write.
func (c *wiredSession) Wake() { c.Schedule() }

// End implements [transport.Owner].
func (c *wiredSession) End(cause error) {
	c.endLife(cause)
	c.end(endOf(cause))
}

// Data implements [wire.Handler].
func (c *wiredSession) Data(_ *wire.Worker, p []byte) {
	c.heard.Store(int64(c.age()))
	if c.in.take(p); c.in.waiting != nil {
		c.held.Store(true)
		c.Hold()
	}
}

// Gone implements [wire.Handler].
func (c *wiredSession) Gone(*wire.Worker) { c.finish(lost) }

// Turn implements [wire.Handler].
func (c *wiredSession) Turn(*wire.Worker) {
	due := c.TimeCame()
	for range turnsAtOnce {
		if c.done || !c.push() {
			return
		}
		c.hear() // answers that were written make room
		t := c.turn()
		if t.bye != nil {
			c.part(t)
			return
		}
		watch := due || c.vigil.due(c.age())
		due = false
		if t.idle() && !watch {
			c.rest()
			c.plan()
			return
		}
		if away := c.carry(t, watch); away {
			return
		}
	}
	c.Schedule()
}

// peerFinished implements [hearer]. A goodbye may wait for it.
func (c *wiredSession) peerFinished() {
	c.socket.peerFinished()
	c.Schedule()
}

// hear goes on with what waited for room.
func (c *wiredSession) hear() {
	if c.in.waiting != nil && c.in.goOn() {
		c.held.Store(false)
		c.Resume()
	}
}

// submit implements [hearer].
func (c *wiredSession) submit(r request) bool {
	ok, begin := c.queue.put(r)
	if begin {
		c.wg.Go(func() { c.work(c.mode) })
	}
	return ok
}

// carry puts into the pen what there is to write; if that has to be read first
// it is done away from the loop.
func (c *wiredSession) carry(t turn, watch bool) (away bool) {
	if c.pen == nil {
		c.pen = c.srv.pen()
	}
	c.writer.begin(t)
	if watch {
		c.keepWatch()
	}
	if st := t.stream; st != nil && c.isActive(st) {
		behind, err := st.sub.PollTail(&c.pen.batch, turnMessages, turnBytes)
		if behind {
			c.behind = st
			c.Away(c.read)
			return true
		}
		if c.polled(st, err) {
			st.Wake() // behind the others
		}
	}
	c.pen.ready()
	return false
}

// read reads a subscription's history, away from the loop; the turn that comes
// writes it.
func (c *wiredSession) read(*wire.Worker) (again bool) {
	st := c.behind
	c.behind = nil
	if c.poll(st) {
		st.Wake()
	}
	c.pen.ready()
	return false
}

// push writes what is in the pen, and reports whether all is written and the
// socket is there.
func (c *wiredSession) push() bool {
	p := c.pen
	if p == nil {
		return true
	}
	for len(p.rest) > 0 {
		began := c.age()
		n, err := c.Write(p.rest[0])
		c.conn.Bytes.Add(uint64(n))
		now := c.age()
		if c.full != 0 && n > 0 {
			began, c.full = c.full, 0 // it waited for the peer
		}
		c.vigil.wrote(n, began, now)
		p.rest[0] = p.rest[0][n:]
		if err != nil {
			c.finish(lost)
			return false
		}
		if len(p.rest[0]) > 0 {
			return c.wait(now)
		}
		p.rest = p.rest[1:]
	}
	if p.size > 0 {
		c.tally()
		p.reset()
	}
	return true
}

// wait waits for a peer that takes no more; it is given up when it has taken
// nothing for too long.
func (c *wiredSession) wait(now time.Duration) bool {
	if c.full == 0 {
		c.full = now
	}
	left := c.full + c.srv.cfg.Stall - now
	if e, at := c.ended(); e != nil {
		left = c.srv.cfg.CloseWait - time.Since(at)
		if left <= 0 {
			c.finish(*e)
			return false
		}
	}
	if left <= 0 {
		c.finish(stalled)
		return false
	}
	c.At(left)
	return false
}

// ended returns how the socket ends, if that is known, and since when.
func (c *wiredSession) ended() (*ending, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bye, c.byeAt
}

// plan asks for the turn in which something is next to be looked after.
func (c *wiredSession) plan() { c.At(max(c.vigil.wait(c.age()), time.Millisecond)) }

// part writes the last answers and the close frame, waits for the peer's, and
// ends the socket. The pen is empty when it is called.
func (c *wiredSession) part(t turn) {
	e, at := c.ended()
	if e.code == 0 {
		c.finish(*e)
		return
	}
	if !c.parting {
		c.parting = true
		if c.pen == nil {
			c.pen = c.srv.pen()
		}
		c.writer.begin(t)
		c.pen.arena = frame.AppendClose(c.pen.arena, e.code, e.reason)
		c.pen.ready()
		c.pen.size = len(c.pen.arena)
		if !c.push() {
			return
		}
		if e.broken {
			c.CloseWrite()
		}
	}
	wait := c.srv.cfg.CloseWait
	if e.broken {
		wait = min(wait, brokenWait)
	}
	left := wait - time.Since(at)
	select {
	case <-c.peerDone:
		left = 0
	default:
	}
	if left <= 0 {
		c.finish(*e)
		return
	}
	c.At(left)
}

// finish ends the socket. What the peer asked for before it went is still
// carried out.
func (c *wiredSession) finish(e ending) {
	if c.done {
		return
	}
	c.done = true
	c.end(e)
	c.rest()
	c.Close()
	first, _ := c.ended()
	late := time.AfterFunc(c.srv.cfg.CloseWait, c.stop)
	c.srv.cfg.Wire.Go(func() {
		c.wg.Wait()
		late.Stop()
		c.closeStreams()
		c.endLife(nil)
		c.conn.Release()
		c.srv.ended(c.conn, *first)
	})
}
