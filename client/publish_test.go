package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crier/client"
)

// quick retries without making a test wait.
var quick = client.WithRetry(client.Retry{Tries: 4, Min: time.Millisecond, Max: 5 * time.Millisecond})

// seen is a request as a server got it.
type seen struct {
	method, uri, body string
	header            http.Header
}

// recorder is a server that answers request n with the n-th handler, and
// every one after the last with that.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	reqs []seen
}

func record(t *testing.T, handlers ...http.HandlerFunc) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		n := len(r.reqs)
		r.reqs = append(r.reqs, seen{req.Method, req.RequestURI, string(body), req.Header.Clone()})
		r.mu.Unlock()
		handlers[min(n, len(handlers)-1)](w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) requests() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.reqs)
}

func dial(t *testing.T, server string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.New(server, append([]client.Option{quick}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func created(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, `{"id":"0102030405060708090a0b0c","topic":"a/b","time":"2026-01-02T03:04:05.000006Z","durability":"fsync"}`)
}

func problem(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": "Refused", "detail": "because", "status": status})
	}
}

// cut breaks the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestPublish(t *testing.T) {
	s := record(t, created)
	c := dial(t, s.URL+"/push/", client.WithToken("secret"))
	got, err := c.Publish(t.Context(), client.Draft{
		Domain: "shop", Topic: "a b/ü/+*", Data: []byte("hello"), ContentType: "text/x", Type: "greeting", TTL: 1500 * time.Millisecond, Key: "k",
	})
	want := client.Receipt{
		ID: "0102030405060708090a0b0c", Topic: "a/b", Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Durability: "fsync",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("receipt %+v, %v, want %+v", got, err, want)
	}
	r := s.requests()[0]
	if r.method != "POST" || r.uri != "/push/t/shop/a%20b/%C3%BC/+%2A" || r.body != "hello" {
		t.Errorf("request %s %s %q", r.method, r.uri, r.body)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer secret", "Content-Type": "text/x", "Crier-Type": "greeting", "Crier-Ttl": "2", "Idempotency-Key": "k",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestPublishPlain(t *testing.T) {
	s := record(t, created)
	if _, err := dial(t, s.URL).Publish(t.Context(), client.Draft{Topic: "a"}); err != nil {
		t.Fatal(err)
	}
	r := s.requests()[0]
	if r.uri != "/t/main/a" || r.header.Get("Idempotency-Key") == "" {
		t.Errorf("request %s, key %q", r.uri, r.header.Get("Idempotency-Key"))
	}
	for _, name := range []string{"Authorization", "Content-Type", "Crier-Type", "Crier-Ttl"} {
		if v, ok := r.header[name]; ok {
			t.Errorf("%s is sent: %q", name, v)
		}
	}
}

func TestPublishAgain(t *testing.T) {
	for _, tt := range []struct {
		name     string
		handlers []http.HandlerFunc
		noKey    bool
		tries    int
		status   int // of the error; 0: none
	}{
		{"rate", []http.HandlerFunc{problem(429), created}, false, 2, 0},
		{"engine away", []http.HandlerFunc{problem(503), problem(503), created}, false, 3, 0},
		{"proxy", []http.HandlerFunc{problem(502), problem(504), created}, false, 3, 0},
		{"first still under way", []http.HandlerFunc{cut, problem(409), created}, false, 3, 0},
		{"cut off", []http.HandlerFunc{cut, cut, created}, false, 3, 0},
		{"too often", []http.HandlerFunc{problem(503)}, false, 4, 503},
		{"forbidden", []http.HandlerFunc{problem(403)}, false, 1, 403},
		{"another body", []http.HandlerFunc{problem(422)}, false, 1, 422},
		{"server's fault", []http.HandlerFunc{problem(500)}, false, 1, 500},
		{"no key, refused", []http.HandlerFunc{problem(503), problem(429), created}, true, 3, 0},
		{"no key, unsure", []http.HandlerFunc{problem(502), created}, true, 1, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := record(t, tt.handlers...)
			_, err := dial(t, s.URL).Publish(t.Context(), client.Draft{Topic: "a", Data: []byte("x"), NoKey: tt.noKey})
			if p, ok := errors.AsType[*client.Problem](err); tt.status != 0 && (!ok || p.Status != tt.status || p.Detail != "because") || tt.status == 0 && err != nil {
				t.Errorf("error %v, want status %d", err, tt.status)
			}
			reqs := s.requests()
			if len(reqs) != tt.tries {
				t.Errorf("%d tries, want %d", len(reqs), tt.tries)
			}
			for _, r := range reqs {
				key := r.header.Get("Idempotency-Key")
				if key != reqs[0].header.Get("Idempotency-Key") || r.body != "x" || (key == "") != tt.noKey {
					t.Errorf("a try has the key %q and the body %q", key, r.body)
				}
			}
		})
	}
}

