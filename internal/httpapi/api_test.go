package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

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
)

// world is the public API on an engine in RAM behind a real listener.
type world struct {
	t      *testing.T
	engine *faulty
	hub    *hub.Hub
	access *access.Authority
	table  *transport.Table
	url    string
}

type options struct {
	origins []string
	rate    float64
	perAddr int
	body    time.Duration // in which a body has to come
}

func start(t *testing.T, o options) *world {
	t.Helper()
	w := &world{t: t, engine: &faulty{Engine: memory.New(memory.Config{})}}
	t.Cleanup(func() { _ = w.engine.Close() })
	origins, err := access.NewOrigins(o.origins)
	if err != nil {
		t.Fatal(err)
	}
	if w.access, err = access.New(t.Context(), access.Config{Registry: w.engine.Registry(), Origins: origins}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.access.Close)
	if w.hub, err = hub.New(t.Context(), hub.Config{Engine: w.engine, Defaults: hub.Settings{Durability: engine.Memory}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.hub.Close() })
	w.table = transport.NewTable(o.perAddr, nil, nil)
	api := httpapi.New(httpapi.Config{
		Hub: w.hub, Access: w.access, Table: w.table,
		Rate:      access.NewLimiter(o.rate, 1, time.Now),
		SSE:       sse.New(sse.Config{Hub: w.hub}),
		Pull:      pull.New(pull.Config{Hub: w.hub}),
		WebSocket: websocket.New(websocket.Config{Hub: w.hub, Problem: httpapi.ProblemOf}),
		Limits:    httpapi.Limits{Message: 1 << 20, Patterns: 64, BodyTime: o.body},
		Version:   "test",
	})
	srv := httptest.NewServer(api)
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	w.url = srv.URL
	return w
}

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

func TestPublishAnswer(t *testing.T) {
	w := start(t, options{})
	a := w.do("POST", "/t/main/a%20b", "hello")
	a.want(t, 201)
	if ok, _ := regexp.MatchString(`^\{"id":"[0-9a-f]{24}","topic":"a b","time":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z","durability":"memory"\}\n$`, a.body); !ok {
		t.Fatalf("answer %s", a.body)
	}
	p := w.page(a.header.Get("Location"))
	if len(p.Messages) != 1 || string(p.Messages[0].Data) != `"hello"` || p.Messages[0].ContentType != "text/plain; charset=utf-8" {
		t.Fatalf("Location %s leads to %+v", a.header.Get("Location"), p)
	}
}

func TestKindsOfData(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct{ contentType, body, data, encoding string }{
		{"", "text", `"text"`, ""},
		{"text/html", "<b>", `"\u003cb\u003e"`, ""},
		{"application/json", `{"a": 1}`, `{"a": 1}`, ""},
		{"application/json", `{"a": `, `"{\"a\": "`, ""},
		{"application/octet-stream", "bytes", `"Ynl0ZXM="`, "base64"},
		{"image/png", "bytes", `"Ynl0ZXM="`, "base64"},
		{"text/plain", "\xff\xfe", `"//4="`, "base64"},
		{"", "", `""`, ""},
	} {
		var headers []string
		if tt.contentType != "" {
			headers = append(headers, "Content-Type: "+tt.contentType)
		}
		w.publish("/t/main/kinds", tt.body, headers...)
		m := w.page("/t/main/kinds?since=last:1").Messages[0]
		var got, want any
		_ = json.Unmarshal(m.Data, &got)
		_ = json.Unmarshal([]byte(tt.data), &want)
		if fmt.Sprint(got) != fmt.Sprint(want) || m.Encoding != tt.encoding {
			t.Errorf("%q as %s: data %s, encoding %q; want %s, %q", tt.body, tt.contentType, m.Data, m.Encoding, tt.data, tt.encoding)
		}
	}
}

