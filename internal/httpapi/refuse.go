package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/transport/websocket"
)

// refuse answers with a problem, and counts it.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	a.Metrics.Refusals.WithLabelValues(method(r.Method), strconv.Itoa(p.Status)).Inc()
	if r.ContentLength != 0 && p.Status != http.StatusRequestTimeout {
		hurry(w, a.Limits.BodyTime) // net/http reads on, and would wait for ever
	}
	problem.Write(w, r, p)
}

// refuseListener is refuse, but for an EventSource that cannot be served now:
// it gives up for good at any status but 200, so it is asked to come back.
func (a *API) refuseListener(w http.ResponseWriter, r *http.Request, p *problem.Problem) {
	if p.Status == http.StatusServiceUnavailable && wantsStream(r) {
		a.SSE.Restart(w, r)
		return
	}
	a.refuse(w, r, p)
}

// wantsStream reports whether a request is an EventSource's.
func wantsStream(r *http.Request) bool {
	return r.Method == http.MethodGet && !websocket.IsUpgrade(r) && negotiate(r.Header.Values("Accept")) == asSSE
}

// method bounds what a metric's label can be.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPut, http.MethodPatch:
		return m
	}
	return "other"
}

// denied maps what access refuses to a problem.
func (a *API) denied(err error) *problem.Problem {
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		a.Logger.Error("access failed", "error", err)
		return problem.Internal()
	}
	a.Metrics.Refused.WithLabelValues(string(refusal.Reason)).Inc()
	switch refusal.Status() {
	case http.StatusUnauthorized:
		return problem.Unauthenticated(refusal.Detail, refusal.Challenge())
	case http.StatusServiceUnavailable:
		return problem.Unavailable(refusal.Detail, 2*time.Second)
	}
	p := problem.Forbidden(refusal.Detail)
	p.Challenge = refusal.Challenge()
	return p
}

// wrongField is an error of one header or parameter.
type wrongField struct{ name, detail string }

func (w *wrongField) Error() string { return w.detail }

func wrong(name, format string, args ...any) error {
	return &wrongField{name, fmt.Sprintf(format, args...)}
}

// badRequest refuses what cannot be read, and names the field if it is one.
func badRequest(err error) *problem.Problem {
	p := problem.BadRequest(err.Error())
	if w, ok := errors.AsType[*wrongField](err); ok {
		p.Field = w.name
	}
	return p
}

// badQuery refuses a query that cannot be read; nil is no problem.
func badQuery(err error) *problem.Problem {
	if err == nil {
		return nil
	}
	return problem.BadRequest("the query cannot be read: " + err.Error())
}

// ProblemOf maps errors of hub and engine to what a client is told.
func ProblemOf(err error) *problem.Problem {
	if many, ok := errors.AsType[*transport.TooManyError](err); ok {
		return problem.TooMany(many.Error(), 30*time.Second)
	}
	switch {
	case errors.Is(err, hub.ErrNoDomain):
		return problem.NotFound("there is no such domain; crier domain create makes one")
	case errors.Is(err, engine.ErrKeyReused):
		return problem.KeyReused("Idempotency-Key was used within the last ten minutes with another body; choose a new key")
	case errors.Is(err, hub.ErrKeyInFlight):
		return problem.KeyInFlight("a publish with this Idempotency-Key is under way; ask again for its answer")
	case errors.Is(err, engine.ErrTooManyKeys):
		return problem.TooMany("too many idempotency keys within ten minutes; publish without one, or later", time.Minute)
	case errors.Is(err, transport.ErrDraining):
		return problem.Unavailable("the server stops; try again", 5*time.Second)
	case errors.Is(err, engine.ErrUnknown):
		return problem.UnknownOutcome("the log went away meanwhile, and what was published may be stored or not; try again with the same Idempotency-Key")
	}
	return problem.Unavailable("the log cannot serve now; what was not acknowledged may not be stored, try again with the same Idempotency-Key", 2*time.Second)
}

// failed is ProblemOf with what the operator should know.
func (a *API) failed(err error) *problem.Problem {
	p := ProblemOf(err)
	if p.Status >= http.StatusServiceUnavailable && !errors.Is(err, context.Canceled) {
		a.Metrics.Refused.WithLabelValues("away").Inc()
		a.Logger.Warn("refused: cannot serve", "error", err)
	}
	return p
}
