package transport_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/transport"
)

// peer is a ResponseWriter whose peer takes what it is allowed to.
type peer struct {
	mu       sync.Mutex
	changed  *sync.Cond
	body     bytes.Buffer
	writes   []int
	flushes  int
	room     int // bytes that it yet takes; below zero: all
	deadline time.Time
	timer    *time.Timer
	moves    int // of the deadline
	gone     bool
}

func newPeer(room int) *peer {
	p := &peer{room: room}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func (p *peer) Header() http.Header             { return http.Header{} }
func (p *peer) WriteHeader(int)                 {}
func (p *peer) SetReadDeadline(time.Time) error { return nil }

func (p *peer) SetWriteDeadline(at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = at
	p.moves++
	if p.timer != nil {
		p.timer.Stop()
	}
	if !at.IsZero() {
		p.timer = time.AfterFunc(time.Until(at), p.changed.Broadcast)
	}
	p.changed.Broadcast()
	return nil
}

func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = append(p.writes, len(b))
	for n := 0; ; {
		switch {
		case p.gone:
			return n, errors.New("connection reset")
		case p.room < 0 || p.room >= len(b)-n:
			p.body.Write(b[n:])
			p.room = max(-1, p.room-len(b)+n)
			return len(b), nil
		case !p.deadline.IsZero() && !time.Now().Before(p.deadline):
			return n, context.DeadlineExceeded
		}
		p.body.Write(b[n : n+p.room])
		n += p.room
		p.room = 0
		p.changed.Wait()
	}
}

func (p *peer) FlushError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushes++
	if p.gone {
		return errors.New("connection reset")
	}
	return nil
}

func (p *peer) take(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room += n
	p.changed.Broadcast()
}

func openStream(t *testing.T, p *peer, stall time.Duration) (*transport.Stream, *transport.Conn, prometheus.Counter) {
	t.Helper()
	conn, err := transport.NewTable(0, nil, nil).Open(t.Context(), transport.Info{Transport: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	count := prometheus.NewCounter(prometheus.CounterOpts{Name: "bytes"})
	s := transport.NewStreams(stall, count).Open(p, conn)
	t.Cleanup(s.Close)
	return s, conn, count
}

func TestStreamJoins(t *testing.T) {
	p := newPeer(-1)
	s, conn, _ := openStream(t, p, time.Minute)
	var want bytes.Buffer
	write := func(b string) {
		want.WriteString(b)
		if err := s.Write([]byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 {
		write("a small one\n")
	}
	if len(p.writes) != 0 {
		t.Fatalf("written before it is due: %v", p.writes)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(p.writes) != 1 || p.flushes != 1 {
		t.Fatalf("writes of %v, %d flushes", p.writes, p.flushes)
	}
	write("small")
	write(strings.Repeat("l", 100_000))
	write("small")
	write(strings.Repeat("m", 40_000))
	write(strings.Repeat("n", 30_000))
	write(strings.Repeat("o", 30_000))
	write(strings.Repeat("p", 30_000))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(p.body.Bytes(), want.Bytes()) {
		t.Fatal("out came other bytes than went in")
	}
	for _, n := range p.writes {
		if n > 64<<10 {
			t.Errorf("a write of %d bytes", n)
		}
	}
	if conn.Bytes.Load() != uint64(want.Len()) {
		t.Errorf("%d bytes counted, want %d", conn.Bytes.Load(), want.Len())
	}
	if !p.deadline.IsZero() {
		t.Error("a deadline is left while nothing is written")
	}
}

func TestStreamGivesUpWhoTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(10)
		s, _, _ := openStream(t, p, time.Minute)
		began := time.Now()
		_ = s.Write(make([]byte, 100))
		err := s.Flush()
		if took := time.Since(began); !errors.Is(err, transport.ErrStalled) || took != time.Minute {
			t.Fatalf("%v after %v", err, took)
		}
		if err := s.Write([]byte("more")); !errors.Is(err, transport.ErrStalled) {
			t.Fatalf("then %v", err)
		}
		if err := s.Flush(); !errors.Is(err, transport.ErrStalled) {
			t.Fatalf("then %v", err)
		}
	})
}

// A slow peer that takes a little all the time is not given up, and once it
// is known to be slow gets little at a time.
func TestStreamIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(0)
		s, _, _ := openStream(t, p, time.Minute)
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
					p.take(2000)
				}
			}
		}()
		defer close(stop)
		if err := s.Write(make([]byte, 300_000)); err != nil || s.Flush() != nil {
			t.Fatal(err)
		}
		if !s.Slow() || p.body.Len() != 300_000 {
			t.Fatalf("slow %v, %d bytes", s.Slow(), p.body.Len())
		}
		for _, n := range p.writes[1:] {
			if n > 4<<10 {
				t.Fatalf("a slow peer gets %v", p.writes)
			}
		}
		p.take(1 << 30)
		for range 64 {
			if err := s.Write(make([]byte, 4<<10)); err != nil || s.Flush() != nil {
				t.Fatal(err)
			}
		}
		if s.Slow() {
			t.Error("it is slow for ever")
		}
	})
}

