package admin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/admin"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/dialect/qri/notice"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/transport"
)

const operator = "the-operators-own-token"

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// faulty is an engine that can be told to fail.
type faulty struct {
	*memory.Engine
	err atomic.Pointer[error]
}

func (f *faulty) fail(err error) { f.err.Store(&err) }

func (f *faulty) error() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *faulty) Ping(ctx context.Context) error {
	if err := f.error(); err != nil {
		return err
	}
	return f.Engine.Ping(ctx)
}

func (f *faulty) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := f.Engine.Log(ctx, domain, d)
	return &faultyLog{l, f}, err
}

func (f *faulty) Registry() engine.Registry { return &faultyRegistry{f.Engine.Registry(), f} }

type faultyLog struct {
	engine.Log
	f *faulty
}

func (l *faultyLog) State(ctx context.Context) (engine.State, error) {
	if err := l.f.error(); err != nil {
		return engine.State{}, err
	}
	return l.Log.State(ctx)
}

type faultyRegistry struct {
	engine.Registry
	f *faulty
}

func (r *faultyRegistry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if err := r.f.error(); err != nil {
		return engine.Entry{}, err
	}
	return r.Registry.Get(ctx, kind, name)
}

// rig is a whole server but for its listeners.
type rig struct {
	t      *testing.T
	doc    *document
	clock  *clock
	engine *faulty
	hub    *hub.Hub
	access *access.Authority
	table  *transport.Table
	state  *atomic.Pointer[admin.State]
	reg    *prometheus.Registry
	log    *lockedBuffer
	admin  *admin.Admin
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newRig makes a rig that listens. change may change how the listener is
// configured.
func newRig(t *testing.T, change ...func(*admin.Config)) *rig {
	t.Helper()
	r := &rig{t: t, doc: readDocument(t), clock: &clock{at: time.Now().Truncate(time.Second)}, reg: prometheus.NewRegistry(), log: &lockedBuffer{}, state: &atomic.Pointer[admin.State]{}}
	r.engine = &faulty{Engine: memory.New(memory.Config{Now: r.clock.now})}
	t.Cleanup(func() { _ = r.engine.Close() })
	var err error
	r.hub, err = hub.New(t.Context(), hub.Config{Engine: r.engine, Now: r.clock.now, Defaults: hub.Settings{Durability: engine.Memory}, Metrics: hub.NewMetrics(r.reg)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.hub.Close() })
	token, err := access.NewOperatorToken(operator)
	if err != nil {
		t.Fatal(err)
	}
	r.access, err = access.New(t.Context(), access.Config{Registry: r.engine.Registry(), Operator: token, Now: r.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.access.Close)
	r.table = transport.NewTable(0, r.clock.now, transport.NewMetrics(r.reg))
	r.setState(admin.Listening)
	admin.RegisterProcess(r.reg, "v1.2.3")
	cfg := admin.Config{
		Hub: r.hub, Access: r.access, Operator: token, Table: r.table, State: func() admin.State { return *r.state.Load() },
		Apps:     &account.Accounts{Kind: account.App, Registry: r.engine.Registry(), Now: r.clock.now},
		Clients:  &account.Accounts{Kind: account.Client, Registry: r.engine.Registry(), Now: r.clock.now},
		Gatherer: r.reg, Registerer: r.reg, Metrics: admin.NewMetrics(r.reg), Now: r.clock.now, Version: "v1.2.3",
		Logger: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	main, err := r.hub.Domain(hub.Main)
	if err != nil {
		t.Fatal(err)
	}
	cfg.PubSub = &keys.Registry{Registry: r.engine.Registry(), Now: r.clock.now}
	if cfg.Notices, err = notice.Open(t.Context(), notice.Config{Registry: r.engine.Registry(), Domain: main, Now: r.clock.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cfg.Notices.Close)
	for _, c := range change {
		c(&cfg)
	}
	if r.admin, err = admin.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.admin.Close)
	return r
}

// on is the same rig for a subtest.
func (r *rig) on(t *testing.T) *rig {
	c := *r
	c.t = t
	return &c
}

func (r *rig) setState(s admin.State) { r.state.Store(&s) }

// answer is a response that was held to the document.
type answer struct {
	t      *testing.T
	Code   int
	Header http.Header
	Body   string
}

// as sends a request with a token, and header lines as name, value, ….
func (r *rig) as(token, method, target, body string, header ...string) *answer {
	r.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req := httptest.NewRequestWithContext(r.t.Context(), method, target, reader)
	req.RemoteAddr = "192.0.2.1:1234"
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "RemoteAddr" {
			req.RemoteAddr = header[i+1]
			continue
		}
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.admin.ServeHTTP(w, req)
	a := &answer{r.t, w.Code, w.Header(), w.Body.String()}
	if path, ok := r.documentedPath(method, req.URL.Path); ok {
		r.doc.check(r.t, method, path, w.Code, w.Header().Get("Content-Type"), w.Body.Bytes())
	}
	return a
}

// documentedPath finds the path in the document that a request was for.
func (r *rig) documentedPath(method, path string) (string, bool) {
	for _, rt := range r.admin.Routes() {
		if rt.Method != method {
			continue
		}
		want, have := strings.Split(rt.Path, "/"), strings.Split(path, "/")
		same := len(have) >= len(want)
		for i := 0; same && i < len(want); i++ {
			same = strings.HasPrefix(want[i], "{") && have[i] != "" || want[i] == have[i]
		}
		if same && (len(have) == len(want) || strings.HasSuffix(rt.Path, "...}")) {
			return documented(rt.Path), true
		}
	}
	return "", false
}

func (r *rig) get(target string) *answer         { return r.as(operator, "GET", target, "") }
func (r *rig) post(target, body string) *answer  { return r.as(operator, "POST", target, body) }
func (r *rig) patch(target, body string) *answer { return r.as(operator, "PATCH", target, body) }
func (r *rig) delete(target string) *answer      { return r.as(operator, "DELETE", target, "") }
func (a *answer) location() string               { return a.Header.Get("Location") }
func decode[T any](a *answer, code int) (v T)    { a.t.Helper(); a.into(code, &v); return v }

func joined[T any](list []T, name func(T) string) string {
	texts := make([]string, len(list))
	for i, x := range list {
		texts[i] = name(x)
	}
	return strings.Join(texts, " ")
}

func (a *answer) into(code int, v any) {
	a.t.Helper()
	a.want(code)
	if err := json.Unmarshal([]byte(a.Body), v); err != nil {
		a.t.Fatalf("%v: %s", err, a.Body)
	}
}

func (a *answer) want(code int) {
	a.t.Helper()
	if a.Code != code {
		a.t.Fatalf("answer is %d, want %d: %s", a.Code, code, a.Body)
	}
}

// refused wants a problem document whose detail has some text, about a field.
func (a *answer) refused(code int, typ, field, detail string) {
	a.t.Helper()
	a.want(code)
	var p struct{ Type, Detail, Field string }
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		a.t.Fatalf("%v: %s", err, a.Body)
	}
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Errorf("Content-Type is %s", got)
	}
	if p.Type != "urn:crier:problem:"+typ || p.Field != field || !strings.Contains(p.Detail, detail) || p.Detail == "" {
		a.t.Errorf("got %+v, want type %s, field %q, detail with %q", p, typ, field, detail)
	}
}

// key makes a key without the API under test.
func (r *rig) key(spec access.KeySpec) (access.Key, string) {
	r.t.Helper()
	key, secret, err := r.access.Keys().Create(r.t.Context(), spec)
	if err != nil {
		r.t.Fatal(err)
	}
	return key, secret
}

// manager is a key that manages patterns of a domain.
func (r *rig) manager(domain string, patterns ...string) string {
	r.t.Helper()
	_, secret := r.key(access.KeySpec{Domain: domain, Manage: r.patterns(patterns...)})
	return secret
}

func (r *rig) patterns(texts ...string) []topic.Pattern {
	r.t.Helper()
	ps := make([]topic.Pattern, len(texts))
	for i, s := range texts {
		p, err := topic.ParsePattern(s)
		if err != nil {
			r.t.Fatal(err)
		}
		ps[i] = p
	}
	return ps
}

// publish says something on topics of a domain.
func (r *rig) publish(domain string, topics ...string) {
	r.t.Helper()
	d, err := r.hub.Domain(domain)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range topics {
		if _, err := d.Publish(r.t.Context(), engine.Block{Drafts: []message.Draft{{Topic: name, Data: []byte("x")}}}); err != nil {
			r.t.Fatal(err)
		}
	}
}

// settle publishes on a topic and returns once subscriptions were told of it,
// and so of all before it.
func (r *rig) settle(domain, name string) {
	r.t.Helper()
	d, err := r.hub.Domain(domain)
	if err != nil {
		r.t.Fatal(err)
	}
	woken := hub.NewSignal()
	sub, err := d.Subscribe(r.t.Context(), hub.Options{Filter: topic.NewFilter(r.patterns(name)...), Waker: woken})
	if err != nil {
		r.t.Fatal(err)
	}
	defer sub.Close()
	r.publish(domain, name)
	<-woken
}

// connect opens a connection that listens to patterns, if there are any.
func (r *rig) connect(kind, domain string, patterns ...string) *transport.Conn {
	r.t.Helper()
	conn, err := r.table.Open(r.t.Context(), transport.Info{Transport: kind, Domain: domain, Name: "somebody", Remote: netip.MustParseAddr("198.51.100.7")})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(conn.Close)
	if len(patterns) == 0 {
		return conn
	}
	d, err := r.hub.Domain(domain)
	if err != nil {
		r.t.Fatal(err)
	}
	sub, err := d.Subscribe(r.t.Context(), hub.Options{Filter: topic.NewFilter(r.patterns(patterns...)...), Start: message.Earliest(), Waker: hub.NewSignal()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sub.Close)
	conn.Track("", sub)
	return conn
}

var errEngineAway = errors.Join(engine.ErrUnavailable, errors.New("disk full at /secret/path"))
