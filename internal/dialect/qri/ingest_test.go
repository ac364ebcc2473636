package qri_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/dialect/qri"
	"crier/internal/engine"
	"crier/internal/topic"
	"crier/internal/transport"
)

// tlv encodes in the shortest form.
func tlv(tag byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x10000:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	default:
		return append([]byte{tag, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	}
}

func frame(peer, checksum, data string) []byte {
	return tlv(0x30, tlv(4, []byte(peer)), tlv(4, []byte(checksum)), tlv(4, []byte(data)))
}

func (r *rig) backend() net.Conn {
	r.t.Helper()
	c, err := r.tcp.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c net.Conn, frames ...[]byte) {
	t.Helper()
	if _, err := c.Write(bytes.Join(frames, nil)); err != nil {
		t.Fatal(err)
	}
}

// gone waits until the server has closed a connection.
func gone(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestIngest(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.backend()
		l := r.listen("p=123&s=s")
		l.block()
		write(t, c, frame("123", "s", "hi"))
		if got := l.block(); !strings.HasSuffix(got, "\ndata: hi\n\n") {
			t.Errorf("got %q", got)
		}
		// Half a frame, long after the one before, and nobody listens.
		time.Sleep(24 * time.Hour)
		late := frame("a/b", "", "later")
		write(t, c, late[:5])
		time.Sleep(29 * time.Second)
		write(t, c, late[5:], frame("123", "s", "\xff\x00"), frame("123", "s", ""))
		synctest.Wait()
		want := []string{"qri/123/s hi", "qri/a~2Fb/~ later", "qri/123/s \xff\x00", "qri/123/s "}
		if got := r.history(); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		page, err := r.domain.Log().Read(t.Context(), engine.Query{Filter: topic.NewFilter(topic.All())})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Messages {
			if binary := m.Data != nil && bytes.Contains(m.Data, []byte{0xff}); m.Binary != binary {
				t.Errorf("%q is binary: %v", m.Data, m.Binary)
			}
		}
		conn := r.table.List("", 10, func(c *transport.Conn) bool { return c.Transport == "qri" })
		if len(conn) != 1 || conn[0].Received.Load() != 4 {
			t.Errorf("%d connections of backends", len(conn))
		}
		_ = c.Close()
		synctest.Wait()
		if got := r.counter("crier_connections_ended_total", "transport", "qri", "reason", "done"); got != 1 {
			t.Errorf("%v connections done", got)
		}
		if got := r.counter("crier_qri_messages_total"); got != 4 {
			t.Errorf("%v messages counted", got)
		}
	})
}

// TestIngestOrder: what one connection sends stays in order, whatever the
// pieces, and however many connections there are.
func TestIngestOrder(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		const each, backends = 5000, 4
		var writing sync.WaitGroup
		for b := range backends {
			c := r.backend()
			var stream []byte
			for i := range each {
				stream = append(stream, frame(fmt.Sprint(b), "s", fmt.Sprint(i))...)
			}
			writing.Go(func() {
				for piece := 1; len(stream) > 0; piece = piece*3%7001 + 1 {
					n := min(piece, len(stream))
					write(t, c, stream[:n])
					stream = stream[n:]
				}
				_ = c.Close()
			})
		}
		writing.Wait()
		synctest.Wait()
		next := map[string]int{}
		for _, m := range r.history() {
			name, data, _ := strings.Cut(m, " ")
			if data != fmt.Sprint(next[name]) {
				t.Fatalf("%s: %s came, want %d", name, data, next[name])
			}
			next[name]++
		}
		for b := range backends {
			if got := next[qri.Topic(fmt.Sprint(b), "s")]; got != each {
				t.Errorf("%d of %d messages of backend %d", got, each, b)
			}
		}
	})
}

