package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/httpapi"
	"crier/internal/hub"
	"crier/internal/topic"
	"crier/internal/transport"
	"crier/internal/transport/pull"
	"crier/internal/transport/sse"
	"crier/internal/transport/websocket"
	"crier/internal/wire"
)

// world is the public API on an engine in RAM behind a real listener.
type world struct {
	t      *testing.T
	engine *faulty
	hub    *hub.Hub
	access *access.Authority
	table  *transport.Table
	url    string

	api     *httpapi.API
	metrics *prometheus.Registry
}

type options struct {
	origins []string
	rate    float64
	perAddr int
	most    int           // requests at a time
	body    time.Duration // in which a body has to come
	head    time.Duration // in which a head has to come
	idle    time.Duration // between two requests
	fast    bool          // publishers are served by a loop
	starts  bool          // the log can be appended to without waiting

	registry bool // the registry can be away
	keyCache int  // keys that are remembered; 0: the default

	log io.Writer // nil: nothing is logged
}

func start(t *testing.T, o options) *world {
	t.Helper()
	w := &world{t: t, engine: &faulty{Engine: memory.New(memory.Config{}), starts: o.starts}}
	t.Cleanup(func() { _ = w.engine.Close() })
	if o.registry {
		w.engine.registry = &faultyRegistry{Registry: w.engine.Engine.Registry()}
	}
	origins, err := access.NewOrigins(o.origins)
	if err != nil {
		t.Fatal(err)
	}
	if w.access, err = access.New(t.Context(), access.Config{Registry: w.engine.Registry(), Origins: origins, KeyCache: o.keyCache}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.access.Close)
	if w.hub, err = hub.New(t.Context(), hub.Config{Engine: w.engine, Defaults: hub.Settings{Durability: engine.Memory}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.hub.Close() })
	w.table = transport.NewTable(o.perAddr, nil, nil)
	w.metrics = prometheus.NewRegistry()
	back := &returned{conns: make(chan net.Conn, 100), closed: make(chan struct{})}
	var loops *wire.Engine
	if o.fast {
		if loops, err = wire.New(wire.Config{}); errors.Is(err, wire.ErrUnsupported) {
			t.Skip("publishers are served by a loop on Linux only")
		} else if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = loops.Close() })
	}
	if o.log == nil {
		o.log = io.Discard
	}
	api := httpapi.New(httpapi.Config{
		Logger: slog.New(slog.NewTextHandler(o.log, nil)),

		Wire: loops, Return: func(c net.Conn) { back.conns <- c }, Idle: o.idle, Metrics: httpapi.NewMetrics(w.metrics),
		Hub: w.hub, Access: w.access, Table: w.table,
		Rate:      access.NewLimiter(o.rate, 1, time.Now),
		SSE:       sse.New(sse.Config{Hub: w.hub}),
		Pull:      pull.New(pull.Config{Hub: w.hub}),
		WebSocket: websocket.New(websocket.Config{Hub: w.hub, Problem: httpapi.ProblemOf}),
		Limits:    httpapi.Limits{Message: 1 << 20, Patterns: 64, BodyTime: o.body, Requests: o.most},
		Version:   "test",
	})
	srv := httptest.NewUnstartedServer(api)
	srv.Config.ReadHeaderTimeout = o.head
	srv.Config.ConnContext = httpapi.ConnContext
	srv.Start()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Config.Serve(back)
	}()
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		_ = back.Close()
		<-served
	})
	w.api, w.url = api, srv.URL
	return w
}

// returned is the listener by which connections come back to net/http.
type returned struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (r *returned) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

func (r *returned) Close() error {
	r.once.Do(func() { close(r.closed) })
	return nil
}

func (r *returned) Addr() net.Addr { return &net.TCPAddr{} }

