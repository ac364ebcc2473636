package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"crier/internal/transport/transporttest"
)

// web is a client without keep-alive, so that no connection outlives a test.
func web() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives = true
	return &http.Client{Transport: t}
}

// keepAlive publishes over one connection, which is opened now and then kept.
func keepAlive(t *testing.T) (post func(url, body string) (status int)) {
	t.Helper()
	tr := http.DefaultTransport.(*http.Transport).Clone()
	tr.MaxConnsPerHost = 1
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: patience}
	return func(url, body string) int {
		t.Helper()
		resp, err := c.Post(url, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		drained(resp.Body)
		return resp.StatusCode
	}
}

// answer is what came back of a request.
type answer struct {
	status int
	header http.Header
	body   string
}

// problem decodes the body as a problem document.
func (a answer) problem(t *testing.T) (p struct{ Type, Title, Detail string }) {
	t.Helper()
	if kind := a.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("status %d has the content type %q, want a problem document", a.status, kind)
	}
	if err := json.Unmarshal([]byte(a.body), &p); err != nil || p.Type == "" || p.Detail == "" {
		t.Errorf("problem document %q: %v, want type and detail", a.body, err)
	}
	return p
}

// ask does one request; header is name, value, name, value.
func ask(t *testing.T, method, url, body string, header ...string) answer {
	t.Helper()
	a, err := tryAsk(t.Context(), method, url, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

func tryAsk(ctx context.Context, method, url, body string, header ...string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := web().Do(req)
	if err != nil {
		return answer{}, err
	}
	return answer{resp.StatusCode, resp.Header, drained(resp.Body)}, nil
}

// ready asks /readyz for its status; 0: nobody answers.
func (s *server) readyz(t *testing.T) int {
	a, err := tryAsk(t.Context(), "GET", s.admin+"/readyz", "")
	if err != nil {
		return 0
	}
	return a.status
}

// manage calls the management API with the operator's token, and wants a
// status of 2xx.
func (s *server) manage(t *testing.T, method, path, body string, into any) {
	t.Helper()
	a := ask(t, method, s.admin+path, body, "Authorization", "Bearer "+s.token(t), "Content-Type", "application/json")
	if a.status < 200 || a.status > 299 {
		t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	if into != nil {
		decode(t, a.body, into)
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %.300s", err, text)
	}
}

// key is a key as the management API answers.
type key struct{ ID, Secret string }

// makeKey makes a key for everything in main.
func (s *server) makeKey(t *testing.T) (k key) {
	t.Helper()
	s.manage(t, "POST", "/v1/keys", `{"publish":["**"],"subscribe":["**"]}`, &k)
	return k
}

// sse is an event stream that is being read.
type sse struct {
	resp   *http.Response
	blocks chan transporttest.Block // closed at the end
}

// listen opens an event stream; header as for ask.
func listen(t *testing.T, c *http.Client, url string, header ...string) *sse {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatalf("listen at %s: %v", url, err)
	}
	if resp.StatusCode != 200 {
		t.Fatalf("listen at %s: %s %s", url, resp.Status, drained(resp.Body))
	}
	s := &sse{resp: resp, blocks: make(chan transporttest.Block, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.blocks)
		for source := transporttest.NewEventSource(resp.Body); ; {
			b, err := source.Next()
			if err != nil {
				return
			}
			select {
			case s.blocks <- b:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		resp.Body.Close()
	})
	return s
}

// next waits for the next block; ok is false if the stream ended.
func (s *sse) next(t *testing.T) (b transporttest.Block, ok bool) {
	t.Helper()
	return receive(t, s.blocks)
}

// event waits for the next block that dispatches an event.
func (s *sse) event(t *testing.T) transporttest.Block {
	t.Helper()
	for {
		b, ok := s.next(t)
		if !ok {
			t.Fatal("the stream ended, an event was to come")
		}
		if b.Dispatched {
			return b
		}
	}
}

// rest reads to the end of the stream.
func (s *sse) rest(t *testing.T) (all []transporttest.Block) {
	t.Helper()
	for {
		b, ok := s.next(t)
		if !ok {
			return all
		}
		all = append(all, b)
	}
}
