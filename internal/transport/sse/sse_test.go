package sse_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport/sse"
	"crier/internal/transport/transporttest"
)

// raw opens a stream and returns the response and what was read of it once n
// blank lines had come.
func raw(t *testing.T, e *transporttest.Env, o transporttest.Options) (*http.Response, func(blocks int) string) {
	t.Helper()
	resp, err := e.Client(o).Get(e.URL(o))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp, func(blocks int) string {
		t.Helper()
		var got []byte
		var b [1]byte
		for bytes.Count(got, []byte("\n\n")) < blocks {
			if _, err := io.ReadFull(resp.Body, b[:]); err != nil {
				t.Fatalf("after %q: %v", got, err)
			}
			got = append(got, b[0])
		}
		return string(got)
	}
}

func TestPreamble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{}, 0)
		r := e.Publish("a", "one", "two")
		form := regexp.MustCompile(`^retry: ([0-9]+)\n: [a-z]+\n\nid: ([0-9a-f]{24})\n\n$`)
		retries := map[int]bool{}
		for range 50 {
			resp, read := raw(t, e, transporttest.Options{Patterns: []string{"a"}})
			for name, want := range map[string]string{
				"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no",
				"Connection": "", "Content-Encoding": "", "Content-Length": "",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			got := form.FindStringSubmatch(read(2))
			if got == nil {
				t.Fatal("not of the form that it should have")
			}
			ms, _ := strconv.Atoi(got[1])
			if ms < 2000 || ms > 6000 {
				t.Errorf("retry %d, want 2 to 6 seconds", ms)
			}
			if got[2] != r.ID(1).String() {
				t.Errorf("listens from %s, want %v", got[2], r.ID(1))
			}
			retries[ms] = true
		}
		if len(retries) < 40 {
			t.Errorf("of 50 connections only %d come back at a time of their own", len(retries))
		}
	})
}

func TestBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{}, 0)
		r := e.Publish("a", "one", "two")
		_, read := raw(t, e, transporttest.Options{Patterns: []string{"a"}, Since: "earliest"})
		read(2)
		if got, want := read(2), "id: "+r.First.String()+"\ndata: one\n\nid: "+r.ID(1).String()+"\ndata: two\n\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := read(1); got != ":\n\n" {
			t.Errorf("heartbeat %q", got)
		}
		other := e.Publish("b", "x")
		if got, want := read(1), ":\nid: "+other.First.String()+"\n\n"; got != want {
			t.Errorf("heartbeat %q, want %q", got, want)
		}
		e.Revoke(errors.New("key was revoked"))
		if got, want := read(1), "event: crier-expired\ndata: {\"reason\":\"credential\",\"detail\":\"credential ended: key was revoked\"}\n\n"; got != want {
			t.Errorf("goodbye %q, want %q", got, want)
		}
	})
}

// A cursor that cannot be read is a gap with the oldest, and what the client
// sent can do no harm in the stream.
func TestUnreadable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{}, 0)
		r := e.Publish("a", "one")
		oldest := r.First
		oldest.Seq--
		_, read := raw(t, e, transporttest.Options{Patterns: []string{"a"}, Since: "x\n\ndata: y"})
		first, rest, _ := strings.Cut(read(3), "\n\n")
		if !strings.HasPrefix(first, "retry: ") {
			t.Errorf("begins with %q", first)
		}
		want := "\nid: " + oldest.String() + "\nevent: crier-gap\ndata: {\"after\":\"x\\n\\ndata: y\",\"resumed\":\"" + oldest.String() + "\",\"reason\":\"epoch\"}\n\n"
		if !strings.HasSuffix(rest, want[1:]+"id: "+r.First.String()+"\ndata: one\n\n") {
			t.Errorf("got %q, want %q and the message", rest, want)
		}
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{}, 0)
		h := sse.New(sse.Config{Hub: e.Hub, RetryAfter: 10 * time.Second})
		w := httptest.NewRecorder()
		h.Restart(w, httptest.NewRequest(http.MethodGet, "/", nil))
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" {
			t.Fatalf("status %d, %v", w.Code, w.Header())
		}
		blocks, err := transporttest.AllBlocks(w.Body)
		if err != nil || len(blocks) != 1 {
			t.Fatalf("%+v, %v", blocks, err)
		}
		b := blocks[0]
		if ms, _ := strconv.Atoi(b.Retry); ms < 10_000 || ms > 30_000 {
			t.Errorf("retry %q, want 10 to 30 seconds", b.Retry)
		}
		if !b.Dispatched || b.Event != "crier-restart" || b.HasID || b.Data != `{"reason":"unavailable"}` {
			t.Errorf("got %+v", b)
		}
	})
}

// While the log cannot say where a listener would begin, nothing is written,
// so that the caller can answer.
func TestNotYetListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{}, 0)
		e.EngineAway(true)
		for _, since := range []string{"", "earliest", "last:3", "unreadable", message.ID{Epoch: message.Epoch{Began: 1}, Seq: 1}.String()} {
			resp, _ := raw(t, e, transporttest.Options{Patterns: []string{"a"}, Since: since})
			body := make([]byte, 200)
			n, _ := resp.Body.Read(body)
			body = body[:n]
			if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), engine.ErrUnavailable.Error()) {
				t.Errorf("since %q: %d %s", since, resp.StatusCode, body)
			}
		}
	})
}

// What a stream writes is joined: a backlog is not written event by event.
func TestJoinsFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{}, 0)
		for range 10 {
			e.Publish("a", make([]string, 100)...)
		}
		w := &countingWriter{header: http.Header{}}
		l := e.Granted(transporttest.Options{Patterns: []string{"a"}, Since: "earliest"})
		h := sse.New(sse.Config{Hub: e.Hub})
		time.AfterFunc(time.Second, func() { l.Conn.End(io.EOF) })
		if err := h.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), l); err != nil {
			t.Fatal(err)
		}
		blocks, err := transporttest.AllBlocks(&w.body)
		if err != nil || len(blocks) != 1002 {
			t.Fatalf("%d blocks, %v; want 1,002", len(blocks), err)
		}
		if w.writes > 10 || w.flushes > 10 {
			t.Errorf("%d writes and %d flushes for 1,000 events", w.writes, w.flushes)
		}
	})
}

type countingWriter struct {
	header          http.Header
	body            bytes.Buffer
	writes, flushes int
}

func (w *countingWriter) Header() http.Header { return w.header }
func (w *countingWriter) WriteHeader(int)     {}
func (w *countingWriter) Flush()              { w.flushes++ }
func (w *countingWriter) Write(p []byte) (int, error) {
	w.writes++
	return w.body.Write(p)
}

// History that is not in memory is there at once, however little it is.
func TestHistoryOutOfTheStore(t *testing.T) {
	for _, d := range []driver{{}, {http2: true}, {wire: true}} {
		synctest.Test(t, func(t *testing.T) {
			e := transporttest.NewEnv(t, d, 0)
			e.Publish("b", "of another topic")
			e.Publish("a", "one", "two", "three")
			main, err := e.Hub.Domain(hub.Main)
			if err != nil {
				t.Fatal(err)
			}
			if err := main.Forget(t.Context(), "b"); err != nil { // after which the store has the word
				t.Fatal(err)
			}
			began := time.Now()
			_, read := raw(t, e, transporttest.Options{Patterns: []string{"a"}, Since: "earliest"})
			read(5)
			if took := time.Since(began); took > 0 {
				t.Errorf("%+v: it took %v", d, took)
			}
		})
	}
}
