package websocket

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
	"crier/internal/wire"
)

// wired is a socket in raw mode on the wire: what socket does with goroutines
// of its own, it does in turns. While its peer says nothing it is all that
// there is of the connection.
type wired struct {
	wire.Socket
	flow  transport.Flow
	srv   *Server
	conn  *transport.Conn
	mode  *rawMode
	talk  *talk // what the peer says; nil: nothing that is unfinished
	vigil vigil
	began time.Duration // since the server began; see age

	heard, ponged time.Duration
	moved         time.Duration // when the peer last took something
	byeAt         time.Duration // when the goodbye began
	pong          []byte        // what the last ping said; nil: no ping is open
	control       bucket
	bye           atomic.Pointer[ending]
	ordered       atomic.Bool // the server wants the end
	parting       bool        // the close frame is written, or being written
	parted        bool        // nothing more is to be expected of the peer
}

// serveWired leaves net/http and serves a socket in raw mode on the wire.
// taken is false if it has to be served in the portable way, and nothing was
// done.
func (s *Server) serveWired(w http.ResponseWriter, r *http.Request, h Handshake, l transport.Listen, mode *rawMode) (taken bool, err error) {
	if s.cfg.Wire == nil || !transport.Adoptable(r) {
		return false, nil
	}
	c := &wired{srv: s, conn: l.Conn, mode: mode, vigil: newVigil(&s.cfg), began: time.Since(s.began)}
	mode.peer = c
	c.Prepare()
	sub, err := l.Domain.Subscribe(l.Conn.Context(), hub.Options{
		Filter: l.Filter, Start: l.Start, Unreadable: l.Unreadable, Waker: c,
	})
	if err != nil {
		return true, err
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		sub.Close()
		return true, fmt.Errorf("take the connection over: %w", err)
	}
	initial, _ := rw.Reader.Peek(rw.Reader.Buffered())
	initial = slices.Clone(initial) // the reader with its buffer is garbage from here on
	_ = nc.SetDeadline(time.Time{})
	enc := s.raw
	if l.Envelope {
		enc = s.rawWhole
	}
	l.Conn.Track("", sub)
	l.Conn.Detach(c)
	c.flow.Begin(s.flows, l.Conn, sub, enc)
	if err := s.cfg.Wire.Adopt(nc, &c.Socket, c, initial, func(*wire.Worker) { c.begin(h) }); err != nil {
		_ = nc.Close()
		s.flows.CutOff(s.cfg.Logger, err)
		c.finish(lost)
	}
	return true, nil
}

// begin finishes the opening handshake.
func (c *wired) begin(h Handshake) {
	c.At(c.vigil.wait(c.age()))
	if c.flow.WriteOwn(&c.Socket, h.response()) != nil {
		c.finish(lost)
	}
}

// age is the time since the socket began, which is never 0.
func (c *wired) age() time.Duration {
	return max(time.Since(c.srv.began)-c.began, 1)
}

// Wake implements [hub.Waker].
func (c *wired) Wake() {
	c.flow.Woken()
	c.Schedule()
}

// End implements [transport.Owner].
func (c *wired) End(cause error) {
	c.ordered.Store(true)
	c.end(endOf(cause))
}

// end says how the socket ends; the first to say it decides.
func (c *wired) end(e ending) {
	if c.bye.CompareAndSwap(nil, &e) {
		c.Schedule()
	}
}

// Turn implements [wire.Handler].
func (c *wired) Turn(w *wire.Worker) {
	due := c.TimeCame()
	if c.bye.Load() == nil {
		c.hear()
	}
	if bye := c.bye.Load(); bye != nil {
		c.goodbye(*bye)
		return
	}
	c.noteMoved() // a replay may have been away for long
	if due && !c.keepWatch() {
		return
	}
	c.deliver(w)
}

// deliver writes what there is.
func (c *wired) deliver(w *wire.Worker) {
	done, err := c.flow.WriteRest(&c.Socket)
	if err == nil && done && c.pong != nil {
		pong := append(frame.AppendHeader(nil, frame.Pong, true, len(c.pong)), c.pong...)
		c.pong = nil
		err = c.flow.WriteOwn(&c.Socket, pong)
	}
	if err != nil {
		c.finish(lost)
		return
	}
	halt, err := c.flow.Move(w, &c.Socket)
	c.noteMoved()
	if err != nil {
		c.end(c.endOfFlow(err))
		return
	}
	switch halt {
	case transport.FlowGap: // there is no frame for one
		c.end(endOfGap(c.flow.TakeGap()))
	case transport.FlowBehind:
		c.Away(c.replay)
	case transport.FlowMore:
		c.Schedule()
	case transport.FlowFull:
		if c.moved == 0 {
			c.moved = c.age()
			c.plan()
		}
	case transport.FlowIdle:
		if c.moved != 0 {
			c.moved = 0
			c.plan()
		}
	}
}

// noteMoved notes that the peer takes what is written to it, if it was slow.
func (c *wired) noteMoved() {
	if c.flow.Moved() && c.moved != 0 {
		now := c.age()
		c.moved = now
		c.vigil.excuse(now)
	}
}