// TestIngestFaults: a fault closes that one connection; what came before it is
// delivered, and others go on.
func TestIngestFaults(t *testing.T) {
	good := frame("1", "s", "before")
	for _, tt := range []struct {
		name   string
		send   []byte
		label  string
		reason string
	}{
		{"another first byte", []byte("GET / HTTP/1.1\r\n"), "broken", "byte 16: a message begins with 30 (SEQUENCE), not 47"},
		{"a broken frame", []byte{0x30, 0x03, 0x02}, "broken", "byte 18: tag 02"},
		{"a frame too big", []byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}, "too_big", "over the limit"},
		{"a message too big", tlv(0x30, tlv(4, []byte("1")), tlv(4, []byte("s")), tlv(4, make([]byte, 2001)))[:14], "too_big", "the message is over the limit of 2000"},
		{"a peer too big", tlv(0x30, tlv(4, make([]byte, 4097)))[:8], "too_big", "the peer is over the limit of 4096"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log lines
			o := options{ingest: qri.IngestConfig{MaxMessage: 2000, Logger: slog.New(slog.NewTextHandler(&log, nil))}}
			bubble(t, o, func(t *testing.T, r *rig) {
				c, other := r.backend(), r.backend()
				_, _ = c.Write(append(good, tt.send...)) // it may be closed before all is written
				gone(t, c)
				write(t, other, frame("2", "s", "goes on"))
				synctest.Wait()
				if got := r.history(); !slices.Equal(got, []string{"qri/1/s before", "qri/2/s goes on"}) {
					t.Errorf("%q", got)
				}
				if got := log.String(); !strings.Contains(got, tt.reason) || !strings.Contains(got, "client=") {
					t.Errorf("logged %s, want %s", got, tt.reason)
				}
				for _, name := range []string{"crier_qri_connections_closed_total", "crier_connections_ended_total"} {
					if got := r.counter(name, "reason", tt.label); got != 1 {
						t.Errorf("%s of %s: %v", name, tt.label, got)
					}
				}
			})
		})
	}
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestIngestEndInAFrame is normal: nothing is said of it.
func TestIngestEndInAFrame(t *testing.T) {
	var log lines
	o := options{ingest: qri.IngestConfig{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	bubble(t, o, func(t *testing.T, r *rig) {
		c := r.backend()
		f := frame("1", "s", "again")
		write(t, c, frame("1", "s", "first"), f[:9])
		_ = c.Close()
		synctest.Wait() // two connections have no order between them
		c = r.backend()
		write(t, c, f)
		synctest.Wait()
		if got := r.history(); !slices.Equal(got, []string{"qri/1/s first", "qri/1/s again"}) {
			t.Errorf("%q", got)
		}
		if got := log.String(); got != "" {
			t.Errorf("logged %s", got)
		}
	})
}

// TestIngestFrameTime: a frame that was begun has to come within its time, and
// there is no other timeout.
func TestIngestFrameTime(t *testing.T) {
	bubble(t, options{ingest: qri.IngestConfig{FrameTimeout: 10 * time.Second}}, func(t *testing.T, r *rig) {
		c := r.backend()
		time.Sleep(time.Hour)
		f := frame("1", "s", "slow enough")
		for i := range f { // 27 bytes in less than ten seconds
			write(t, c, f[i:i+1])
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		began := time.Now()
		write(t, c, f[:1])
		time.Sleep(6 * time.Second)
		write(t, c, f[1:2])
		gone(t, c)
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("closed after %v", d)
		}
		if got := r.counter("crier_qri_connections_closed_total", "reason", "timeout"); got != 1 {
			t.Errorf("%v timeouts counted", got)
		}
	})
}

// TestIngestBackPressure: while the log is away a connection is not read from,
// beyond a bound, and nothing is lost or doubled; the time for a frame does
// not run meanwhile.
func TestIngestBackPressure(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.backend()
		r.engine.is.Store(true)
		data := strings.Repeat("x", 1000)
		const count = 5000
		var stream []byte
		for i := range count {
			stream = append(stream, frame("1", "s", fmt.Sprintf("%d %s", i, data))...)
		}
		var mu sync.Mutex
		written := 0
		done := make(chan error)
		go func() {
			for p := stream; len(p) > 0; {
				n := min(1000, len(p))
				if _, err := c.Write(p[:n]); err != nil {
					done <- err
					return
				}
				mu.Lock()
				written += n
				mu.Unlock()
				p = p[n:]
			}
			done <- nil
		}()
		time.Sleep(10 * time.Minute)
		mu.Lock()
		stuck := written
		mu.Unlock()
		if stuck < 100_000 || stuck > 2<<20 {
			t.Errorf("%d bytes were taken while the log was away", stuck)
		}
		if got := len(r.history()); got != 0 {
			t.Errorf("%d messages in the log", got)
		}
		r.engine.is.Store(false)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		got := r.history()
		for i, m := range got {
			if !strings.HasPrefix(m, fmt.Sprintf("qri/1/s %d x", i)) {
				t.Fatalf("message %d is %.30s", i, m)
			}
		}
		if len(got) != count {
			t.Errorf("%d of %d messages", len(got), count)
		}
	})
}

func TestIngestTooManyConnections(t *testing.T) {
	bubble(t, options{ingest: qri.IngestConfig{MaxConns: 2}}, func(t *testing.T, r *rig) {
		one, two := r.backend(), r.backend()
		gone(t, r.backend())
		if got := r.counter("crier_connections_refused_total", "reason", "qri"); got != 1 {
			t.Errorf("%v refusals counted", got)
		}
		_ = two.Close()
		synctest.Wait()
		three := r.backend()
		write(t, three, frame("1", "s", "three"))
		write(t, one, frame("1", "s", "one"))
		synctest.Wait()
		if got := r.history(); len(got) != 2 {
			t.Errorf("%q", got)
		}
	})
}

// TestIngestStops: when the server stops, what has come is read and published
// first.
func TestIngestStops(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.backend()
		write(t, c, frame("1", "s", "one"))
		writing := make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				if _, err := c.Write(frame("1", "s", "more")); err != nil {
					writing <- n
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		_ = r.tcp.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.table.Drain(ctx, 0); err != nil {
			t.Fatal(err)
		}
		r.ingest.Close(ctx)
		n := <-writing
		if got := len(r.history()); got != n+1 {
			t.Errorf("%d messages in the log, %d were taken", got, n+1)
		}
	})
	// And one for which the log is away does not keep it for ever.
	bubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.backend()
		r.engine.is.Store(true)
		write(t, c, frame("1", "s", "lost"))
		time.Sleep(time.Second)
		began := time.Now()
		r.stop()
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("it took %v to stop", d)
		}
	})
}

// TestIngestKicked: the operator can end a connection.
func TestIngestKicked(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		c := r.backend()
		write(t, c, frame("1", "s", "one"))
		synctest.Wait()
		r.table.List("", 1, nil)[0].End(transport.ErrKicked)
		gone(t, c)
		if got := r.counter("crier_connections_ended_total", "transport", "qri", "reason", "kicked"); got != 1 {
			t.Errorf("%v kicked", got)
		}
	})
}
