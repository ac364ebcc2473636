// Package admin is the operator's listener: the management API under /v1/,
// Prometheus' /metrics, /livez, /readyz and /debug/pprof. It translates
// between HTTP and the hub, the table of connections and the keys; what they
// decide is theirs.
//
// The invariant: but for the front page, /livez, /readyz and /metrics, which
// tell nothing that is anybody's, nothing is answered before a credential was
// checked: the operator's token, which may do everything, or a key that grants
// manage, which reaches what its patterns contain. routes.go has every path
// that there is, and openapi.json says the same to the outside.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/dialect/qri/notice"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/hub"
	"crier/internal/transport"
)

// State is what the server is doing.
type State string

// The states, in their order.
const (
	Starting  State = "starting"
	Listening State = "listening"
	Draining  State = "draining"
	Closed    State = "closed"
)

// Check is one of the things that must be well for the server to be ready. Do
// asks; it obeys the context, which ends after [CheckTimeout].
type Check struct {
	Name string
	Do   func(ctx context.Context) error
}

// Config is what the listener needs. Hub, Access, Table, Apps, Clients, State
// and Gatherer are required.
type Config struct {
	Hub      *hub.Hub
	Access   *access.Authority
	Operator access.OperatorToken // the one that Access has; it is let in also from where many bad ones came
	Table    *transport.Table
	Notices  *notice.Board       // of QRI; nil: there are none
	PubSub   *keys.Registry      // the keys of wspubsub; nil: they are in PostgreSQL
	Apps     *account.Accounts   // of Pushcart
	Clients  *account.Accounts   // of Pushcart
	State    func() State        // asked at each look; does not block
	Checks   []Check             // nil: the engine, through Hub
	Gatherer prometheus.Gatherer // what /metrics shows
	Metrics  *Metrics            // nil: counted nowhere
	// Registerer takes what is looked up when metrics are asked for, until
	// Close; nil: nothing is.
	Registerer prometheus.Registerer
	Logger     *slog.Logger     // nil: none
	Now        func() time.Time // nil: time.Now
	Version    string
}

// Admin is the handler of the operator's listener. It serves concurrently.
type Admin struct {
	Config
	started  time.Time
	mux      *http.ServeMux
	cross    *http.CrossOriginProtection
	attempts *attempts
	ready    *readiness
	stop     context.CancelFunc
	running  sync.WaitGroup

	collector *collector
}

// New makes the handler. The caller must Close it after the listener, before
// the hub.
func New(cfg Config) (*Admin, error) {
	if cfg.Hub == nil || cfg.Access == nil || cfg.Table == nil || cfg.Apps == nil || cfg.Clients == nil || cfg.State == nil || cfg.Gatherer == nil {
		return nil, errors.New("admin: Hub, Access, Table, Apps, Clients, State and Gatherer are required")
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Checks == nil {
		cfg.Checks = []Check{{Name: "engine", Do: cfg.Hub.Ping}}
	}
	a := &Admin{Config: cfg, started: cfg.Now(), cross: http.NewCrossOriginProtection(), attempts: newAttempts(cfg.Now)}
	life, stop := context.WithCancel(context.Background())
	a.stop = stop
	a.ready = newReadiness(life, &a.running, cfg)
	a.mux = a.newMux()
	a.collector = newCollector(a)
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(a.collector); err != nil {
			stop()
			return nil, fmt.Errorf("admin: %w", err)
		}
	}
	return a, nil
}

// Close ends the checks that are under way and waits for them.
func (a *Admin) Close() {
	if a.Registerer != nil {
		a.Registerer.Unregister(a.collector)
	}
	a.stop()
	a.ready.fence()
	a.running.Wait()
}

// ServeHTTP serves everything that the listener has.
func (a *Admin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := a.Now()
	seen := &recorder{ResponseWriter: w}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	route := a.dispatch(seen, r)
	a.Metrics.request(route, r.Method, seen.status, a.Now().Sub(began))
}

// recorder notes a response's status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
