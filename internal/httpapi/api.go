// Package httpapi is the public API under /t/: a topic is a URL, POST to it
// says something, GET listens. It works out of a request who asks, what for
// and from where on, refuses what is not right with a problem document, and
// leaves frames to the transports and order to the hub.
package httpapi

import (
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"crier/internal/access"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/transport/pull"
	"crier/internal/transport/sse"
	"crier/internal/transport/websocket"
	"crier/internal/wire"
)

// Limits of the public API.
type Limits struct {
	Message  int64         // bytes of one message
	Patterns int           // of one connection
	BodyTime time.Duration // in which a small body has to come; 0: 30 s
	Requests int           // being answered, listeners apart; 0: no limit
}

// Config is what the API needs; all of it but Wire with Return and Idle, Logger,
// Metrics and Now is required.
type Config struct {
	Hub       *hub.Hub
	Access    *access.Authority
	Rate      *access.Limiter // of publishes, by credential
	Table     *transport.Table
	SSE       *sse.Handler
	Pull      *pull.Handler
	WebSocket *websocket.Server
	Wire      *wire.Engine   // nil: all publishers stay with net/http
	Return    func(net.Conn) // has net/http serve a connection again, without waiting
	Idle      time.Duration  // for which a publisher's connection may be silent; 0: 2 min
	Limits    Limits
	Logger    *slog.Logger
	Metrics   *Metrics
	Now       func() time.Time
	Version   string
}

// API is the handler of the public listener.
type API struct {
	Config
	underWay atomic.Int64 // requests
	loop     *loop        // nil: all publishers stay with net/http
}

// New makes the API.
func New(cfg Config) *API {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limits.BodyTime == 0 {
		cfg.Limits.BodyTime = bodyTime
	}
	if cfg.Idle == 0 {
		cfg.Idle = 2 * time.Minute
	}
	a := &API{Config: cfg}
	if cfg.Wire != nil {
		a.loop = newLoop(a)
	}
	return a
}

// ServeHTTP serves /t/… and the page at /. Paths are taken as they came:
// never cleaned, never redirected.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := access.PathOf(r)
	if len(path) >= len(Prefix) && path[:len(Prefix)] == Prefix {
		a.serveTopic(w, r, path)
		return
	}
	if path != "/" {
		a.refuse(w, r, problem.NotFound("nothing is at this path; topics are under "+Prefix))
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		a.refuse(w, r, problem.MethodNotAllowed("the page at / is for GET"))
		return
	}
	a.page(w, r)
}

func (a *API) serveTopic(w http.ResponseWriter, r *http.Request, path string) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	allowedOrigin := a.Access.CORS(header, r)
	if allowedOrigin {
		header.Set("Access-Control-Expose-Headers", "Location, Retry-After, Crier-Latest, Crier-Earliest")
	}
	if r.Method == http.MethodOptions {
		if err := a.Access.Screen(r); err != nil {
			a.refuse(w, r, a.denied(err))
			return
		}
		preflight(w, allowedOrigin)
		return
	}
	s := a.sit()
	defer s.leave()
	if s == nil {
		a.busy(w, r)
		return
	}
	t, err := parseTarget(path)
	if err != nil {
		a.refuse(w, r, problem.BadRequest(err.Error()))
		return
	}
	who, err := a.Access.Authenticate(r)
	if err != nil {
		a.refuseListener(w, r, a.denied(err))
		return
	}
	switch r.Method {
	case http.MethodGet:
		a.listen(w, r, t, who, s)
	case http.MethodPost:
		a.post(w, r, t, who)
	case http.MethodHead:
		a.head(w, r, t, who)
	case http.MethodDelete:
		a.forget(w, r, t, who)
	default:
		header.Set("Allow", allowed)
		a.refuse(w, r, problem.MethodNotAllowed("a topic takes "+allowed))
	}
}

const allowed = "GET, HEAD, POST, DELETE, OPTIONS"

// preflight answers what browsers ask before a request across origins; whose
// origin may, CORS has said in the headers already.
func preflight(w http.ResponseWriter, allowedOrigin bool) {
	h := w.Header()
	h.Set("Allow", allowed)
	if !allowedOrigin {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.Set("Access-Control-Allow-Methods", allowed)
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID, Idempotency-Key, Crier-Type, Crier-TTL, Cache-Control")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
