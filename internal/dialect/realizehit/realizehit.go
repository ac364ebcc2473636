// Package realizehit speaks to the clients of realizehit: browsers subscribe
// to patterns, sets of filter:value pairs, over Engine.IO, and backends publish
// to patterns, by POST or straight into Redis. A pattern is a topic of the
// domain main; what is published there, by whatever way, reaches the sockets.
//
// The invariant: the package has no store and no queue for what goes to
// sockets. A socket is a set of subscriptions of the hub, which are polled when
// its transport can take more. What comes from Redis is appended to the log
// like any publish, once, and reaches sockets from there.
package realizehit

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"crier/internal/access"
	"crier/internal/hub"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/engineio"
)

// Config is what the dialect needs. Hub, Access and Table are required.
type Config struct {
	Hub    *hub.Hub
	Access *access.Authority
	Table  *transport.Table
	Redis  *Redis          // nil: there is none
	Rate   *access.Limiter // of publishes, by credential; nil: no limit
	Logger *slog.Logger    // nil: none
	Now    func() time.Time

	// AnyMayUse lets everybody in, also while the server is closed.
	AnyMayUse bool
	// Prefix is the path at which messages are posted; empty: /.
	Prefix      string
	MaxMessage  int // bytes of a payload; 0: 1 MiB
	MaxPatterns int // that a socket may be subscribed to; 0: 64

	PingInterval, PingTimeout time.Duration // of Engine.IO; 0: its defaults
}

// Dialect serves it. All methods may be called concurrently.
type Dialect struct {
	cfg     Config
	sockets *engineio.Server
	payload *hub.Encoding
	all     topic.Pattern // what a grant has to contain
}

// New makes the dialect. The caller must Close it, after the table was
// drained.
func New(cfg Config) *Dialect {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "/"
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 1 << 20
	}
	if cfg.MaxPatterns == 0 {
		cfg.MaxPatterns = 64
	}
	d := &Dialect{cfg: cfg, payload: cfg.Hub.NewEncoding(appendPayload)}
	d.all, _ = topic.ParsePattern(prefix + "/**") // which is one
	d.sockets = engineio.New(engineio.Config{
		Table: cfg.Table, Logger: cfg.Logger, Now: cfg.Now,
		Accept: d.accept, CORS: d.cors,
		PingInterval: cfg.PingInterval, PingTimeout: cfg.PingTimeout,
	})
	return d
}

// Close ends the sockets that are left.
func (d *Dialect) Close() { d.sockets.Close() }

// Handler serves the paths of the dialect, and leaves all others to next.
func (d *Dialect) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := access.PathOf(r)
		switch {
		case path == "/ws" || path == "/ws/":
			d.sockets.ServeHTTP(w, r)
		case d.posts(path) && r.Method == http.MethodPost:
			d.post(w, r)
		case d.posts(path) && r.Method == http.MethodOptions:
			d.preflight(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// posts reports whether messages are posted at a path.
func (d *Dialect) posts(path string) bool {
	return path == d.cfg.Prefix || d.cfg.Prefix != "/" && path == d.cfg.Prefix+"/"
}

// enter says whose request it is and whether it may do what it wants to. nil
// is somebody whom nobody asked.
func (d *Dialect) enter(r *http.Request, a access.Action) (*access.Identity, error) {
	if d.cfg.AnyMayUse {
		return nil, nil
	}
	who, err := d.cfg.Access.Authenticate(r)
	if err != nil {
		return nil, err
	}
	return who, who.May(a, hub.Main, d.all)
}

// accept lets a socket in.
func (d *Dialect) accept(r *http.Request) (engineio.Admission, error) {
	who, err := d.enter(r, access.Subscribe)
	if err == nil && d.cfg.Access.OriginsListed() {
		err = d.cfg.Access.CheckOrigin(r)
	}
	if err != nil {
		if refusal, ok := errors.AsType[*access.Refusal](err); ok {
			d.cfg.Table.Metrics().Refused.WithLabelValues(string(refusal.Reason)).Inc()
			return engineio.Admission{}, &engineio.Refusal{Message: refusal.Detail}
		}
		return engineio.Admission{}, err
	}
	info := transport.Info{Remote: d.cfg.Access.Proxies().ClientAddr(r), Domain: hub.Main, Name: "anonymous"}
	if who != nil {
		info.Name, info.Identity = who.String(), who
	}
	return engineio.Admission{Info: info, User: func(s *engineio.Session) engineio.User { return newSocket(d, s) }}, nil
}

// cors lets pages of any origin poll, without credentials, since sockets carry
// none that a browser adds by itself; with a list of origins, those.
func (d *Dialect) cors(h http.Header, r *http.Request) bool {
	if d.cfg.Access.OriginsListed() {
		return d.cfg.Access.CORS(h, r)
	}
	h.Set("Access-Control-Allow-Origin", "*")
	return true
}
