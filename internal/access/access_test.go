package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/topic"
)

// registry is one in memory whose calls are counted, and can fail; a deaf one
// loses every ring.
type registry struct {
	engine.Registry
	deaf              bool
	failing           atomic.Bool
	gets, lists, puts atomic.Int64
}

func newRegistry() *registry { return &registry{Registry: memory.NewRegistry(time.Now)} }

var errAway = fmt.Errorf("%w: test", engine.ErrUnavailable)

func (r *registry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	r.gets.Add(1)
	if r.failing.Load() {
		return engine.Entry{}, errAway
	}
	return r.Registry.Get(ctx, kind, name)
}

func (r *registry) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	r.lists.Add(1)
	if r.failing.Load() {
		return nil, errAway
	}
	return r.Registry.List(ctx, kind, after, limit)
}

func (r *registry) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	r.puts.Add(1)
	if r.failing.Load() {
		return 0, errAway
	}
	return r.Registry.Put(ctx, kind, name, value, expect, fence)
}

func (r *registry) Watch(kind string, fn func()) func() {
	if r.deaf {
		return func() {}
	}
	return r.Registry.Watch(kind, fn)
}

// start makes an authority that is closed when the test ends. In a bubble of
// synctest it must be closed before, which may be done twice.
func start(t testing.TB, cfg access.Config) *access.Authority {
	t.Helper()
	if cfg.Registry == nil {
		cfg.Registry = newRegistry()
	}
	a, err := access.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func patterns(t testing.TB, list ...string) []topic.Pattern {
	t.Helper()
	var ps []topic.Pattern
	for _, s := range list {
		p, err := topic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
	return ps
}

func createKey(t testing.TB, reg engine.Registry, spec access.KeySpec) (access.Key, string) {
	t.Helper()
	if spec.Domain == "" {
		spec.Domain = "main"
	}
	if spec.Publish == nil && spec.Subscribe == nil && spec.Manage == nil {
		spec.Subscribe = patterns(t, "news/**")
	}
	key, secret, err := access.CreateKey(t.Context(), reg, spec)
	if err != nil {
		t.Fatal(err)
	}
	return key, secret
}

// request is one as a client on this machine sends it; headers in pairs.
func request(token string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8080/t/main/news", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

// wantRefusal checks status, reason and a part of the detail.
func wantRefusal(t testing.TB, err error, status int, reason access.Reason, part string) {
	t.Helper()
	var refusal *access.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("error %v, want a refusal %s", err, reason)
		return
	}
	kind := map[int]error{401: access.ErrUnauthenticated, 403: access.ErrForbidden, 503: access.ErrUnavailable}[status]
	if refusal.Status() != status || refusal.Reason != reason || !errors.Is(err, kind) || !strings.Contains(err.Error(), part) {
		t.Errorf("refusal %d %s: %s; want %d %s with %q", refusal.Status(), refusal.Reason, err, status, reason, part)
	}
}

func mustBe(t testing.TB, a *access.Authority, r *http.Request, kind access.Kind) *access.Identity {
	t.Helper()
	id, err := a.Authenticate(r)
	if err != nil {
		t.Fatalf("refused: %v", err)
	}
	if id.Kind != kind {
		t.Fatalf("identity %v, want kind %s", id, kind)
	}
	return id
}

// endOf gives the cause with which an identity ends.
func endOf(id *access.Identity) <-chan error {
	c := make(chan error, 1)
	id.OnEnd(func(cause error) { c <- cause })
	return c
}
