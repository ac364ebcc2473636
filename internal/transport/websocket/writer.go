package websocket

import (
	"errors"
	"os"
	"slices"
	"time"

	"crier/internal/transport/websocket/frame"
)

// What is taken from a subscription at a time. It bounds what one that is
// slow holds in memory, and how long the others of its socket wait.
const (
	turnMessages = 256
	turnBytes    = 64 << 10
)

// item is something that the worker has for the writer, in order.
type item struct {
	frame  []byte  // nil: apply makes it
	add    *stream // is announced by the frame
	remove *stream // is ended by it
	ref    string
	counts bool // it answers a request
}

// tell hands items to the writer.
func (c *socket) tell(it item) {
	c.mu.Lock()
	c.items = append(c.items, it)
	c.mu.Unlock()
	c.waker.Wake()
}

// turn is what the writer does before it looks up again.
type turn struct {
	bye    *ending
	pong   []byte
	items  []item
	stream *stream
}

func (c *socket) turn() (t turn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.bye = c.bye
	t.pong, c.pong = c.pong, nil
	t.items, c.items = c.items, nil
	if len(c.ready) > 0 {
		t.stream = c.ready[0]
		t.stream.queued = false
		n := copy(c.ready, c.ready[1:])
		c.ready[n] = nil
		c.ready = c.ready[:n]
	}
	return t
}

func (t *turn) idle() bool {
	return t.bye == nil && t.pong == nil && t.items == nil && t.stream == nil
}

// writer is the part of a socket that belongs to the writing goroutine.
type writer struct {
	*socket
	mode  mode
	vigil vigil
	pen   *pen // nil while idle
}

// write writes what there is to write until the socket has ended.
func (c *socket) write(m mode) {
	w := writer{socket: c, mode: m, vigil: newVigil(&c.srv.cfg)}
	timer := time.NewTimer(w.vigil.wait(c.age()))
	defer timer.Stop()
	for {
		t := c.turn()
		if t.bye != nil {
			w.goodbye(t)
			return
		}
		due := w.vigil.due(c.age())
		if t.idle() && !due {
			w.rest()
			timer.Reset(w.vigil.wait(c.age()))
			select {
			case <-c.wake:
			case <-timer.C:
			}
			continue
		}
		if err := w.carryOut(t, due); err != nil {
			return
		}
	}
}

// rest gives back what an idle socket does not need.
func (w *writer) rest() {
	if w.pen != nil {
		w.srv.putPen(w.pen)
		w.pen = nil
	}
}

func (w *writer) carryOut(t turn, due bool) error {
	if w.pen == nil {
		w.pen = w.srv.pen()
	}
	p := w.pen
	w.begin(t)
	if due {
		w.keepWatch()
	}
	again := false
	if t.stream != nil && w.isActive(t.stream) {
		again = w.poll(t.stream)
	}
	if p.size == 0 {
		return nil
	}
	if err := w.flush(); err != nil {
		return err
	}
	if again {
		t.stream.Wake() // behind the others
	}
	return nil
}

// begin writes what does not wait for a subscription.
func (w *writer) begin(t turn) {
	w.pen.reset()
	if t.pong != nil {
		w.pen.header(frame.Pong, len(t.pong))
		w.pen.small(t.pong)
	}
	for _, it := range t.items {
		w.mode.apply(w.pen, it)
		if it.counts {
			w.pen.answers++
			w.pen.replies += len(it.frame)
		}
	}
}

func (w *writer) isActive(st *stream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return st.active
}

// poll writes what a subscription has, and reports whether it may have more.
func (w *writer) poll(st *stream) (again bool) {
	return w.polled(st, st.sub.Poll(w.ctx, &w.pen.batch, turnMessages, turnBytes))
}

// polled writes what a poll brought.
func (w *writer) polled(st *stream, err error) (again bool) {
	p := w.pen
	if err != nil {
		w.end(w.endOfPoll(st, err))
		return false
	}
	if p.batch.Gap != nil {
		if e := w.mode.gap(p, st, p.batch.Gap); e != nil {
			w.end(*e)
			return false
		}
		st.told = p.batch.Gap.Resumed
	}
	for _, e := range p.batch.Entries {
		before := p.size
		w.mode.message(p, st, e)
		p.frames++
		p.bytes += p.size - before
	}
	if n := len(p.batch.Entries); n > 0 {
		st.told = p.batch.Entries[n-1].ID
	}
	p.live = p.frames > 0 && !st.behind
	st.behind = !p.batch.Empty()
	return st.behind
}

