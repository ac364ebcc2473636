package sse

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"crier/internal/hub"
	"crier/internal/transport"
	"crier/internal/wire"
)

// babble is how many bytes a stream's peer may say, to nobody.
const babble = 64 << 10

// hurry is how long a stream that ends may take for its last words.
const hurry = 500 * time.Millisecond

// socket is a stream on the wire: what stream does with a goroutine of its
// own, a socket does in turns.
type socket struct {
	wire.Socket
	flow   transport.Flow
	h      *Handler
	format Format
	cause  atomic.Pointer[error] // why it should end

	ending   bool // the time for the last words runs
	said     bool // the last words are written, or being written
	stalling bool // the time that was set is that of a peer that takes nothing
	due      bool // a beat is, when all else is written

	heard uint32 // bytes of the peer's
}

// serveSocket leaves net/http and serves the stream on the wire. taken is
// false if it has to be served in the portable way, and nothing was done.
func (h *Handler) serveSocket(w http.ResponseWriter, r *http.Request, l transport.Listen, f Format) (taken bool, err error) {
	if h.cfg.Wire == nil || !transport.Adoptable(r) {
		return false, nil
	}
	s := &socket{h: h, format: f}
	s.Prepare()
	sub, err := l.Domain.Subscribe(l.Conn.Context(), hub.Options{
		Filter: l.Filter, Start: l.Start, Unreadable: l.Unreadable, Waker: s,
	})
	if err != nil {
		return true, err
	}
	setHeader(w.Header())
	head := transport.ResponseHead(http.StatusOK, w.Header(), h.cfg.Now())
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		sub.Close()
		return false, nil
	}
	l.Conn.Track("", sub)
	l.Conn.Detach(s)
	s.flow.Begin(h.flows, l.Conn, sub, f.Messages())
	_ = nc.SetDeadline(time.Time{})
	// Whatever the peer sent after its request means nothing.
	if err := h.cfg.Wire.Adopt(nc, &s.Socket, s, nil, func(*wire.Worker) { s.begin(head) }); err != nil {
		_ = nc.Close()
		h.flows.CutOff(h.cfg.Logger, err)
		s.gone(transport.ErrGone)
	}
	return true, nil
}

// begin gives the answer's head and the preamble, which go out with the first
// turn.
func (s *socket) begin(head []byte) {
	at := s.place()
	at.New = at.Good
	every := s.format.Every()
	s.At(transport.Jitter(every/2, every))
	s.flow.First(s.format.AppendBegin(head, at))
}

// own writes something of the stream's own; it reports whether the peer is
// there.
func (s *socket) own(frame []byte) bool {
	if s.flow.WriteOwn(&s.Socket, frame) != nil {
		s.gone(transport.ErrGone)
		return false
	}
	return true
}

// Wake implements [hub.Waker].
func (s *socket) Wake() {
	s.flow.Woken()
	s.Schedule()
}

// End implements [transport.Owner].
func (s *socket) End(cause error) {
	if s.cause.CompareAndSwap(nil, &cause) {
		s.Schedule()
	}
}

// Data implements [wire.Handler]: there is nothing for a peer to say, and whoever
// goes on saying it costs the others.
func (s *socket) Data(_ *wire.Worker, p []byte) {
	if s.heard += uint32(len(p)); s.heard > babble {
		s.gone(transport.ErrBabble)
	}
}

// Gone implements [wire.Handler]. A peer that only says that it will send no
// more is taken for gone too, as net/http does: it cannot be told from one that
// closed.
func (s *socket) Gone(*wire.Worker) { s.gone(transport.ErrGone) }

// Turn implements [wire.Handler].
func (s *socket) Turn(w *wire.Worker) {
	due := s.TimeCame()
	s.due = s.due || due && !s.stalling
	if cause := s.cause.Load(); cause != nil {
		s.end(*cause, due)
		return
	}
	if due && s.stalling {
		if s.Full() && !s.flow.Moved() {
			s.gone(transport.ErrStalled)
			return
		}
		s.At(s.h.cfg.Stall) // a replay may have been away for long
	}
	for {
		halt, err := s.flow.Move(w, &s.Socket)
		if err != nil {
			s.failed(err)
			return
		}
		switch halt {
		case transport.FlowGap:
			gap := s.flow.TakeGap()
			s.flow.Tell(gap.Resumed)
			if s.own(s.format.AppendGap(nil, gap)) {
				continue
			}
		case transport.FlowBehind:
			s.Away(s.replay)
		case transport.FlowMore:
			s.Schedule()
		case transport.FlowFull:
			s.full()
		case transport.FlowIdle:
			s.idle()
		}
		return
	}
}

// full gives a peer that takes no more its time.
func (s *socket) full() {
	if s.flow.Moved() || !s.stalling {
		s.stalling = true
		s.At(s.h.cfg.Stall)
	}
}

// idle gives a sign of life when it is time.
func (s *socket) idle() {
	if !s.due && !s.stalling {
		return
	}
	beat := s.due
	s.due, s.stalling = false, false
	s.At(s.format.Every())
	if beat {
		s.own(s.format.AppendBeat(make([]byte, 0, 40), s.place()))
	}
}

// replay is done away from the loop.
func (s *socket) replay(w *wire.Worker) (again bool) {
	if s.cause.Load() != nil {
		return false
	}
	halt, err := s.flow.Replay(s.h.cfg.Wire.Context(), w, &s.Socket)
	if err != nil {
		s.failedAway(err)
		return false
	}
	return halt == transport.FlowBehind
}

// failed ends a stream whose flow failed.
func (s *socket) failed(err error) {
	if errors.Is(err, transport.ErrGone) {
		s.gone(err)
		return
	}
	s.End(transport.FlowEnded(s.h.cfg.Hub, s.flow.Subscription(), err))
	s.end(*s.cause.Load(), false)
}

// failedAway has the next turn end the stream.
func (s *socket) failedAway(err error) {
	if !errors.Is(err, transport.ErrGone) {
		err = transport.FlowEnded(s.h.cfg.Hub, s.flow.Subscription(), err)
	}
	s.End(err)
}

// end tells the peer why the stream ends, if there is one to be told.
func (s *socket) end(cause error, due bool) {
	label := transport.EndLabel(cause)
	if label == "stalled" || label == "lost" || s.ending && due {
		s.gone(cause)
		return
	}
	done, err := s.flow.WriteRest(&s.Socket)
	if err == nil && done && !s.said {
		s.said = true
		err = s.flow.WriteOwn(&s.Socket, s.format.AppendBye(nil, s.place(), cause))
		done = !s.flow.Rest()
	}
	if err != nil || done {
		s.gone(cause)
		return
	}
	if !s.ending { // it is not put off by what the peer takes meanwhile
		s.ending = true
		s.At(hurry)
	}
}

// place is the place that the peer may be told of now.
func (s *socket) place() Place {
	at, ok := s.flow.Subscription().Cursor()
	if !ok {
		return Place{ID: s.flow.Told()}
	}
	p := Place{ID: at, Good: true, New: at != s.flow.Told()}
	s.flow.Tell(at)
	return p
}

// gone ends the socket.
func (s *socket) gone(cause error) {
	s.Close()
	sub := s.flow.Subscription()
	s.flow.Conn().Untrack(sub)
	sub.Close()
	s.flow.Conn().Release()
	s.h.cfg.Metrics.Ended.WithLabelValues(transportName, transport.EndLabel(cause)).Inc()
}