func TestPublishRefusals(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct {
		name, path, body string
		headers          []string
		status           int
		says             string
	}{
		{"type too long", "/t/main/a", "x", []string{"Crier-Type: " + strings.Repeat("t", 65)}, 400, "64"},
		{"type error", "/t/main/a", "x", []string{"Crier-Type: error"}, 400, "Crier-Type"},
		{"type crier-", "/t/main/a", "x", []string{"Crier-Type: crier-gap"}, 400, "reserved"},
		{"ttl zero", "/t/main/a", "x", []string{"Crier-TTL: 0"}, 400, "Crier-TTL"},
		{"ttl words", "/t/main/a", "x", []string{"Crier-TTL: soon"}, 400, "Crier-TTL"},
		{"too big", "/t/main/a", strings.Repeat("x", 1<<20+1), nil, 413, "1048576"},
		{"key too long", "/t/main/a", "x", []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, 400, "255"},
		{"batch of another type", "/t/main/a?batch", "1\n2", nil, 415, "x-ndjson"},
		{"batch not JSON", "/t/main/a?batch", "1\nnot\n", []string{"Content-Type: application/x-ndjson"}, 400, "line 2"},
		{"batch empty", "/t/main/a?batch", "\n\n", []string{"Content-Type: application/x-ndjson"}, 400, "no message"},
		{"batch too long", "/t/main/a?batch", strings.Repeat("1\n", 1001), []string{"Content-Type: application/x-ndjson"}, 413, "1000"},
		{"bad query", "/t/main/a?%zz", "x", nil, 400, "query"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.do("POST", tt.path, tt.body, tt.headers...).want(t, tt.status, tt.says)
		})
	}
	if p := w.page("/t/main/**"); len(p.Messages) != 0 {
		t.Fatalf("refused publishes left %d messages", len(p.Messages))
	}
	w.do("PUT", "/t/main/a", "x").want(t, 405)
}

func TestBatch(t *testing.T) {
	w := start(t, options{})
	a := w.do("POST", "/t/main/b?batch", "{\"n\":1}\n\n  2\r\n\"three\"", "Content-Type: application/x-ndjson", "Crier-Type: tick", "Idempotency-Key: k")
	a.want(t, 201, `{"messages":[{"id":"`, `"topic":"b"`)
	p := w.page("/t/main/b")
	var got []string
	for _, m := range p.Messages {
		got = append(got, string(m.Data)+" "+m.Type+" "+m.ContentType)
	}
	if fmt.Sprint(got) != `[{"n":1} tick application/json 2 tick application/json "three" tick application/json]` {
		t.Fatalf("got %v", got)
	}
	again := w.do("POST", "/t/main/b?batch", "{\"n\":1}\n\n  2\r\n\"three\"", "Content-Type: application/x-ndjson", "Crier-Type: tick", "Idempotency-Key: k")
	again.want(t, 201)
	if again.body != a.body || len(w.page("/t/main/b").Messages) != 3 {
		t.Fatalf("a repeat appended, or was answered otherwise: %s", again.body)
	}
}

func TestIdempotency(t *testing.T) {
	w := start(t, options{})
	first := w.do("POST", "/t/main/a", "x", "Idempotency-Key: k")
	first.want(t, 201)
	again := w.do("POST", "/t/main/a", "x", "Idempotency-Key: k")
	again.want(t, 201)
	if first.body != again.body || first.header.Get("Location") != again.header.Get("Location") {
		t.Fatalf("the repeat was answered %s, the first %s", again.body, first.body)
	}
	w.do("POST", "/t/main/a", "y", "Idempotency-Key: k").want(t, 422, "idempotency-key-reused")
	w.do("POST", "/t/main/b", "x", "Idempotency-Key: k").want(t, 201) // another topic
	if n := len(w.page("/t/main/**").Messages); n != 2 {
		t.Fatalf("%d messages, want 2", n)
	}
	release := w.engine.hold()
	done := make(chan answer, 1)
	go func() { done <- w.do("POST", "/t/main/a", "slow", "Idempotency-Key: slow") }()
	<-w.engine.held
	w.do("POST", "/t/main/a", "slow", "Idempotency-Key: slow").want(t, 409, "in-flight")
	release()
	(<-done).want(t, 201)
}

