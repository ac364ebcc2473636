// Package pushcart speaks to the programs of Pushcart: apps post messages with
// a token, clients read those of all apps with theirs. An app is the topic
// pushcart/<id> of the domain main; what is published there, by whatever way,
// reaches the clients, and Redis if there is one.
//
// The invariant: the package has no store. A message is in the log as it was
// posted, byte for byte, with the field app behind it; its _id is its id in the
// log. Answers are written as they are read from the log.
package pushcart

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"crier/internal/access"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/topic"
	"crier/internal/transport"
)

// prefix is the first segment of all topics here.
const prefix = "pushcart"

// What metrics call us.
const transportName = "pushcart"

// Config is what the dialect needs. Hub, Access, Table, Apps and Clients are
// required.
type Config struct {
	Hub     *hub.Hub
	Access  *access.Authority
	Table   *transport.Table
	Apps    *account.Accounts
	Clients *account.Accounts
	Rate    *access.Limiter // of publishes, by app; nil: no limit
	Logger  *slog.Logger    // nil: none
	Now     func() time.Time

	// AuthToken is what may register clients; empty: nobody may.
	AuthToken  string
	MaxMessage int           // bytes of a posted message; 0: 1 MiB
	Stall      time.Duration // how long a client may take nothing that is written; 0: 5 min
}

// Dialect serves it. It may be used concurrently.
type Dialect struct {
	cfg     Config
	auth    [sha256.Size]byte // of AuthToken
	all     topic.Filter
	message *hub.Encoding
	streams *transport.Streams
}

// Messages is the encoding in which clients and Redis get messages. One for
// a hub is enough.
func Messages(h *hub.Hub) *hub.Encoding { return h.NewEncoding(appendMessage) }

// allTopics matches the messages of every app.
func allTopics() topic.Filter {
	p, _ := topic.ParsePattern(prefix + "/*") // which is one
	return topic.NewFilter(p)
}

// New makes the dialect. messages is what [Messages] gave.
func New(cfg Config, messages *hub.Encoding) *Dialect {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 1 << 20
	}
	if cfg.Stall == 0 {
		cfg.Stall = 5 * time.Minute
	}
	return &Dialect{
		cfg: cfg, auth: sha256.Sum256([]byte(cfg.AuthToken)), all: allTopics(), message: messages,
		streams: transport.NewStreams(cfg.Stall, cfg.Table.Metrics().DeliveredBytes.WithLabelValues(transportName)),
	}
}

// Serves reports whether a path, escaped as it came, is the dialect's.
func (d *Dialect) Serves(path string) bool { return path == "/messages" || path == "/clients" }

// Handler serves the paths of the dialect, and leaves all others to next.
func (d *Dialect) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.Serves(access.PathOf(r)) {
			d.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ServeHTTP serves the paths of the dialect.
func (d *Dialect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	d.cfg.Access.CORS(w.Header(), r)
	var err error
	allow := "POST"
	switch path := access.PathOf(r); {
	case path == "/messages" && r.Method == http.MethodGet:
		err = d.list(w, r)
	case path == "/messages" && r.Method == http.MethodPost:
		err = d.post(w, r)
	case path == "/clients" && r.Method == http.MethodPost:
		err = d.register(w, r)
	default:
		if path == "/messages" {
			allow = "GET, POST"
		}
		if r.Method == http.MethodOptions {
			d.preflight(w, allow)
			return
		}
		w.Header().Set("Allow", allow)
		err = &refused{status: http.StatusMethodNotAllowed, text: "this path takes " + allow}
	}
	if err != nil {
		d.refuse(w, err)
	}
}

func (d *Dialect) preflight(w http.ResponseWriter, allow string) {
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") != "" {
		h.Set("Access-Control-Allow-Methods", allow)
		h.Set("Access-Control-Allow-Headers", "Content-Type, X-App-Token, X-Auth-Token, X-Client-Token")
		h.Set("Access-Control-Max-Age", "86400")
	}
	w.WriteHeader(http.StatusNoContent)
}

// refused is a request that is not done, and what its sender is told.
type refused struct {
	status int
	text   string
	wait   time.Duration // 0: no Retry-After
}

func (e *refused) Error() string { return e.text }

func bad(text string) error { return &refused{status: http.StatusBadRequest, text: text} }

// refuse answers {"error":…}.
func (d *Dialect) refuse(w http.ResponseWriter, err error) {
	e := refusalOf(err)
	if e.status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		d.cfg.Logger.Warn("pushcart: not done", "status", e.status, "error", err)
	}
	if e.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.wait+time.Second-1)/time.Second)))
	}
	body, _ := json.Marshal(map[string]string{"error": e.text}) // strings
	answer(w, e.status, body)
}

func answer(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a sender that is gone is nobody to tell
}

// refusalOf maps errors of hub, engine and transport.
func refusalOf(err error) *refused {
	if e, ok := errors.AsType[*refused](err); ok {
		return e
	}
	if many, ok := errors.AsType[*transport.TooManyError](err); ok {
		return &refused{http.StatusTooManyRequests, many.Error(), 30 * time.Second}
	}
	switch {
	case errors.Is(err, transport.ErrDraining):
		return &refused{http.StatusServiceUnavailable, "the server stops; try again", 5 * time.Second}
	case errors.Is(err, engine.ErrUnknown):
		return &refused{http.StatusGatewayTimeout, "the log went away meanwhile, and the message may be stored or not", 0}
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, engine.ErrClosed), errors.Is(err, hub.ErrClosed),
		errors.Is(err, hub.ErrNoDomain), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &refused{http.StatusServiceUnavailable, "the log cannot serve now; try again", 2 * time.Second}
	}
	return &refused{http.StatusInternalServerError, "a fault of the server", 0}
}

// enter says whose token a request has.
func enter(r *http.Request, accounts *account.Accounts, header string) (account.Account, error) {
	token := r.Header.Get(header)
	if token == "" {
		return account.Account{}, &refused{status: http.StatusUnauthorized, text: "the header " + header + " is missing"}
	}
	who, err := accounts.Check(r.Context(), token)
	if errors.Is(err, account.ErrToken) {
		return who, &refused{status: http.StatusUnauthorized, text: fmt.Sprintf("the token in %s is not known, or was revoked", header)}
	}
	return who, err
}

// mayRegister checks the token that registers clients.
func (d *Dialect) mayRegister(r *http.Request) error {
	no := func(text string) error { return &refused{status: http.StatusUnauthorized, text: text} }
	if d.cfg.AuthToken == "" {
		return no("this server has no auth token, so nobody can register here; its operator sets one (--auth-token), or makes clients with crier addclient")
	}
	given := r.Header.Get("X-Auth-Token")
	if given == "" {
		return no("the header X-Auth-Token is missing")
	}
	if sum := sha256.Sum256([]byte(given)); subtle.ConstantTimeCompare(sum[:], d.auth[:]) != 1 {
		return no("the token in X-Auth-Token is not right")
	}
	return nil
}
