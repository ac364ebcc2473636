// Package dialect has what the maps of other systems onto Crier share at the
// door of the public listener: which origins come in, and how a request is
// refused. The packages below it are the dialects, one for each ancestor: names,
// credentials and frames, over a domain of the hub and a transport. None has a
// store, a table of subscribers or a writer of its own.
package dialect

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/transport"
)

// Metrics that all dialects count in.
type Metrics struct {
	Refused *prometheus.CounterVec // by dialect and status
}

// NewMetrics makes the metrics and registers them (nil: nowhere).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{Refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "crier_dialect_requests_refused_total", Help: "Requests to a dialect that were refused, by dialect and status.",
	}, []string{"dialect", "status"})}
	if reg != nil {
		reg.MustRegister(m.Refused)
	}
	return m
}

// Door is where the requests of one dialect come in. Its methods may be called
// concurrently.
type Door struct {
	Dialect string
	Access  *access.Authority
	Metrics *Metrics     // nil: counted nowhere
	Logger  *slog.Logger // nil: none
}

// CORS adds the headers that let pages read an answer, and reports whether the
// request may come in. Pages of any origin may, since a dialect's requests
// carry no ambient credentials, unless the operator lists origins: then those.
func (d *Door) CORS(h http.Header, r *http.Request) bool {
	if !d.Access.OriginsListed() {
		h.Set("Access-Control-Allow-Origin", "*")
		return true
	}
	return d.Access.CORS(h, r) || r.Header.Get("Origin") == ""
}

// CheckOrigin is the same rule for a WebSocket. The error is a
// [*problem.Problem].
func (d *Door) CheckOrigin(r *http.Request) error {
	if !d.Access.OriginsListed() {
		return nil
	}
	if err := d.Access.CheckOrigin(r); err != nil {
		return d.Problem(err)
	}
	return nil
}

// Forbidden is the answer to a page of an origin that is not listed.
func Forbidden() *problem.Problem {
	return problem.Forbidden("this origin is not allowed; the operator lists it with --origins")
}

// Refuse answers a request with an error, which becomes a problem document, and
// counts it.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	p := d.Problem(err)
	if d.Metrics != nil {
		d.Metrics.Refused.WithLabelValues(d.Dialect, strconv.Itoa(p.Status)).Inc()
	}
	if d.Logger != nil && p.Status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		d.Logger.WarnContext(r.Context(), "refused", "dialect", d.Dialect, "status", p.Status, "error", err)
	}
	problem.Write(w, r, p)
}

// Problem maps errors of hub, engine, access and transport to what a client is
// told.
func (d *Door) Problem(err error) *problem.Problem {
	if p, ok := errors.AsType[*problem.Problem](err); ok {
		return p
	}
	if refusal, ok := errors.AsType[*access.Refusal](err); ok {
		switch refusal.Status() {
		case http.StatusUnauthorized:
			return problem.Unauthenticated(refusal.Detail, refusal.Challenge())
		case http.StatusForbidden:
			p := problem.Forbidden(refusal.Detail)
			p.Challenge = refusal.Challenge()
			return p
		}
		return problem.Unavailable(refusal.Detail, 2*time.Second)
	}
	if many, ok := errors.AsType[*transport.TooManyError](err); ok {
		return problem.TooMany(many.Error(), 30*time.Second)
	}
	switch {
	case errors.Is(err, transport.ErrDraining):
		return problem.Unavailable("the server stops; try again", 5*time.Second)
	case errors.Is(err, engine.ErrUnknown):
		return problem.UnknownOutcome("the log went away meanwhile, and what was published may be stored or not")
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, engine.ErrClosed), errors.Is(err, hub.ErrClosed),
		errors.Is(err, hub.ErrNoDomain), errors.Is(err, engine.ErrLeaseHeld), errors.Is(err, engine.ErrLeaseLost), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return problem.Unavailable("the log cannot serve now; try again", 2*time.Second)
	}
	return problem.Internal()
}