func TestNegotiation(t *testing.T) {
	w := start(t, options{})
	w.publish("/t/main/a", "x")
	for _, tt := range []struct {
		accept string
		status int
		answer string
	}{
		{"", 200, "application/json"},
		{"*/*", 200, "application/json"},
		{"application/json", 200, "application/json"},
		{"application/x-ndjson", 200, "application/x-ndjson"},
		{"text/event-stream;q=0.5, application/x-ndjson", 200, "application/x-ndjson"},
		{"text/event-stream;q=0.5, */*;q=0.8", 200, "application/json"},
		{"application/*", 200, "application/json"},
		{"application/json;q=0, application/*", 200, "application/x-ndjson"},
		{"text/html", 406, "application/problem+json"},
		{"application/json;q=0", 406, "application/problem+json"},
	} {
		var headers []string
		if tt.accept != "" {
			headers = []string{"Accept: " + tt.accept}
		}
		a := w.do("GET", "/t/main/a?until=latest", "", headers...)
		if a.status != tt.status || a.header.Get("Content-Type") != tt.answer {
			t.Errorf("Accept %q: %d %s, want %d %s", tt.accept, a.status, a.header.Get("Content-Type"), tt.status, tt.answer)
		}
		if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Accept") {
			t.Errorf("Accept %q: Vary is %q", tt.accept, a.header.Values("Vary"))
		}
	}
}

func TestPages(t *testing.T) {
	w := start(t, options{})
	var ids []string
	for i := range 5 {
		ids = append(ids, w.publish("/t/main/p", fmt.Sprint(i)))
	}
	last := w.publish("/t/main/other", "x")
	p := w.page("/t/main/p?limit=2")
	if len(p.Messages) != 2 || p.Next != ids[1] {
		t.Fatalf("first page %+v", p)
	}
	p = w.page("/t/main/p?since=" + p.Next)
	if len(p.Messages) != 3 || p.Next != last {
		t.Fatalf("second page has %d messages and next %s; want 3, and %s, up to which was looked", len(p.Messages), p.Next, last)
	}
	if p = w.page("/t/main/p?since=" + p.Next); len(p.Messages) != 0 || p.Next != last {
		t.Fatalf("page after the end %+v", p)
	}
	if p = w.page("/t/main/p?topic=other&since=last:2"); len(p.Messages) != 2 || p.Messages[1].Topic != "other" {
		t.Fatalf("two patterns: %+v", p)
	}
	if p = w.page("/t/main?topic=other"); len(p.Messages) != 1 {
		t.Fatalf("the domain's path alone: %+v", p)
	}
	if p = w.page("/t/main/p?since=latest"); len(p.Messages) != 0 {
		t.Fatalf("after the latest: %+v", p)
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "since=nonsense", "since=last:x", "wait=61", "wait=x", "wait=-1"} {
		w.do("GET", "/t/main/p?"+q, "").want(t, 400, strings.SplitN(q, "=", 2)[0])
	}
	var many strings.Builder
	for i := range 65 {
		fmt.Fprintf(&many, "&topic=t%d", i)
	}
	w.do("GET", "/t/main?"+many.String()[1:], "").want(t, 400, "64")
	w.do("GET", "/t/main", "").want(t, 400, "pattern")
	w.do("GET", "/t/main/a/**/b", "").want(t, 400, "**")
	w.do("GET", "/t/nowhere/a", "").want(t, 404)
}