// key closes the server with a key and returns its secret.
func (w *world) key(spec access.KeySpec) string {
	w.t.Helper()
	_, secret, err := w.access.Keys().Create(w.t.Context(), spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

func patterns(t *testing.T, list ...string) []topic.Pattern {
	t.Helper()
	var all []topic.Pattern
	for _, s := range list {
		p, err := topic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// answer is a response read whole.
type answer struct {
	status int
	header http.Header
	body   string
}

// do makes a request; headers are "Name: value".
func (w *world) do(method, path, body string, headers ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body == "" {
		req.Body = http.NoBody
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func (a answer) want(t *testing.T, status int, parts ...string) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Fatalf("body has no %q: %s", p, a.body)
		}
	}
	if status >= 400 && a.body != "" && a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("a refusal of type %q", a.header.Get("Content-Type"))
	}
}

// page is what GET answers with Accept: application/json.
type page struct {
	Messages []struct {
		ID, Topic, Time, Type, ContentType, Encoding string
		Data                                         json.RawMessage
	}
	Next string
	Gap  *struct{ After, Resumed, Reason string }
}

func (w *world) page(path string, headers ...string) page {
	w.t.Helper()
	a := w.do("GET", path, "", headers...)
	a.want(w.t, 200)
	var p page
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		w.t.Fatalf("%v: %s", err, a.body)
	}
	return p
}

func (w *world) publish(path, data string, headers ...string) string {
	w.t.Helper()
	a := w.do("POST", path, data, headers...)
	a.want(w.t, 201)
	var r struct{ ID string }
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

func TestPaths(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct {
		path   string
		status int
		says   string
	}{
		{"/t/main/a", 201, `"topic":"a"`},
		{"/t/main/a/b", 201, `"topic":"a/b"`},
		{"/t/main/a+b", 201, `"topic":"a+b"`},
		{"/t/main/a%20b", 201, `"topic":"a b"`},
		{"/t/main/gr%C3%BCn", 201, `"topic":"grün"`},
		{"/t/main/%22", 201, `"topic":"\""`},
		{"/t/main/a%2Fb", 400, "slash"},
		{"/t/main/a/", 400, "empty"},
		{"/t/main//a", 400, "empty"},
		{"/t/main/a//b", 400, "empty"},
		{"/t/main/.", 400, `\".\"`},
		{"/t/main/a/../b", 400, ".."},
		{"/t/main/%2E%2E", 400, ".."},
		{"/t/main/a%00b", 400, "control"},
		{"/t/main/a%0Ab", 400, "control"},
		{"/t/main/%2A", 400, "*"},
		{"/t/main/a*b", 400, "*"},
		{"/t/main/%FF", 400, "UTF-8"},
		{"/t/main/" + strings.Repeat("x", 513), 400, "512"},
		{"/t/main/" + strings.Repeat("a/", 16) + "a", 400, "16"},
		{"/t/main", 400, "empty"},
		{"/t/ma%20in/a", 400, "domain"},
		{"/t/" + strings.Repeat("d", 65) + "/a", 400, "64"},
		{"/t/other/a", 404, "domain"},
		{"/nothing", 404, ""},
		{"/t", 404, ""},
	} {
		t.Run(tt.path[:min(len(tt.path), 40)], func(t *testing.T) {
			w.do("POST", tt.path, "x").want(t, tt.status, tt.says)
		})
	}
}

// TestMalformedQuery: what cannot be read is refused, whatever the method; a
// pattern in it that was dropped would have changed the answer.
func TestMalformedQuery(t *testing.T) {
	w := start(t, options{})
	bearer := "Authorization: Bearer " + w.key(access.KeySpec{Domain: "main", Name: "all", Publish: patterns(t, "**"), Subscribe: patterns(t, "**"), Manage: patterns(t, "**")})
	for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
		for _, query := range []string{"topic=%zz", "topic=b&topic=c%", "a;b"} {
			a := w.do(method, "/t/main/a?"+query, "", bearer)
			says := "query"
			if method == "HEAD" {
				says = "" // a HEAD has no body to say it in
			}
			a.want(t, 400, says)
			if got := a.header.Get("Content-Type"); got != "application/problem+json" {
				t.Errorf("%s ?%s: Content-Type %q", method, query, got)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	w := start(t, options{rate: 0.001, perAddr: 1})
	w.publish("/t/main/a", "1")
	a := w.do("POST", "/t/main/a", "2")
	a.want(t, 429, "too-many", "0.001 publishes a second", "--publish-rate", "Retry-After")
	if a.header.Get("Retry-After") == "" {
		t.Fatal("429 without Retry-After")
	}
	s := w.stream("/t/main/a")
	w.do("GET", "/t/main/a", "").want(t, 429, "limit of 1", "--max-connections-per-address", "close")
	again := w.stream("/t/main/a")
	if _, event, _ := again.event(); event != "crier-restart" || again.resp.StatusCode != 200 {
		t.Fatalf("one too many EventSources got %d, %s", again.resp.StatusCode, event)
	}
	_ = s.resp.Body.Close()
	w.until(func() bool { return w.table.Len() == 0 })
	w.do("GET", "/t/main/a", "").want(t, 200)
}

func TestEngineAway(t *testing.T) {
	w := start(t, options{})
	s := w.stream("/t/main/a")
	w.engine.away.Store(true)
	a := w.do("POST", "/t/main/a", "x")
	a.want(t, 503, "unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Fatal("503 without Retry-After")
	}
	w.do("GET", "/t/main/a", "").want(t, 503)
	again := w.stream("/t/main/a")
	if _, event, _ := again.event(); event != "crier-restart" || again.resp.StatusCode != 200 {
		t.Fatalf("an EventSource got %d, %s", again.resp.StatusCode, event)
	}
	w.engine.away.Store(false)
	w.publish("/t/main/a", "back")
	if _, _, data := s.event(); data != "back" {
		t.Fatalf("who stayed got %q", data)
	}
}

// TestOutcomeUnknown: what may be stored is not said to be refused, and is
// stored once if it comes again under its key.
func TestOutcomeUnknown(t *testing.T) {
	w := start(t, options{})
	s := w.stream("/t/main/a")
	w.engine.lost.Store(true)
	w.do("POST", "/t/main/a", "x", "Idempotency-Key: 1").want(t, 504, "unknown-outcome")
	w.engine.lost.Store(false)
	w.do("POST", "/t/main/a", "x", "Idempotency-Key: 1").want(t, 201)
	w.publish("/t/main/a", "y")
	for _, want := range []string{"x", "y"} {
		if _, _, data := s.event(); data != want {
			t.Errorf("got %q, want %q", data, want)
		}
	}
}

func TestFrontPage(t *testing.T) {
	w := start(t, options{})
	a := w.do("GET", "/", "")
	a.want(t, 200, "curl", w.url)
	if !bytes.Contains([]byte(a.header.Get("Content-Type")), []byte("text/html")) {
		t.Fatal(a.header)
	}
}

// TestRawBytesInPath: bytes beyond ASCII that came as they are do not make a
// segment of an encoded slash in the same path.
func TestRawBytesInPath(t *testing.T) {
	w := start(t, options{})
	for path, want := range map[string]string{
		"/t/main/gr\xc3\xbcn":       `201 Created`,
		"/t/main/gr\xc3\xbcn%2Fb":   `400 Bad Request`,
		"/t/main/a%2Fb/\"":          `400 Bad Request`,
		"/t%2Fmain/gr\xc3\xbcn":     `404 Not Found`,
		"/t/main%2Fa/gr\xc3\xbcn/b": `400 Bad Request`,
	} {
		got := w.talk().say(raw("x", "POST "+path+" HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1"))
		if !strings.HasPrefix(got, "HTTP/1.1 "+want) {
			t.Errorf("%q is answered %s", path, got)
		}
	}
}
