package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/admin"
	"crier/internal/engine"
)

type readyBody struct {
	Ready  bool
	State  string
	Checks []struct {
		Name, Reason string
		OK           bool
	}
}

func TestReady(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  admin.State
		err    error
		ready  bool
		reason string // of the engine
	}{
		{"listening", admin.Listening, nil, true, ""},
		{"starting", admin.Starting, nil, false, ""},
		{"draining", admin.Draining, nil, false, ""},
		{"closed", admin.Closed, nil, false, ""},
		{"disk full", admin.Listening, fmt.Errorf("%w: %w", engine.ErrUnavailable, &fs.PathError{Op: "write", Path: "/secret/path", Err: syscall.ENOSPC}), false, "no space left on the device of the data"},
		{"engine away", admin.Listening, errEngineAway, false, "unavailable"},
		{"engine closed", admin.Listening, engine.ErrClosed, false, "closed"},
		{"engine odd", admin.Listening, errors.New("password=hunter2"), false, "failed"},
		{"no answer", admin.Listening, context.DeadlineExceeded, false, "no answer within 2s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			r.setState(tt.state)
			if tt.err != nil {
				r.engine.fail(tt.err)
			}
			code := http.StatusOK
			if !tt.ready {
				code = http.StatusServiceUnavailable
			}
			a := r.as("", "GET", "/readyz", "")
			body := decode[readyBody](a, code)
			if body.Ready != tt.ready || body.State != string(tt.state) || len(body.Checks) != 1 {
				t.Fatalf("got %+v", body)
			}
			if c := body.Checks[0]; c.Name != "engine" || c.OK != (tt.err == nil) || c.Reason != tt.reason {
				t.Errorf("got %+v", c)
			}
			if strings.Contains(a.Body, "secret") || strings.Contains(a.Body, "hunter2") {
				t.Errorf("strangers read the engine's words: %s", a.Body)
			}
			if tt.err != nil {
				if status := r.get("/v1/status").Body; !strings.Contains(status, strings.Split(tt.err.Error(), "\n")[0]) {
					t.Errorf("the operator does not read them: %s", status)
				}
				if !strings.Contains(r.log.String(), "not ready") {
					t.Error("the log does not say it")
				}
			}
			r.as("", "GET", "/livez", "").want(http.StatusOK)
		})
	}
}

// Asking often asks the engine once a second, and what it says is not older
// than that.
func TestReadyIsFreshAndCheap(t *testing.T) {
	var asked atomic.Int32
	var failing atomic.Bool
	r := newRig(t, func(c *admin.Config) {
		c.Checks = []admin.Check{{Name: "engine", Do: func(context.Context) error {
			asked.Add(1)
			if failing.Load() {
				return engine.ErrUnavailable
			}
			return nil
		}}}
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { r.as("", "GET", "/readyz", "").want(200) })
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	failing.Store(true)
	r.as("", "GET", "/readyz", "").want(200)
	r.clock.advance(admin.CheckFresh)
	r.as("", "GET", "/readyz", "").want(503)
	failing.Store(false)
	r.as("", "GET", "/readyz", "").want(503)
	r.clock.advance(admin.CheckFresh)
	r.as("", "GET", "/readyz", "").want(200)
	r.setState(admin.Draining) // is never cached
	r.as("", "GET", "/readyz", "").want(503)
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
	if log := r.log.String(); strings.Count(log, "not ready") != 1 || strings.Count(log, "ready again") != 1 {
		t.Errorf("the log is %s", log)
	}
}

// An engine that hangs is answered for in time, also one that does not obey
// its context; the one that asks may go away before.
func TestReadyInTime(t *testing.T) {
	for _, obeys := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			var asked atomic.Int32
			r := newRig(t, func(c *admin.Config) {
				c.Now = time.Now
				c.Checks = []admin.Check{
					{Name: "well", Do: func(context.Context) error { return nil }},
					{Name: "hangs", Do: func(ctx context.Context) error {
						asked.Add(1)
						if !obeys {
							<-release
							return nil
						}
						<-ctx.Done()
						return ctx.Err()
					}},
				}
			})
			began := time.Now()
			body := decode[readyBody](r.as("", "GET", "/readyz", ""), 503)
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("answered after %v", took)
			}
			if c := body.Checks[1]; c.Name != "hangs" || c.OK || c.Reason != "no answer within 2s" {
				t.Errorf("obeys %t: %+v", obeys, body)
			}
			for range 10 {
				r.as("", "GET", "/readyz", "").want(503)
			}
			if n := asked.Load(); !obeys && n != 1 {
				t.Errorf("%d checks hang at once", n)
			}
			close(release)
			synctest.Wait()
		})
	}
}

func TestReadyAfterClose(t *testing.T) {
	r := newRig(t)
	r.admin.Close()
	body := decode[readyBody](r.as("", "GET", "/readyz", ""), 503)
	if body.Ready || body.Checks[0].Reason != "closed" {
		t.Errorf("got %+v", body)
	}
	r.admin.Close()
}

func TestStatus(t *testing.T) {
	r := newRig(t)
	r.post("/v1/domains", `{"name":"other"}`).want(201)
	r.connect("sse", "main", "a", "b/*")
	r.connect("websocket", "other")
	r.clock.advance(90 * time.Second)
	type status struct {
		State, Access, Version             string
		Ready                              bool
		UptimeSeconds                      int
		Domains, Connections, Subscription int
		Subscriptions                      int
	}
	got := decode[status](r.get("/v1/status"), 200)
	want := status{State: "listening", Access: "open", Version: "v1.2.3", Ready: true, UptimeSeconds: 90, Domains: 2, Connections: 2, Subscriptions: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	manager := r.manager("main", "**") // the first key closes the server
	r.setState(admin.Draining)
	if got := decode[status](r.get("/v1/status"), 200); got.Access != "closed" || got.State != "draining" || got.Ready {
		t.Errorf("got %+v", got)
	}
	r.as(manager, "GET", "/v1/status", "").refused(403, "forbidden", "", "only the operator's token")
	if a := r.as(operator, "HEAD", "/v1/status", ""); a.Code != 200 || a.Body != "" {
		t.Errorf("HEAD: %d %q", a.Code, a.Body)
	}
}