func TestLongPoll(t *testing.T) {
	w := start(t, options{})
	w.publish("/t/main/p", "old")
	done := make(chan page, 1)
	go func() { done <- w.page("/t/main/p?wait=30") }()
	w.until(func() bool { return w.table.Len() == 1 })
	id := w.publish("/t/main/p", "new")
	p := <-done
	if len(p.Messages) != 1 || p.Messages[0].ID != id {
		t.Fatalf("long poll got %+v", p)
	}
	if p := w.page("/t/main/p?wait=0.01"); len(p.Messages) != 0 || p.Next != id {
		t.Fatalf("a wait in vain got %+v", p)
	}
}

// until waits for a condition that another goroutine of the server brings.
func (w *world) until(ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			w.t.Fatal("it did not happen within 10 s")
		}
		time.Sleep(time.Millisecond)
	}
}

// stream is an SSE listener.
type stream struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
}

func (w *world) stream(path string, headers ...string) *stream {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return &stream{w.t, resp, bufio.NewReader(resp.Body)}
}

// event returns the fields of the next block that has data or an event name.
func (s *stream) event() (id, event, data string) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatalf("stream ended: %v", err)
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			if data != "" {
				data += "\n"
			}
			data += value
		case "":
			if line == "\n" && (data != "" || event != "") {
				return id, event, data
			}
		}
	}
}

func TestStreamBeginsWithItsPlace(t *testing.T) {
	w := start(t, options{})
	id := w.publish("/t/main/s", "before")
	s := w.stream("/t/main/s")
	if got := s.resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Fatalf("type %q", got)
	}
	for name, want := range map[string]string{"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"} {
		if got := s.resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	var head strings.Builder
	for !strings.Contains(head.String(), "id: "+id) {
		line, err := s.r.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, head.String())
		}
		head.WriteString(line)
	}
	if ok, _ := regexp.MatchString(`(?m)^retry: [2-6]\d{3}$`, head.String()); !ok {
		t.Errorf("no retry of 2 to 6 s in %q", head.String())
	}
	next := w.publish("/t/main/s", "a\nb\r\nc\rd\n e", "Crier-Type: kind")
	if id, event, data := s.event(); id != next || event != "kind" || data != "a\nb\nc\nd\n e" {
		t.Fatalf("got %q %q %q", id, event, data)
	}
}

func TestWhereAStreamBegins(t *testing.T) {
	w := start(t, options{})
	first := w.publish("/t/main/s", "1")
	second := w.publish("/t/main/s", "2")
	w.publish("/t/main/s", "3")
	for _, tt := range []struct {
		name, path string
		headers    []string
		want       string
	}{
		{"since", "/t/main/s?since=" + first, nil, "2"},
		{"header beats query", "/t/main/s?since=" + first, []string{"Last-Event-ID: " + second}, "3"},
		{"last_event_id", "/t/main/s?last_event_id=" + second + "&since=" + first, nil, "3"},
		{"lastEventId", "/t/main/s?lastEventId=" + second, nil, "3"},
		{"earliest", "/t/main/s?since=earliest", nil, "1"},
		{"last", "/t/main/s?since=last:2", nil, "2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, data := w.stream(tt.path, tt.headers...).event(); data != tt.want {
				t.Fatalf("began with %q, want %q", data, tt.want)
			}
		})
	}
	for _, bad := range []string{"nonsense", "386d43805ad3", first[:23] + "g"} {
		s := w.stream("/t/main/s", "Last-Event-ID: "+bad)
		_, event, data := s.event()
		if event != "crier-gap" || !strings.Contains(data, `"reason":"epoch"`) || !strings.Contains(data, bad) {
			t.Fatalf("Last-Event-ID %q: got %s %s", bad, event, data)
		}
		if _, _, data := s.event(); data != "1" {
			t.Fatalf("after the gap came %q, want the oldest", data)
		}
	}
	w.do("GET", "/t/main/s?since=nonsense", "", "Accept: text/event-stream").want(t, 400, "since")
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

