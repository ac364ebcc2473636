package admin

import (
	"net/http"
	"runtime"
	"time"
)

// statusView is the body of GET /v1/status.
type statusView struct {
	State         State       `json:"state"`
	Ready         bool        `json:"ready"`
	Checks        []checkView `json:"checks"`
	Access        string      `json:"access"` // open or closed
	Version       string      `json:"version"`
	Go            string      `json:"go"`
	Started       time.Time   `json:"started"`
	UptimeSeconds int64       `json:"uptimeSeconds"`
	Domains       int         `json:"domains"`
	Connections   int         `json:"connections"`
	Subscriptions int         `json:"subscriptions"`
}

// getStatus tells how the server is, to the operator also in the words of the
// engine.
func (a *Admin) getStatus(c *call) error {
	if err := c.who.operatorOnly("see the server's status"); err != nil {
		return err
	}
	state, outcomes, ready := a.ready.look(c.Context())
	view := statusView{
		State: state, Ready: ready, Checks: make([]checkView, len(outcomes)),
		Access: "closed", Version: a.Version, Go: runtime.Version(),
		Started: a.started.UTC(), UptimeSeconds: int64(a.Now().Sub(a.started) / time.Second),
		Connections: a.Table.Len(),
	}
	for i, o := range outcomes {
		view.Checks[i] = checkView{Name: o.name, OK: o.err == nil}
		if o.err != nil {
			view.Checks[i].Reason = clip(o.err.Error(), 500)
		}
	}
	if a.Access.Open() {
		view.Access = "open"
	}
	for _, d := range a.Hub.Domains() {
		view.Domains++
		view.Subscriptions += d.Subscriptions()
	}
	return c.answer(http.StatusOK, view)
}
