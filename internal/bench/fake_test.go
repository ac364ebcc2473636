package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fake is a server with one log in memory, which can be told to err.
type fake struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	messages []fakeMessage // cursor n is before messages[n]
	news     chan struct{} // closed and made anew with each message
	// deliver, if set, says how often message n goes to a subscriber.
	deliver func(n int) int
	refuse  func(n int) bool // publish n is answered 503
	publish int
}

type fakeMessage struct {
	topic string
	data  string
	json  bool
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, news: make(chan struct{})}
	f.Server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Close()
	})
	return f
}

// forget begins anew.
func (f *fake) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.messages, f.publish = nil, 0
}

// has is how many messages there are.
func (f *fake) has() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.messages)
}

func (f *fake) target() *Target { return &Target{URL: f.URL, Token: "k"} }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer k" {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	topic, _ := strings.CutPrefix(r.URL.Path, "/t/main/")
	switch {
	case r.Method == "POST":
		f.post(w, r, topic)
	case r.Method == "HEAD":
		f.mu.Lock()
		w.Header().Set("Crier-Latest", strconv.Itoa(len(f.messages)))
		f.mu.Unlock()
	case r.Header.Get("Upgrade") == "websocket":
		f.websocket(w, r, topic)
	default:
		f.stream(w, r, topic)
	}
}

func (f *fake) post(w http.ResponseWriter, r *http.Request, topic string) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.publish
	f.publish++
	if f.refuse != nil && f.refuse(n) {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	if r.URL.Query().Has("batch") {
		for line := range bytes.Lines(body) {
			if !json.Valid(line) {
				f.t.Errorf("%q is not JSON", line)
			}
			f.messages = append(f.messages, fakeMessage{topic, strings.TrimSpace(string(line)), true})
		}
	} else {
		f.messages = append(f.messages, fakeMessage{topic, string(body), false})
	}
	close(f.news)
	f.news = make(chan struct{})
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, `{"id":"0"}`)
}

// follow calls fn with what matches after a cursor, until ctx ends, fn fails
// or, with toHead, there is no more.
func (f *fake) follow(ctx context.Context, topic string, since int, toHead bool, fn func(fakeMessage) error) error {
	for {
		f.mu.Lock()
		found := f.messages[since:]
		news := f.news
		f.mu.Unlock()
		for i, m := range found {
			if m.topic != topic && topic != topicPrefix+"**" {
				continue
			}
			times := 1
			if f.deliver != nil {
				times = f.deliver(since + i)
			}
			for range times {
				if err := fn(m); err != nil {
					return err
				}
			}
		}
		since += len(found)
		if toHead {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-news:
		}
	}
}

func (f *fake) since(r *http.Request) int {
	if s := r.URL.Query().Get("since"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			f.t.Error(err)
		}
		return n
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.messages)
}

func (f *fake) stream(w http.ResponseWriter, r *http.Request, topic string) {
	since := f.since(r)
	sse := r.Header.Get("Accept") == "text/event-stream"
	flush := http.NewResponseController(w).Flush
	if sse {
		io.WriteString(w, "retry: 2000\n:\n\nid: 7\n\n")
	}
	flush()
	_ = f.follow(r.Context(), topic, since, r.URL.Query().Get("until") == "latest", func(m fakeMessage) error {
		if sse {
			fmt.Fprintf(w, "id: 1\ndata: %s\n\n", m.data)
		} else if m.json {
			fmt.Fprintf(w, `{"id":"1","topic":%q,"data":%s}`+"\n", m.topic, m.data)
		} else {
			fmt.Fprintf(w, `{"id":"1","topic":%q,"data":%q}`+"\n", m.topic, m.data)
		}
		return flush()
	})
}

func (f *fake) websocket(w http.ResponseWriter, r *http.Request, topic string) {
	since := f.since(r)
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		f.t.Error(err)
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the connection
		defer cancel()
		_, _ = io.Copy(io.Discard, rw)
	}()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
	_, _ = conn.Write(wsFrame(true, wsPing, "are you there"))
	_ = f.follow(ctx, topic, since, false, func(m fakeMessage) error {
		_, err := conn.Write(append(wsFrame(false, wsText, m.data[:10]), wsFrame(true, wsContinuation, m.data[10:])...))
		return err
	})
}

// wsFrame makes a frame of a server.
func wsFrame(final bool, op byte, payload string) []byte {
	if final {
		op |= 0x80
	}
	b := []byte{op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, payload...)
}

var errFake = errors.New("fake")