func TestHeadAndDelete(t *testing.T) {
	w := start(t, options{})
	first := w.publish("/t/main/gone", "1")
	last := w.publish("/t/main/kept", "2")
	a := w.do("HEAD", "/t/main/gone", "")
	if a.status != 200 || a.header.Get("Crier-Latest") != last || !strings.HasSuffix(a.header.Get("Crier-Earliest"), "000000000000") || a.body != "" {
		t.Fatalf("HEAD: %+v", a)
	}
	// Open does not mean that everybody manages.
	w.do("DELETE", "/t/main/gone", "").want(t, 403, "manage")
	secret := w.key(access.KeySpec{Domain: "main", Name: "m", Publish: patterns(t, "**"), Subscribe: patterns(t, "**"), Manage: patterns(t, "**")})
	bearer := "Authorization: Bearer " + secret
	w.do("DELETE", "/t/main/gone?access_token="+secret, "").want(t, 403, "URL")
	w.do("DELETE", "/t/main/*", "", bearer).want(t, 400)
	w.do("DELETE", "/t/main/gone", "", bearer).want(t, 204)
	if a = w.do("HEAD", "/t/main/gone", "", bearer); a.header.Get("Crier-Earliest") != first {
		t.Fatalf("complete from %s, want %s", a.header.Get("Crier-Earliest"), first)
	}
	if p := w.page("/t/main/**", bearer); len(p.Messages) != 1 || p.Gap != nil {
		t.Fatalf("page from the earliest after the delete: %+v", p)
	}
	p := w.page("/t/main/gone?since="+first[:23]+"0", bearer)
	if p.Gap == nil || p.Gap.Reason != "deleted" || len(p.Messages) != 0 {
		t.Fatalf("page over the deleted: %+v", p)
	}
	a = w.do("GET", "/t/main/gone?until=latest&since="+first[:23]+"0", "", bearer, "Accept: application/x-ndjson")
	a.want(t, 200, `{"gap":{"after":"`, `"reason":"deleted"`)
}

func TestClosed(t *testing.T) {
	w := start(t, options{})
	open := w.stream("/t/main/a")
	secret := w.key(access.KeySpec{Domain: "main", Name: "n", Publish: patterns(t, "a/*"), Subscribe: patterns(t, "a/**", "b")})
	if _, event, _ := open.event(); event != "crier-expired" {
		t.Fatalf("an anonymous stream got %q when the server was closed", event)
	}
	bearer := "Authorization: Bearer " + secret
	for _, tt := range []struct {
		method, path string
		headers      []string
		status       int
		says         string
	}{
		{"GET", "/t/main/a", nil, 401, "key"},
		{"POST", "/t/main/a/b", nil, 401, "key"},
		{"GET", "/t/main/b", []string{"Authorization: Bearer nonsense"}, 401, ""},
		{"GET", "/t/main/b", []string{"Authorization: Basic eDp5"}, 401, "Bearer"},
		{"POST", "/t/main/a/b", []string{bearer}, 201, ""},
		{"POST", "/t/main/b", []string{bearer}, 403, "publish"},
		{"POST", "/t/main/a/b/c", []string{bearer}, 403, "publish"},
		{"GET", "/t/main/a/b", []string{bearer}, 200, ""},
		{"GET", "/t/main/a/**", []string{bearer}, 200, ""},
		{"GET", "/t/main/**", []string{bearer}, 403, "subscribe"},
		{"GET", "/t/main/b?topic=a/x&topic=c", []string{bearer}, 403, "c"},
		{"GET", "/t/main/b?access_token=" + secret, nil, 200, ""},
		{"GET", "/t/nowhere/b", []string{bearer}, 403, ""}, // not: whether it exists
		{"POST", "/t/nowhere/b", []string{bearer}, 403, ""},
		{"HEAD", "/t/main/c", []string{bearer}, 403, ""},
		{"DELETE", "/t/main/b", []string{bearer}, 403, "manage"},
	} {
		body := ""
		if tt.method == "POST" {
			body = "x"
		}
		a := w.do(tt.method, tt.path, body, tt.headers...)
		a.want(t, tt.status, tt.says)
		if tt.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s %s: challenge %q", tt.method, tt.path, a.header.Get("WWW-Authenticate"))
		}
	}
}

