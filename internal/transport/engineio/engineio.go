// Package engineio serves Engine.IO, protocol 3 and 4: sessions that begin by
// long polling or as a WebSocket, and move from one to the other without
// losing anything. It carries messages, text and binary, for whoever uses the
// sessions, and knows nothing of what they mean. Package packet, below, has
// the packets.
//
// The invariant: a session has no queue. It asks its user for more when its
// transport can take some: when a poll waits, or the socket is writable. So a
// slow peer is its user's cursor that moves slowly. At any time one outlet, a
// waiting poll or the socket's writer, asks and writes, and at an upgrade the
// second begins when the first has ended; messages of the peer are handed on
// one by one in the same manner.
package engineio

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/transport"
)

// transportName is what metrics and listings call us.
const transportName = "engineio"

// Message is one message of a peer.
type Message struct {
	Binary bool
	Data   []byte
}

// User is who uses a session.
type User interface {
	// Receive takes a message of the peer, whose bytes are the user's from
	// then on. It is called in order, one call at a time, and may take its
	// time: until it returns nothing more is read. The context ends with the
	// session.
	Receive(ctx context.Context, m Message)
	// Send puts messages into the batch until it is full or there are no
	// more. It is called, one call at a time, when the session's transport
	// can take some, and after [Session.Wake]. An error ends the session.
	Send(ctx context.Context, b *Batch) error
	// Closed is called once, when the session has ended, perhaps while
	// another call, whose context has ended, is still under way. nil is an
	// end that the peer asked for.
	Closed(cause error)
}

// Admission is what [Config.Accept] says of a session that may be opened.
type Admission struct {
	Info transport.Info        // its Transport is filled in
	User func(s *Session) User // makes the user, which may call the session's methods only once this has returned
}

// Refusal is an error of [Config.Accept] for the client to see.
type Refusal struct {
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Config is what a Server needs. Table and Accept are required.
type Config struct {
	Table  *transport.Table
	Logger *slog.Logger     // nil: none
	Now    func() time.Time // for figures, not for deadlines; nil: time.Now
	// Accept says whether a request may open a session. Errors that are a
	// [*Refusal] are told, of others the client sees that it is forbidden.
	Accept func(r *http.Request) (Admission, error)
	// CORS adds to a response's header what lets pages of other origins read
	// it, and reports whether the request's may; nil: none may.
	CORS func(h http.Header, r *http.Request) (allowed bool)

	PingInterval time.Duration // 0: 25 s
	PingTimeout  time.Duration // 0: 20 s
	MaxPayload   int           // bytes of a POST, and of a WebSocket message; 0: 1,000,000
	Stall        time.Duration // how long a full connection may take next to nothing; 0: 5 min
	CloseWait    time.Duration // for the closing handshake of a WebSocket; 0: 5 s
}

// Times that the protocol's reference server has too.
const (
	upgradeTimeout = 10 * time.Second       // for a probe to become the transport
	probeHold      = 100 * time.Millisecond // how long a poll is held during a probe
	closeHold      = 300 * time.Millisecond // how long a close of the peer waits for a poll made with it
	farewellLife   = 30 * time.Second       // how long a close waits for the next poll
)

// Server has the sessions. All methods may be called concurrently.
type Server struct {
	cfg     Config
	streams *transport.Streams
	batches sync.Pool // of *Batch

	delivered, deliveredBytes prometheus.Counter

	life  context.Context // ends with Close
	stop  context.CancelFunc
	serve sync.WaitGroup // sockets

	mu       sync.Mutex // guards the fields below
	sessions map[string]*Session
	closed   bool
}

// New makes a server. The caller must Close it, after the table was drained.
func New(cfg Config) *Server {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CORS == nil {
		cfg.CORS = func(http.Header, *http.Request) bool { return false }
	}
	orElse(&cfg.PingInterval, 25*time.Second)
	orElse(&cfg.PingTimeout, 20*time.Second)
	orElse(&cfg.MaxPayload, 1_000_000)
	orElse(&cfg.Stall, 5*time.Minute)
	orElse(&cfg.CloseWait, 5*time.Second)
	m := cfg.Table.Metrics()
	s := &Server{
		cfg: cfg, sessions: map[string]*Session{},
		streams:        transport.NewStreams(cfg.Stall, m.DeliveredBytes.WithLabelValues(transportName)),
		batches:        sync.Pool{New: func() any { return new(Batch) }},
		delivered:      m.Delivered.WithLabelValues(transportName),
		deliveredBytes: m.DeliveredBytes.WithLabelValues(transportName),
	}
	s.life, s.stop = context.WithCancel(context.Background())
	return s
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Close ends every session that is left, and waits for all that the server
// started; polls that wait are answered by their own handlers.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	left := make([]*Session, 0, len(s.sessions))
	for _, one := range s.sessions {
		left = append(left, one)
	}
	s.mu.Unlock()
	for _, one := range left {
		one.end(transport.ErrDraining)
		s.forget(one)
	}
	s.stop()
	s.serve.Wait()
}

// find returns a session that may be asked for, or nil.
func (s *Server) find(sid string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[sid]
}

// enter puts a session into the table under a new id.
func (s *Server) enter(one *Session) bool {
	var b [15]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	one.sid = base64.RawURLEncoding.EncodeToString(b[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.sessions[one.sid] = one
	return true
}

// forget takes a session out of the table.
func (s *Server) forget(one *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, one.sid)
	if one.farewellTimer != nil {
		one.farewellTimer.Stop()
	}
}

// remember keeps a session that has ended until its peer polls, so that it is
// told.
func (s *Server) remember(one *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.sessions[one.sid] != one {
		return
	}
	one.farewellTimer = time.AfterFunc(farewellLife, func() { s.forget(one) })
}
