package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"crier/internal/problem"
)

// seat is a request's part of what may be answered at a time. Listeners leave
// it when they are entered in the table: from there on they are only
// connections.
type seat struct {
	api  *API
	left bool
}

// sit takes a seat; nil: there is none.
func (a *API) sit() *seat {
	if n := a.underWay.Add(1); a.Limits.Requests > 0 && n > int64(a.Limits.Requests) {
		a.underWay.Add(-1)
		return nil
	}
	return &seat{api: a}
}

// leave gives the seat to others; twice is no harm, nor is it for nil.
func (s *seat) leave() {
	if s != nil && !s.left {
		s.left = true
		s.api.underWay.Add(-1)
	}
}

// busy answers a request that found no seat.
func (a *API) busy(w http.ResponseWriter, r *http.Request) {
	a.Metrics.Refused.WithLabelValues("busy").Inc()
	if wantsStream(r) {
		a.SSE.Restart(w, r)
		return
	}
	a.refuse(w, r, problem.Unavailable(fmt.Sprintf("more requests at once than the limit of %d; try again", a.Limits.Requests), time.Second))
}
