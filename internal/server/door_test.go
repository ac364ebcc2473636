package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"crier/internal/transport"
)

// queue is a listener of connections that a test makes.
type queue struct {
	from   chan any // a net.Conn or an error
	closed chan struct{}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case v := <-q.from:
		if err, ok := v.(error); ok {
			return nil, err
		}
		return v.(net.Conn), nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error {
	close(q.closed)
	return nil
}

func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

// arrival is a connection that knows whether it was closed.
type arrival struct {
	net.Conn
	mu     sync.Mutex
	closed bool
}

func (a *arrival) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	return nil
}

func (a *arrival) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// doorRig is a door with one listener, whose connections are taken by nobody
// but the test. It is used in a bubble.
type doorRig struct {
	t     *testing.T
	door  *door
	queue *queue
	let   chan net.Conn // that were let in
	log   strings.Builder
	reg   *prometheus.Registry
	close func()
}

func newDoorRig(t *testing.T, most int) *doorRig {
	r := &doorRig{t: t, queue: &queue{make(chan any, 100), make(chan struct{})}, let: make(chan net.Conn, 100), reg: prometheus.NewRegistry()}
	r.door = newDoor(most, 10*time.Second, r.reg, transport.NewMetrics(r.reg).Refused, slog.New(slog.NewTextHandler(&r.log, nil)))
	l := r.door.guard(r.queue)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Error(err)
				}
				return
			}
			r.let <- c
		}
	})
	r.close = sync.OnceFunc(func() {
		_ = l.Close()
		accepting.Wait()
	})
	t.Cleanup(r.close)
	return r
}

func (r *doorRig) arrive() *arrival {
	a := &arrival{}
	r.queue.from <- a
	synctest.Wait()
	return a
}

func (r *doorRig) entered(want int) {
	r.t.Helper()
	synctest.Wait()
	if n := len(r.let); n != want {
		r.t.Fatalf("%d connections were let in, want %d", n, want)
	}
}

func (r *doorRig) refused(reason string) int {
	var m dto.Metric
	if err := r.door.refused.WithLabelValues(reason).Write(&m); err != nil {
		r.t.Fatal(err)
	}
	return int(m.Counter.GetValue())
}

func TestDoorBoundsHandshakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDoorRig(t, 2)
		first, second := r.arrive(), r.arrive()
		third := r.arrive()
		r.entered(2)
		r.door.follow(second, http.StateActive) // its head came
		r.entered(3)

		fourth := r.arrive()
		r.entered(3)
		time.Sleep(pressed)
		r.entered(4)
		if !first.isClosed() || second.isClosed() || third.isClosed() || fourth.isClosed() {
			t.Error("not the oldest without a request was closed, or not only that")
		}
		r.door.follow(first, http.StateClosed)
		if n := r.refused("handshakes"); n != 1 {
			t.Errorf("%d refused", n)
		}

		// A second request of a connection, slow as it may be, is no handshake.
		r.door.follow(second, http.StateIdle)
		r.door.follow(third, http.StateHijacked)
		r.arrive()
		r.entered(5)
		waits := r.arrive()
		r.entered(5)
		// What waits for a place when the listener is closed is closed too.
		r.close()
		if !waits.isClosed() {
			t.Error("a connection was left when the listener closed")
		}
	})
}

func TestDoorCountsSlowHeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDoorRig(t, 10)
		slow, probe := r.arrive(), r.arrive()
		r.door.follow(probe, http.StateClosed) // came and went
		time.Sleep(10 * time.Second)
		r.door.follow(slow, http.StateClosed)
		part := r.arrive()
		time.Sleep(10 * time.Second)
		r.door.follow(part, http.StateActive)
		r.door.follow(part, http.StateClosed)
		if n := r.refused("slow"); n != 2 {
			t.Errorf("%d counted as slow, want 2", n)
		}
	})
}

// Out of descriptors, connections are closed at once, with one line for all of
// them, and let in again when there are some.
func TestDoorWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDoorRig(t, 10)
		for range 5 {
			r.queue.from <- fmt.Errorf("accept: %w", syscall.EMFILE)
		}
		synctest.Wait()
		r.arrive()
		r.entered(1) // the spare one was enough

		for range 20 {
			r.door.turnAway(&arrival{})
		}
		if n := strings.Count(r.log.String(), "too many open files"); n != 1 || r.refused("descriptors") != 20 {
			t.Errorf("%d lines for %d refused: %s", n, r.refused("descriptors"), &r.log)
		}
		r.arrive()
		if strings.Contains(r.log.String(), "let in again") {
			t.Error("it is not calm yet")
		}
		time.Sleep(calm + time.Second)
		r.arrive()
		if !strings.Contains(r.log.String(), `"connections are let in again" refused=20`) {
			t.Errorf("it does not say that it is over: %s", &r.log)
		}
		r.door.turnAway(&arrival{})
		if n := strings.Count(r.log.String(), "too many open files"); n != 2 {
			t.Errorf("%d lines for two times", n)
		}
		r.entered(3)
	})
}

// A connection with one of the last descriptors is turned away: the log needs
// them.
func TestDoorSparesDescriptors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	reg := prometheus.NewRegistry()
	d := newDoor(1, time.Second, reg, transport.NewMetrics(reg).Refused, slog.New(slog.DiscardHandler))
	if d.descriptors == 0 {
		t.Skip("this system has no limit of descriptors")
	}
	for limit, want := range map[int]bool{8: true, 1 << 20: false, 0: false} {
		d.descriptors = limit
		if got := d.scarce(c); got != want {
			t.Errorf("limit %d: scarce is %v", limit, got)
		}
	}
}
