// Package websocket serves WebSocket connections (RFC 6455): raw, one frame a
// message, and crier.v1.json, an envelope protocol with many subscriptions on
// one socket. docs/protocol.md has both as a client sees them. Package frame,
// below, has the frames as a state machine without I/O.
//
// The invariant: at any time one goroutine polls a socket's subscriptions and
// writes to it, and one more carries out requests while there are some. What a
// peer can have waiting in memory is bounded: beyond it, it is not read from.
//
// On the wire (wired.go, wired_session.go) the loops call a socket in turns,
// and it outlives the call that served it. Else (socket.go, writer.go,
// reader.go) the handler's goroutine writes and another one reads, and both
// have ended when the call returns.
package websocket

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/wire"
)

// Protocol is the subprotocol of the envelope protocol.
const Protocol = "crier.v1.json"

// transportName is what metrics call us.
const transportName = "websocket"

// Config is what a Server needs. Hub is required; all else has defaults.
type Config struct {
	Hub     *hub.Hub
	Wire    *wire.Engine       // for connections that can be on it; nil: all are served in the portable way
	Metrics *transport.Metrics // nil: counted nowhere
	Logger  *slog.Logger       // nil: none
	Now     func() time.Time   // for figures, not for deadlines; nil: time.Now
	// Problem turns errors of hub and engine into what the client is told;
	// nil: unavailable or internal.
	Problem func(error) *problem.Problem

	MaxMessage  int           // bytes of a message that a peer sends, all fragments together; 0: 1 MiB
	MaxPatterns int           // of all subscriptions of a socket; 0: 64
	PingEvery   time.Duration // how often a peer is asked whether it is there, give or take a fifth; 0: 25 s
	PongWait    time.Duration // how long it may be silent after that; 0: 20 s
	Heartbeat   time.Duration // how often crier.v1.json tells cursors that moved; 0: 15 s
	Stall       time.Duration // how long a full socket may take not one byte; 0: 5 min
	CloseWait   time.Duration // for all of the closing handshake; 0: 5 s
}

// Server serves the WebSocket connections of one hub. All methods may be
// called concurrently.
type Server struct {
	cfg      Config
	began    time.Time // what ages of sockets on the wire are counted from
	envelope *hub.Encoding
	raw      *hub.Encoding    // a frame; of the wire
	rawWhole *hub.Encoding    // the same of the envelope
	flows    *transport.Flows // nil: there is no wire

	delivered, deliveredBytes prometheus.Counter
	pens                      sync.Pool // of *pen
}

// New makes a server.
func New(cfg Config) *Server {
	if cfg.Metrics == nil {
		cfg.Metrics = transport.NewMetrics(nil)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Problem == nil {
		cfg.Problem = defaultProblem
	}
	orElse(&cfg.MaxMessage, 1<<20)
	orElse(&cfg.MaxPatterns, 64)
	orElse(&cfg.PingEvery, 25*time.Second)
	orElse(&cfg.PongWait, 20*time.Second)
	orElse(&cfg.Heartbeat, 15*time.Second)
	orElse(&cfg.Stall, 5*time.Minute)
	orElse(&cfg.CloseWait, 5*time.Second)
	s := &Server{
		cfg:            cfg,
		began:          time.Now(),
		envelope:       cfg.Hub.NewEncoding(transport.AppendEnvelope),
		delivered:      cfg.Metrics.Delivered.WithLabelValues(transportName),
		deliveredBytes: cfg.Metrics.DeliveredBytes.WithLabelValues(transportName),
		pens:           sync.Pool{New: func() any { return new(pen) }},
	}
	if cfg.Wire != nil {
		s.raw, s.rawWhole = cfg.Hub.NewEncoding(appendRaw), cfg.Hub.NewEncoding(appendRawWhole)
		s.flows = transport.NewFlows(cfg.Wire, cfg.Metrics, transportName, cfg.Now)
	}
	return s
}

func orElse[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func defaultProblem(err error) *problem.Problem {
	if errors.Is(err, engine.ErrUnknown) {
		return problem.UnknownOutcome("the log went away meanwhile, and what was published may be stored or not")
	}
	if errors.Is(err, engine.ErrUnavailable) || errors.Is(err, hub.ErrClosed) || errors.Is(err, engine.ErrClosed) {
		return problem.Unavailable("the log cannot serve now; try again", 2*time.Second)
	}
	return problem.Internal()
}

// problemOf is what the client is told of an error.
func (s *Server) problemOf(err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	return s.cfg.Problem(err)
}

// ServeRaw serves one socket in raw mode: what l selects is written one frame
// a message (with l.Envelope, its envelope), and what the peer sends is
// published by p to the one topic that l selects. p is nil if l is not one
// topic, or the caller knows that the peer may not publish there. An error
// means that nothing was written yet and the caller answers the request.
//
// The socket may outlive the call: it then belongs to the wire.
func (s *Server) ServeRaw(w http.ResponseWriter, r *http.Request, h Handshake, l transport.Listen, p Publisher) error {
	return s.serveRaw(w, r, h, l, newRawMode(s, l, p))
}

func (s *Server) serveRaw(w http.ResponseWriter, r *http.Request, h Handshake, l transport.Listen, m *rawMode) error {
	if taken, err := s.serveWired(w, r, h, l, m); taken {
		return err
	}
	c := newSocket(s, l.Conn)
	defer c.closeStreams()
	st, err := c.subscribe(c.ctx, "", l)
	if err != nil {
		return err
	}
	initial, err := c.open(w, h)
	if err != nil {
		return err
	}
	c.add(st)
	m.peer = c
	c.serve(m, initial)
	return nil
}

// ServeListener is ServeRaw for a peer that is only written to: what it sends
// is ignored.
func (s *Server) ServeListener(w http.ResponseWriter, r *http.Request, h Handshake, l transport.Listen) error {
	return s.serveRaw(w, r, h, l, &rawMode{srv: s, envelope: l.Envelope, deaf: true})
}

// ServePublisher is ServeRaw for a peer that is told nothing: what it sends is
// published by p, with no topic in its publications.
func (s *Server) ServePublisher(w http.ResponseWriter, _ *http.Request, h Handshake, conn *transport.Conn, p Publisher) error {
	c := newSocket(s, conn)
	defer c.closeStreams()
	initial, err := c.open(w, h)
	if err != nil {
		return err
	}
	c.serve(&rawMode{srv: s, peer: c, publisher: p}, initial)
	return nil
}

// ServeSession serves one socket that speaks crier.v1.json. first, if not
// nil, is the subscription that the path asked for. conn is the connection,
// also if first is nil; the caller opened it and closes it when this returns.
// An error means that nothing was written yet and the caller answers the
// request.
//
// The socket may outlive the call: it then belongs to the wire.
func (s *Server) ServeSession(w http.ResponseWriter, r *http.Request, h Handshake, conn *transport.Conn, first *transport.Listen, sess Session) error {
	if s.cfg.Wire != nil && transport.Adoptable(r) {
		return s.serveWiredSession(w, h, conn, first, sess)
	}
	c := newSocket(s, conn)
	defer c.closeStreams()
	m := newSessionMode(c, sess)
	if first != nil {
		st, frame, err := m.begin(c.ctx, "", *first)
		if err != nil {
			return err
		}
		c.items = []item{{frame: frame, add: st}}
	}
	initial, err := c.open(w, h)
	if err != nil {
		return err
	}
	c.serve(m, initial)
	return nil
}
