package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"crier/internal/access"
	"crier/internal/hub"
)

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
	d, err := w.hub.Domain(hub.Main)
	if err != nil {
		t.Fatal(err)
	}
	w.until(func() bool { return d.Subscriptions() == 1 }) // it is fixed what is new to it
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

// TestDeletedIsLogged: with the topic, but not with a checksum of QRI, which
// lets who knows it listen.
func TestDeletedIsLogged(t *testing.T) {
	var log bytes.Buffer
	w := start(t, options{log: &log})
	bearer := "Authorization: Bearer " + w.key(access.KeySpec{Domain: "main", Manage: patterns(t, "**")})
	for _, topic := range []string{"news/a/b", "qri/peer/c0ffee", "qri/peer"} {
		w.do("DELETE", "/t/main/"+topic, "", bearer).want(t, 204)
	}
	if got := log.String(); !strings.Contains(got, "topic=news/a/b") || !strings.Contains(got, "topic=qri/peer/…") || strings.Contains(got, "c0ffee") {
		t.Errorf("logged %s", got)
	}
}