// Without a key a publish whose connection broke may have been stored.
func TestPublishCutWithoutKey(t *testing.T) {
	s := record(t, cut)
	_, err := dial(t, s.URL).Publish(t.Context(), client.Draft{Topic: "a", NoKey: true})
	if err == nil || len(s.requests()) != 1 {
		t.Errorf("%d tries, error %v", len(s.requests()), err)
	}
}

// Where nothing listens there is nothing to be unsure about.
func TestPublishNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	var told int
	c := dial(t, "http://"+l.Addr().String(), client.WithRetry(client.Retry{
		Tries: 3, Min: time.Millisecond, Max: time.Millisecond, Notify: func(error, time.Duration) { told++ },
	}))
	_, err = c.Publish(t.Context(), client.Draft{Topic: "a", NoKey: true})
	if err == nil || told != 2 || !strings.Contains(err.Error(), "publish to main/a") {
		t.Errorf("told %d times, error %v", told, err)
	}
}

func TestPublishContextEnds(t *testing.T) {
	s := record(t, problem(503, "Retry-After", "3600"))
	ctx, cancel := context.WithCancel(t.Context())
	c := dial(t, s.URL, client.WithRetry(client.Retry{Max: time.Hour, Notify: func(_ error, wait time.Duration) {
		if wait != time.Hour {
			t.Errorf("waits %v, the server asked for an hour", wait)
		}
		cancel()
	}}))
	_, err := c.Publish(ctx, client.Draft{Topic: "a"})
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.RetryAfter != time.Hour {
		t.Errorf("error %v", err)
	}
}

func TestPublishBatch(t *testing.T) {
	s := record(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, `{"messages":[{"id":"1","topic":"a"},{"id":"2","topic":"a"}]}`)
	})
	c := dial(t, s.URL)
	got, err := c.PublishBatch(t.Context(), client.Batch{Topic: "a", Messages: []json.RawMessage{[]byte("{\n \"a\": 1}"), []byte(`{"two":  2}`)}})
	if err != nil || len(got) != 2 || got[1].ID != "2" {
		t.Fatalf("%v, %v", got, err)
	}
	r := s.requests()[0]
	if r.uri != "/t/main/a?batch=" || r.body != "{\"a\":1}\n{\"two\":  2}\n" || r.header.Get("Content-Type") != "application/x-ndjson" || r.header.Get("Idempotency-Key") == "" {
		t.Errorf("%+v", r)
	}
	if _, err := c.PublishBatch(t.Context(), client.Batch{Topic: "a", Messages: []json.RawMessage{[]byte("1"), []byte("{")}}); err == nil || !strings.Contains(err.Error(), "message 2 is not JSON") {
		t.Errorf("error %v", err)
	}
	if _, err := c.PublishBatch(t.Context(), client.Batch{Topic: "a", Messages: []json.RawMessage{[]byte("1")}}); err == nil || !strings.Contains(err.Error(), "2 receipts for 1") {
		t.Errorf("error %v", err)
	}
	if len(s.requests()) != 2 {
		t.Errorf("%d requests; a bad batch was sent", len(s.requests()))
	}
}

func TestBadAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"not JSON": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, "not what a Crier server sends"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			for range 5 << 10 {
				io.WriteString(w, strings.Repeat(" ", 1024))
			}
		}, "more than"},
		"a page of HTML": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(404)
		}, "404: Not Found"},
		"plain text": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "go away", 400) }, "400: go away"},
	} {
		t.Run(name, func(t *testing.T) {
			s := record(t, tt.answer)
			_, err := dial(t, s.URL).Publish(t.Context(), client.Draft{Topic: "a"})
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(s.requests()) != 1 {
				t.Errorf("error %v after %d tries, want %q", err, len(s.requests()), tt.want)
			}
		})
	}
}

func TestNewErrors(t *testing.T) {
	for _, address := range []string{"", "localhost:8080", "ftp://host", "http://", "http://u:secretpass@host", "http://host?x=1", "http://host#x", "http://a b"} {
		_, err := client.New(address)
		if err == nil || strings.Contains(err.Error(), "secretpass") {
			t.Errorf("%q: error %v", address, err)
		}
	}
}
