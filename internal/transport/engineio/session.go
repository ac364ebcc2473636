package engineio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/hub"
	"crier/internal/transport"
	"crier/internal/transport/engineio/packet"
)

// Why sessions end, beside what the table of connections says.
var (
	// ErrUnanswered: the peer was silent for longer than it may be.
	ErrUnanswered = errors.New("no heartbeat of the peer")
	// ErrProtocol: the peer broke the rules.
	ErrProtocol = errors.New("the protocol was broken")
	// errPeerClosed stands for an end that the peer asked for.
	errPeerClosed = errors.New("closed by the peer")
)

// phase is what the poll, of which there is one at a time, is doing.
type phase uint8

const (
	idle    phase = iota
	waiting       // for something to answer with
	writing
)

// maxPongs bounds the answers to pings that wait for a poll.
const maxPongs = 16

// Session is one peer's, over all its requests and sockets. Its exported
// methods may be called concurrently.
type Session struct {
	srv     *Server
	sid     string
	version packet.Version
	base64  bool // the peer takes no binary
	conn    *transport.Conn
	user    User
	ctx     context.Context // ends with the session
	stop    context.CancelFunc
	unhook  func() bool
	wake    hub.Signal    // for the outlet: there may be something to write
	ended   chan struct{} // closed by end
	pulse   pulse
	busy    atomic.Bool // a write is under way
	done    atomic.Bool // finish was called
	dialect atomic.Int32

	receiving sync.Mutex // held while a packet of the peer is carried out

	farewellTimer *time.Timer // guarded by srv.mu

	mu       sync.Mutex // guards the fields below
	outgoing []packet.Packet
	pongs    int     // in outgoing
	upgraded bool    // the WebSocket is the transport; for good
	socket   *socket // probing, or the transport
	probed   bool    // the probe was answered
	release  bool    // the waiting poll is to be answered, since a probe asks for it
	poll     phase
	pollLate bool          // the poll came after the probe was answered
	pollDone chan struct{} // closed when the poll under way has ended
	polls    chan struct{} // capacity 1: a poll has begun
	posting  bool
	postDone chan struct{} // closed when the POST under way has ended
	cause    error         // once it has ended
	farewell packet.Type   // what the waiting poll is told at the end
}

// newSession makes a session for an admitted peer, which is not found yet.
func (s *Server) newSession(v packet.Version, b64 bool, a Admission) (*Session, error) {
	a.Info.Transport = transportName
	conn, err := s.cfg.Table.Open(s.life, a.Info)
	if err != nil {
		return nil, err
	}
	one := &Session{
		srv: s, version: v, base64: b64, conn: conn,
		wake: hub.NewSignal(), ended: make(chan struct{}), polls: make(chan struct{}, 1),
	}
	one.ctx, one.stop = context.WithCancel(conn.Context())
	one.user = a.User(one)
	one.mu.Lock() // nothing ends it before it is whole
	one.pulse.init(one)
	one.unhook = context.AfterFunc(conn.Context(), func() { one.end(context.Cause(conn.Context())) })
	entered := s.enter(one)
	one.mu.Unlock()
	if !entered {
		one.end(transport.ErrDraining)
		return nil, transport.ErrDraining
	}
	return one, nil
}

// Wake has the session ask its user for messages soon.
func (s *Session) Wake() { s.wake.Wake() }

// Close ends the session from this side. The user's Closed is called before it
// returns.
func (s *Session) Close() { s.end(nil) }

// Conn is the session's line in the table of connections.
func (s *Session) Conn() *transport.Conn { return s.conn }

// Context ends with the session.
func (s *Session) Context() context.Context { return s.ctx }

// end ends the session; the first cause counts. nil is this side's wish.
func (s *Session) end(cause error) {
	s.mu.Lock()
	select {
	case <-s.ended:
		s.mu.Unlock()
		return
	default:
	}
	s.cause = cause
	s.farewell = packet.Close
	if errors.Is(cause, errPeerClosed) {
		s.farewell, s.cause = packet.Noop, nil
	}
	close(s.ended)
	polled := s.poll != idle
	c := s.socket
	carried := c != nil && s.upgraded
	// A peer that polls, and was not told, hears of it with its next poll.
	tell := !carried && s.poll != waiting && ended(cause)
	s.mu.Unlock()
	s.pulse.end()
	s.stop()
	s.wake.Wake()
	if c != nil {
		c.hurry()
	}
	if tell {
		s.srv.remember(s)
	} else {
		s.srv.forget(s)
	}
	if !polled && !carried {
		s.finish()
	}
	s.user.Closed(s.cause)
}