func TestOpenTakesNothingFromElsewhere(t *testing.T) {
	w := start(t, options{origins: []string{"https://app.example.com"}})
	for _, tt := range []struct {
		header string
		status int
	}{
		{"X-Forwarded-For: 10.0.0.1", 403}, {"Forwarded: for=10.0.0.1", 403}, {"Via: 1.1 proxy", 403},
		{"Host: crier.example.com", 403}, {"Origin: https://evil.example.com", 403},
		{"Origin: null", 403},
		{"Origin: http://localhost:3000", 200}, {"Origin: https://app.example.com", 200}, {"Host: localhost", 200},
	} {
		if a := w.do("GET", "/t/main/a", "", tt.header); a.status != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.header, a.status, tt.status, a.body)
		}
	}
}

func TestCORS(t *testing.T) {
	w := start(t, options{origins: []string{"https://app.example.com"}})
	w.key(access.KeySpec{Domain: "main", Name: "n", Subscribe: patterns(t, "**")})
	a := w.do("OPTIONS", "/t/main/a", "", "Origin: https://app.example.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: last-event-id")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Fatalf("preflight: %+v", a)
	}
	for _, name := range []string{"Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Crier-Type", "Crier-TTL", "Cache-Control"} {
		if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("preflight does not allow %s", name)
		}
	}
	if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
		t.Errorf("Vary %q", a.header.Values("Vary"))
	}
	a = w.do("OPTIONS", "/t/main/a", "", "Origin: https://evil.example.com", "Access-Control-Request-Method: POST")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Fatalf("preflight of a stranger: %+v", a)
	}
	a = w.do("GET", "/t/main/a", "", "Origin: https://app.example.com")
	a.want(t, 401)
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Fatal("a page cannot read why it was refused")
	}
}

// TestBadHandshakes: a WebSocket is refused with the document of its status.
func TestBadHandshakes(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		says    string
	}{
		{"another version", []string{"Sec-WebSocket-Version: 8"}, 426, "upgrade-required"},
		{"no key", []string{"Sec-WebSocket-Version: 13"}, 400, "Sec-WebSocket-Key"},
		{"another site", []string{"Sec-WebSocket-Version: 13", "Origin: https://evil.example.com"}, 403, "forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := w.do("GET", "/t/main/a", "", append(tt.headers, "Connection: Upgrade", "Upgrade: websocket")...)
			a.want(t, tt.status, tt.says, fmt.Sprintf(`"status":%d`, tt.status))
			if tt.status == 426 && a.header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("426 names version %q", a.header.Get("Sec-WebSocket-Version"))
			}
		})
	}
}

func TestLimits(t *testing.T) {
	w := start(t, options{rate: 0.001, perAddr: 1})
	w.publish("/t/main/a", "1")
	a := w.do("POST", "/t/main/a", "2")
	a.want(t, 429, "too-many")
	if a.header.Get("Retry-After") == "" {
		t.Fatal("429 without Retry-After")
	}
	s := w.stream("/t/main/a")
	w.do("GET", "/t/main/a", "").want(t, 429)
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

func TestBodyCutShort(t *testing.T) {
	w := start(t, options{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/t/main/a", io.MultiReader(strings.NewReader("half"), errReader{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultTransport.RoundTrip(req); err == nil {
		t.Fatal("want the client's own error")
	}
	if p := w.page("/t/main/a"); len(p.Messages) != 0 {
		t.Fatalf("half a body was published: %+v", p)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestFrontPage(t *testing.T) {
	w := start(t, options{})
	a := w.do("GET", "/", "")
	a.want(t, 200, "curl", w.url)
	if !bytes.Contains([]byte(a.header.Get("Content-Type")), []byte("text/html")) {
		t.Fatal(a.header)
	}
}
