package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"crier/internal/engine"
)

// CheckTimeout bounds a check; checkFresh is how long its outcome is taken
// for the present, so that asking often costs nothing. Together they keep
// /readyz from being wrong for longer than 3 seconds.
const (
	CheckTimeout = 2 * time.Second
	checkFresh   = time.Second
)

// outcome of a check. Its error may have paths or addresses in it and is for
// the log and for who has a token.
type outcome struct {
	name string
	err  error
}

// readiness asks the checks, all of them side by side, at most one round at a
// time and no more often than every checkFresh.
type readiness struct {
	cfg     Config
	life    context.Context // ends with Admin
	running *sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	flight *flight    // the newest round; nil: none yet
	was    bool       // the last round was all well, or there was none
}

// flight is one round of checks.
type flight struct {
	done     chan struct{} // closed when the fields below are set
	outcomes []outcome
	at       time.Time
}

func newReadiness(life context.Context, running *sync.WaitGroup, cfg Config) *readiness {
	return &readiness{cfg: cfg, life: life, running: running, was: true}
}

// look gives the state and the outcome of each check, fresh enough. What is
// not known in time is not well. ctx is who asks; a round goes on without it.
func (r *readiness) look(ctx context.Context) (State, []outcome, bool) {
	f := r.round()
	late := time.NewTimer(CheckTimeout + checkFresh/2) // a check that does not obey its context
	defer late.Stop()
	var outcomes []outcome
	select {
	case <-f.done:
		outcomes = f.outcomes
	case <-late.C:
		outcomes = r.unknown(context.DeadlineExceeded)
	case <-ctx.Done():
		outcomes = r.unknown(ctx.Err())
	}
	state := r.cfg.State()
	ready := state == Listening && !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.err != nil })
	return state, outcomes, ready
}

func (r *readiness) unknown(err error) []outcome {
	outcomes := make([]outcome, len(r.cfg.Checks))
	for i, c := range r.cfg.Checks {
		outcomes[i] = outcome{c.Name, err}
	}
	return outcomes
}

// round gives the round under way or one that is still fresh, else begins one.
func (r *readiness) round() *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flight != nil {
		select {
		case <-r.flight.done:
			if age := r.cfg.Now().Sub(r.flight.at); 0 <= age && age < checkFresh {
				return r.flight
			}
		default:
			return r.flight
		}
	}
	f := &flight{done: make(chan struct{}), outcomes: r.unknown(nil)}
	r.flight = f
	if r.life.Err() != nil {
		f.outcomes = r.unknown(engine.ErrClosed)
		close(f.done)
		return f
	}
	r.running.Go(func() { r.run(f) })
	return f
}

// fence returns once no round can begin any more, if life has ended.
func (r *readiness) fence() {
	r.mu.Lock()
	defer r.mu.Unlock()
}

func (r *readiness) run(f *flight) {
	ctx, cancel := context.WithTimeout(r.life, CheckTimeout)
	defer cancel()
	var all sync.WaitGroup
	for i, c := range r.cfg.Checks {
		all.Go(func() { f.outcomes[i].err = c.Do(ctx) })
	}
	all.Wait()
	f.at = r.cfg.Now()
	r.tell(f.outcomes)
	close(f.done)
}

// tell logs when a round is well and the one before was not, or the reverse.
func (r *readiness) tell(outcomes []outcome) {
	if r.life.Err() != nil {
		return
	}
	var failed []error
	for _, o := range outcomes {
		if o.err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", o.name, o.err))
		}
	}
	r.mu.Lock()
	was := r.was
	r.was = len(failed) == 0
	r.mu.Unlock()
	switch {
	case was && len(failed) > 0:
		r.cfg.Logger.Warn("not ready", "error", errors.Join(failed...))
	case !was && len(failed) == 0:
		r.cfg.Logger.Log(r.life, slog.LevelInfo, "ready again")
	}
}

// reason says in words that give nothing away why a check is not well.
func reason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within " + CheckTimeout.String()
	case errors.Is(err, engine.ErrClosed):
		return "closed"
	case errors.Is(err, syscall.ENOSPC):
		return "no space left on the device of the data"
	case errors.Is(err, engine.ErrUnavailable):
		return "unavailable"
	}
	return "failed"
}

// readyView is the body of /readyz.
type readyView struct {
	Ready  bool        `json:"ready"`
	State  State       `json:"state"`
	Checks []checkView `json:"checks"`
}

type checkView struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// readyz is 200 if the server listens and every check is well, else 503.
func (a *Admin) readyz(w http.ResponseWriter, r *http.Request) {
	state, outcomes, ready := a.ready.look(r.Context())
	view := readyView{Ready: ready, State: state, Checks: make([]checkView, len(outcomes))}
	for i, o := range outcomes {
		view.Checks[i] = checkView{o.name, o.err == nil, reason(o.err)}
	}
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	if err := writeJSON(w, r, status, view); err != nil {
		a.fail(w, r, err)
	}
}

// livez is 200 for as long as the process serves at all.
func (a *Admin) livez(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("ok\n"))
}