// ended reports whether an end is one that this side decided on, and not what
// the peer did or left undone.
func ended(cause error) bool {
	for _, peer := range []error{errPeerClosed, ErrUnanswered, ErrProtocol, transport.ErrGone, transport.ErrStalled} {
		if errors.Is(cause, peer) {
			return false
		}
	}
	return true
}

// finish takes the session out of the listing, once its outlet has said the
// last thing.
func (s *Session) finish() {
	if s.done.Swap(true) {
		return
	}
	s.unhook()
	s.conn.Close()
	label := transport.EndLabel(s.cause)
	switch {
	case errors.Is(s.cause, ErrUnanswered):
		label = "unanswered"
	case errors.Is(s.cause, ErrProtocol):
		label = "protocol"
	}
	s.srv.cfg.Table.Metrics().Ended.WithLabelValues(transportName, label).Inc()
	s.srv.cfg.Logger.Debug("session ended", "connection", s.conn.ID(), "reason", label, "cause", s.cause)
}

// over reports whether the session has ended.
func (s *Session) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// queue has a packet of the protocol itself written before messages.
func (s *Session) queue(p packet.Packet) {
	s.mu.Lock()
	s.outgoing = append(s.outgoing, p)
	s.mu.Unlock()
	s.wake.Wake()
}

// gather fills a batch. Only the outlet calls it.
func (s *Session) gather(b *Batch, polled bool) {
	b.plain = polled && s.version == packet.V3 && s.dialect.Load() == unknown
	s.mu.Lock()
	for _, p := range s.outgoing {
		b.control(p)
	}
	s.outgoing, s.pongs = s.outgoing[:0], 0
	s.mu.Unlock()
	if s.over() {
		return
	}
	if err := s.user.Send(s.ctx, b); err != nil && !s.over() {
		s.end(err)
	}
}

// wrote notes that a batch was written, in n bytes.
func (s *Session) wrote(b *Batch, n int) {
	s.pulse.wrote(b, n)
	if b.messages == 0 {
		return
	}
	s.conn.Messages.Add(uint64(b.messages))
	s.srv.delivered.Add(float64(b.messages))
	if !b.sent.IsZero() {
		s.srv.cfg.Table.Metrics().Delivery(s.srv.cfg.Now(), b.sent)
	}
}

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// take carries out a packet of the peer. An error is to end the session. The
// caller holds receiving.
func (s *Session) take(p packet.Packet) error {
	if s.over() {
		return nil
	}
	s.pulse.heard(p.Type == packet.Pong)
	switch p.Type {
	case packet.Message:
		s.conn.Received.Add(1)
		s.user.Receive(s.ctx, Message{Binary: p.Binary, Data: p.Data})
	case packet.Close:
		return errPeerClosed
	case packet.Ping:
		if s.version != packet.V3 {
			return broken("in protocol 4 it is the server that pings")
		}
		s.pong(p.Data)
	case packet.Pong:
		if s.version == packet.V3 {
			return broken("in protocol 3 it is the client that pings")
		}
	case packet.Open, packet.Upgrade, packet.Noop: // they mean nothing here
	}
	return nil
}

// pong answers a ping, with its data. A peer that pings and does not listen
// has the newest of its pings answered.
func (s *Session) pong(data []byte) {
	const limit = 128
	p := packet.Packet{Type: packet.Pong, Data: bytes.Clone(data[:min(len(data), limit)])}
	s.mu.Lock()
	if s.pongs >= maxPongs {
		s.outgoing[len(s.outgoing)-1] = p
	} else {
		s.outgoing = append(s.outgoing, p)
		s.pongs++
	}
	s.mu.Unlock()
	s.wake.Wake()
}
