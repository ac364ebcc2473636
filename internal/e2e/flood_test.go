package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// Without descriptors new connections are closed at once, and the log says it
// once; who is connected is served, the operator too, publishes are stored;
// and when some have gone others come in.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/bin/sh"); err != nil {
		missing(t, "no /bin/sh to limit descriptors with: %v", err)
	}
	const limit, tries = 160, 300
	s := startWithin(t, limit, "--drain", "0s")
	topic := s.api + "/t/main/news"
	stream, socket := listen(t, web(), topic), open(t, web(), topic)
	publisher := keepAlive(t)
	say := func(text string) {
		t.Helper()
		if status := publisher(topic, text); status != http.StatusCreated {
			t.Fatalf("published: %d", status)
		}
		if b := stream.event(t); b.Data != text {
			t.Errorf("the stream got %q, want %q", b.Data, text)
		}
		if f := socket.next(t); f.data != text {
			t.Errorf("the socket got %q, want %q", f.data, text)
		}
	}
	say("before")

	var in []*rude
	out := 0
	for range tries {
		r := s.rude(t)
		_, _ = io.WriteString(r, asStream) // it may be closed already
		if resp, err := http.ReadResponse(r.in, nil); err == nil {
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("status %d", resp.StatusCode)
			}
			in = append(in, r)
			continue
		}
		out++
		_ = r.Close()
	}
	if len(in) < limit/4 || out < tries-limit {
		t.Fatalf("%d came in and %d did not, of %d with %d descriptors", len(in), out, tries, limit)
	}
	say("while it is full")
	s.counts(t, `crier_connections_refused_total{reason="descriptors"}`, float64(out))
	if open := s.metric(t, "process_open_fds"); open > limit-10 {
		t.Errorf("%v of %d descriptors are open: too few are left for the log", open, limit)
	}
	s.log.await(t, "too many open files")
	if n := s.log.count("too many open files"); n != 1 {
		t.Errorf("the log has %d lines about %d connections, want one", n, out)
	}

	for _, r := range in[:10] {
		r.reset(t)
	}
	eventually(t, "ten left", func() bool { return len(s.connections(t)) == len(in)-10+2 })
	again := listen(t, web(), topic)
	say("when some have gone")
	if b := again.event(t); b.Data != "when some have gone" {
		t.Errorf("one that came back got %q", b.Data)
	}
	s.terminate(t)
	if code := s.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Many that connect and say nothing, or the beginning of something, keep nobody
// out.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	const limit, silent = 20, 200
	for _, tt := range []struct {
		name, says string
		refused    bool // some of them have to give way
	}{
		{"nothing", "", false}, // the system may keep those to itself
		{"a word", "GET", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "--max-handshakes", fmt.Sprint(limit), "--drain", "0s")
			topic := s.api + "/t/main/news"
			early := listen(t, web(), topic)
			var all sync.WaitGroup
			for range silent {
				r := s.rude(t)
				_, _ = io.WriteString(r, tt.says)
				all.Go(func() { _, _ = r.in.ReadByte() }) // until it is closed
			}
			late := make(chan *sse, 1)
			go func() { late <- listen(t, web(), topic) }()
			stream, _ := receive(t, late)
			if n := s.metric(t, "crier_handshakes"); n > limit {
				t.Errorf("%v handshakes are under way, the limit is %d", n, limit)
			}
			if n := s.metric(t, `crier_connections_refused_total{reason="handshakes"}`); n == 0 && tt.refused {
				t.Error("nobody had to give way, or it was not counted")
			}
			publish(t, s.dial(t), "news", "hello")
			for _, l := range []*sse{early, stream} {
				if b := l.event(t); b.Data != "hello" {
					t.Errorf("got %q", b.Data)
				}
			}
			all.Wait()
			eventually(t, "no handshakes", func() bool { return s.metric(t, "crier_handshakes") == 0 })
		})
	}
}

// 300 connections of all kinds are ended over the time for it, each in its
// own words, and the server with 0.
func TestDrainMany(t *testing.T) {
	t.Parallel()
	const each, drain = 100, 3 * time.Second
	s := startServer(t, "--drain", drain.String())
	topic := s.api + "/t/main/news"
	var streams []*sse
	var sockets []*socket
	for range each {
		streams = append(streams, listen(t, web(), topic))
		sockets = append(sockets, open(t, web(), topic), open(t, web(), topic, "crier.v1.json"))
	}
	eventually(t, "all are connected", func() bool { return len(s.connections(t)) == 3*each })
	began := time.Now()
	s.terminate(t)
	var ends sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	note := func() {
		mu.Lock()
		defer mu.Unlock()
		took = append(took, time.Since(began))
	}
	for _, stream := range streams {
		ends.Go(func() {
			checkRestart(t, stream)
			note()
		})
	}
	for _, socket := range sockets {
		ends.Go(func() {
			if end := socket.closing(t); end.code != 1012 {
				t.Errorf("closed with %d (%s), want 1012", end.code, end.reason)
			}
			note()
		})
	}
	ends.Wait()
	if code := s.exit(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if len(took) != 3*each {
		t.Fatalf("%d ended, of %d", len(took), 3*each)
	}
	// They end one after the other: about a half of them in the first half.
	if half := took[len(took)/2]; half < drain/4 || took[len(took)-1] < drain*4/5 {
		t.Errorf("a half was gone after %v, all after %v; want them over %v", half, took[len(took)-1], drain)
	}
}