// plan asks for the turn in which something is next to be looked after.
func (c *wired) plan() {
	now := c.age()
	wait := c.vigil.wait(now)
	if c.flow.Rest() && c.vigil.open == 0 { // a ping that is due has to wait for it
		wait = c.vigil.nextBeat - now
	}
	if c.moved != 0 {
		wait = min(wait, c.moved+c.srv.cfg.Stall-now)
	}
	c.At(max(wait, time.Millisecond))
}

// keepWatch pings, and gives a silent peer up. It reports whether the peer is
// there.
func (c *wired) keepWatch() bool {
	now := c.age()
	v := &c.vigil
	v.beatDue(now) // there is no frame for a cursor
	v.total = int(c.conn.Bytes.Load())
	v.listen(c.heard, c.ponged)
	switch {
	case c.moved != 0 && now-c.moved >= c.srv.cfg.Stall:
		c.finish(stalled)
		return false
	case v.overdue(now):
		if c.talk == nil || c.talk.in.waiting == nil {
			c.end(unheard)
			return true // the turn that comes says goodbye
		}
		v.excuse(now) // it is we who do not listen
	case v.pingDue(now) && !c.flow.Rest():
		if c.flow.WriteOwn(&c.Socket, frame.AppendHeader(nil, frame.Ping, true, 0)) != nil {
			c.finish(lost)
			return false
		}
		v.asked(now, now)
	}
	c.plan()
	return true
}

// replay is done away from the loop.
func (c *wired) replay(w *wire.Worker) (again bool) {
	if c.bye.Load() != nil {
		return false
	}
	halt, err := c.flow.Replay(c.srv.cfg.Wire.Context(), w, &c.Socket)
	if err != nil {
		c.end(c.endOfFlow(err))
		return false
	}
	return halt == transport.FlowBehind
}

// received implements [rawPeer].
func (c *wired) received(n int) { c.conn.Received.Add(uint64(n)) }

// endOfFlow says what it means that the flow cannot go on.
func (c *wired) endOfFlow(err error) ending {
	cause := transport.FlowEnded(c.srv.cfg.Hub, c.flow.Subscription(), err)
	if cause != err {
		return endOf(cause)
	}
	if transport.EndLabel(cause) != "lost" {
		return endOf(cause)
	}
	if err == transport.ErrGone {
		return lost
	}
	c.srv.cfg.Logger.Error("subscription failed", "connection", c.conn.ID(), "error", err)
	return ending{code: frame.Internal, reason: "internal error", label: "internal"}
}

// goodbye writes the close frame, waits for the peer's, and ends the socket.
func (c *wired) goodbye(e ending) {
	now := c.age()
	if c.byeAt == 0 {
		c.byeAt = now
	}
	if e.code == 0 || !c.part(e) {
		c.finish(e)
		return
	}
	wait := c.srv.cfg.CloseWait
	if e.broken && c.parting && !c.flow.Rest() {
		wait = min(wait, brokenWait)
	}
	if c.parting && c.parted && !c.flow.Rest() || now-c.byeAt >= wait {
		c.finish(e)
		return
	}
	c.At(c.byeAt + wait - now)
}

// part writes the close frame; it reports whether the peer is there.
func (c *wired) part(e ending) bool {
	done, err := c.flow.WriteRest(&c.Socket)
	if err == nil && done && !c.parting {
		c.parting = true
		err = c.flow.WriteOwn(&c.Socket, frame.AppendClose(nil, e.code, e.reason))
		if e.broken && !c.flow.Rest() {
			c.CloseWrite()
		}
	}
	return err == nil
}

// finish ends the socket.
func (c *wired) finish(e ending) {
	c.bye.CompareAndSwap(nil, &e)
	e = *c.bye.Load()
	c.Close()
	if c.talk != nil {
		c.talk.abandon(c.srv.cfg.CloseWait)
	}
	sub := c.flow.Subscription()
	c.conn.Untrack(sub)
	sub.Close()
	c.conn.Release()
	c.srv.ended(c.conn, e)
}

// Gone implements [wire.Handler].
func (c *wired) Gone(*wire.Worker) { c.finish(lost) }

// appendRaw appends a message as one frame.
func appendRaw(dst []byte, m *message.Message) []byte {
	op := frame.Text
	if m.Binary {
		op = frame.Binary
	}
	return append(frame.AppendHeader(dst, op, true, len(m.Data)), m.Data...)
}

// appendRawWhole appends a message's envelope as one frame.
func appendRawWhole(dst []byte, m *message.Message) []byte {
	const room = frame.MaxHeader
	start := len(dst)
	dst = append(dst, make([]byte, room)...)
	dst = transport.AppendEnvelope(dst, m)
	head := frame.AppendHeader(nil, frame.Text, true, len(dst)-start-room)
	skip := room - len(head)
	copy(dst[start:], head)
	copy(dst[start+len(head):], dst[start+room:])
	return dst[:len(dst)-skip]
}
