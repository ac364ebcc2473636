package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/problem"
)

// answer sends v as JSON.
func (c *call) answer(status int, v any) error {
	return writeJSON(c.w, c.Request, status, v)
}

// noContent says that it was done.
func (c *call) noContent() error {
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func writeJSON(w http.ResponseWriter, r *http.Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // a client that is gone is nobody to tell
	}
	return nil
}

// comeBack is the Retry-After of a 503.
const comeBack = 2 * time.Second

// fail answers with an error that nothing was said of yet.
func (a *Admin) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.Status >= http.StatusInternalServerError {
		level := slog.LevelWarn
		if p.Type == problem.TypeInternal {
			level = slog.LevelError
		}
		a.Logger.Log(r.Context(), level, "operator's listener: not done", "method", r.Method, "route", r.Pattern, "error", err)
	}
	problem.Write(w, r, p)
}

// problemOf maps errors of hub, engine and access.
func problemOf(err error) *problem.Problem {
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
		return problem.Unavailable(refusal.Detail, comeBack)
	}
	switch {
	case errors.Is(err, hub.ErrNoDomain):
		return problem.NotFound("there is no such domain; POST /v1/domains makes one")
	case errors.Is(err, engine.ErrNotFound):
		return problem.NotFound("there is nothing of this name (any more)")
	case errors.Is(err, engine.ErrConflict):
		return problem.Conflict("it was changed meanwhile; look again, and repeat it if it is still right")
	case errors.Is(err, engine.ErrDurability):
		return problem.NotSupported("durability: the engine of this server cannot hold it, or not change to it while there is history (fsync and async can be exchanged, memory is for a domain's whole life)").On("durability")
	case errors.Is(err, engine.ErrUnavailable), errors.Is(err, engine.ErrClosed), errors.Is(err, hub.ErrClosed):
		return problem.Unavailable("the engine cannot serve now; try again", comeBack)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem.Unavailable("it took too long; look whether it was done, and try again", comeBack)
	}
	return problem.Internal()
}