// When the connection is to end, whoever waits in a write has half a second.
func TestStreamHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(0)
		s, conn, _ := openStream(t, p, time.Hour)
		time.AfterFunc(time.Minute, func() { conn.End(transport.ErrKicked) })
		began := time.Now()
		_ = s.Write(make([]byte, 100))
		err := s.Flush()
		if took := time.Since(began); !errors.Is(err, transport.ErrKicked) || took != time.Minute+500*time.Millisecond {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

// A goodbye has half a second as well, and not one for each write.
func TestStreamSaysGoodbye(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(100)
		s, conn, _ := openStream(t, p, time.Hour)
		conn.End(transport.ErrDraining)
		synctest.Wait()
		_ = s.Write(make([]byte, 100))
		if err := s.Flush(); err != nil || p.body.Len() != 100 {
			t.Fatalf("%v, %d bytes", err, p.body.Len())
		}
		time.Sleep(400 * time.Millisecond)
		_ = s.Write(make([]byte, 100))
		began := time.Now()
		err := s.Flush()
		if took := time.Since(began); !errors.Is(err, transport.ErrDraining) || took != 100*time.Millisecond {
			t.Fatalf("%v after %v", err, took)
		}
	})
}

func TestStreamNoticesWhoIsGone(t *testing.T) {
	p := newPeer(-1)
	s, _, _ := openStream(t, p, time.Minute)
	_ = s.Write([]byte("x"))
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	p.gone = true
	if err := s.Flush(); !errors.Is(err, transport.ErrGone) {
		t.Fatal(err)
	}
	if err := s.Write(make([]byte, 200_000)); !errors.Is(err, transport.ErrGone) {
		t.Fatal(err)
	}
}

// After Close nothing touches the response, which belongs to the server then.
func TestStreamCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(-1)
		s, conn, _ := openStream(t, p, time.Minute)
		_ = s.Write([]byte("x"))
		_ = s.Flush()
		s.Close()
		moves := p.moves
		conn.End(transport.ErrKicked)
		synctest.Wait()
		if p.moves != moves || !p.deadline.IsZero() {
			t.Errorf("the deadline moved after Close, to %v", p.deadline)
		}
	})
}

func TestStreamAbort(t *testing.T) {
	p := newPeer(-1)
	s, _, _ := openStream(t, p, time.Minute)
	s.Abort()
	s.Close()
	if p.deadline.IsZero() || time.Until(p.deadline) > 0 {
		t.Errorf("the deadline is %v, want one that is over", p.deadline)
	}
	if err := s.Write([]byte("x")); err == nil {
		t.Error("it takes more")
	}
}

// What hurries a connection that ends may come late: after the handler saw the
// end, and aborted.
func TestStreamStaysAborted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPeer(-1)
		s, conn, _ := openStream(t, p, time.Minute)
		s.Abort()
		conn.End(transport.ErrKicked)
		synctest.Wait()
		if p.deadline.IsZero() || time.Until(p.deadline) > 0 {
			t.Errorf("the deadline is %v, want one that is over", p.deadline)
		}
	})
}

func TestEndLabel(t *testing.T) {
	for cause, want := range map[error]string{
		nil:                      "done",
		transport.ErrDraining:    "draining",
		transport.ErrKicked:      "kicked",
		transport.ErrDomainEnded: "domain",
		transport.ErrStalled:     "stalled",
		transport.ErrGone:        "lost",
		context.Canceled:         "lost",
		errors.Join(transport.ErrCredential, context.Canceled): "credential",
	} {
		if got := transport.EndLabel(cause); got != want {
			t.Errorf("%v: %q, want %q", cause, got, want)
		}
	}
}