// heartbeat tells the cursors that moved past what did not match.
func (w *writer) heartbeat() {
	w.mu.Lock()
	streams := slices.Clone(w.streams)
	streams = slices.DeleteFunc(streams, func(st *stream) bool { return !st.active })
	w.mu.Unlock()
	for _, st := range streams {
		if at, ok := st.sub.Cursor(); ok && at != st.told {
			w.mode.cursor(w.pen, st, at)
			st.told = at
		}
	}
}

// flush writes what the pen has. A peer may be as slow as it likes as long as
// it takes something now and then.
func (w *writer) flush() error {
	p := w.pen
	p.ready()
	moved := time.Now()
	for len(p.rest) > 0 {
		began := w.extend()
		n, err := p.writeTo(w.nc, w.secure)
		now := time.Now()
		if n > 0 {
			moved = now
		}
		w.conn.Bytes.Add(uint64(n))
		w.vigil.wrote(int(n), began.Sub(w.began), now.Sub(w.began))
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			w.end(lost)
			return err
		case w.secure || w.outOfTime(now) || now.Sub(moved) >= w.srv.cfg.Stall:
			w.end(stalled)
			return err
		}
	}
	w.tally()
	return nil
}

// extend gives the peer time to take something, in slices, so as to see when
// it last did. A TLS connection is of no use after a write that was given up:
// there the slice is all the time that there is.
func (w *writer) extend() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	if w.bye == nil {
		slice := w.srv.cfg.Stall
		if !w.secure {
			slice /= 8
		}
		_ = w.nc.SetWriteDeadline(now.Add(slice))
	}
	return now
}

// outOfTime reports whether the socket ends and the time for that is over.
func (w *writer) outOfTime(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bye != nil && !now.Before(w.byeAt.Add(w.srv.cfg.CloseWait))
}

// tally counts what was written.
func (w *writer) tally() {
	p := w.pen
	if p.answers > 0 {
		w.queue.release(p.answers, p.replies)
	}
	if p.pinged != 0 {
		w.vigil.asked(p.pinged, w.age())
	}
	if p.frames == 0 {
		return
	}
	w.conn.Messages.Add(uint64(p.frames))
	w.srv.delivered.Add(float64(p.frames))
	w.srv.deliveredBytes.Add(float64(p.bytes))
	if p.live {
		w.srv.cfg.Metrics.Delivery(w.srv.cfg.Now(), p.batch.Entries[0].Time)
	}
}

// keepWatch pings, tells cursors, and gives a silent peer up.
func (w *writer) keepWatch() {
	v, now := &w.vigil, w.age()
	v.listen(time.Duration(w.heard.Load()), time.Duration(w.ponged.Load()))
	if v.overdue(now) {
		if !w.held.Load() {
			w.end(unheard)
			return
		}
		v.excuse(now) // it is we who do not listen
	}
	if v.pingDue(now) {
		w.pen.header(frame.Ping, 0)
		w.pen.pinged = now
	}
	if v.beatDue(now) {
		w.heartbeat()
	}
}

// goodbye writes the last answers and the close frame, waits for the peer's,
// and leaves the connection to be closed.
func (w *writer) goodbye(t turn) {
	defer w.rest()
	if t.bye.code == 0 {
		return
	}
	if w.pen == nil {
		w.pen = w.srv.pen()
	}
	w.begin(t)
	w.pen.arena = frame.AppendClose(w.pen.arena, t.bye.code, t.bye.reason)
	if w.flush() != nil {
		return
	}
	wait := w.srv.cfg.CloseWait
	if t.bye.broken {
		// What it sends means nothing any more, its close frame included.
		wait = min(wait, brokenWait)
		if half, ok := w.nc.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	timer := time.NewTimer(wait - min(wait, time.Since(w.byeAt)))
	defer timer.Stop()
	select {
	case <-w.peerDone:
	case <-timer.C:
	}
}

// brokenWait is how long a peer that broke the rules is given to close.
const brokenWait = time.Second
