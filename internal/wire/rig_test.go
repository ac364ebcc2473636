package wire_test

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"crier/internal/wire"
)

// patience is how long anything may take that has to come.
const patience = 60 * time.Second

// probe is a handler that tells what it is called with. Its funcs are called
// as the handler is; nil ones are not.
type probe struct {
	wire.Socket
	t    *testing.T
	turn func(p *probe, w *wire.Worker)
	data func(p *probe, b []byte)

	mu     sync.Mutex
	heard  []byte
	turns  int
	gone   int
	inside int // calls that are under way
	news   chan struct{}
}

func newProbe(t *testing.T) *probe { return &probe{t: t, news: make(chan struct{}, 1)} }

// enter notes a call: there is never more than one, and none after Gone.
func (p *probe) enter() (leave func()) {
	p.mu.Lock()
	p.inside++
	if p.inside > 1 {
		p.t.Error("the handler is called by two at a time")
	}
	if p.gone > 0 {
		p.t.Error("the handler is called after it is gone")
	}
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.inside--
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

func (p *probe) Turn(w *wire.Worker) {
	defer p.enter()()
	p.mu.Lock()
	p.turns++
	turn := p.turn
	p.mu.Unlock()
	if turn != nil {
		turn(p, w)
	}
}

func (p *probe) Data(_ *wire.Worker, b []byte) {
	defer p.enter()()
	p.mu.Lock()
	p.heard = append(p.heard, b...)
	data := p.data
	p.mu.Unlock()
	if data != nil {
		data(p, b)
	}
}

func (p *probe) Gone(*wire.Worker) {
	leave := p.enter()
	p.Close()
	p.mu.Lock()
	p.gone++
	p.mu.Unlock()
	leave()
}

// until waits until cond, which is called with the probe's lock, is true.
func (p *probe) until(what string, cond func() bool) {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		ok := cond()
		p.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-p.news:
		case <-late.C:
			p.t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// told is what the handler was called with so far.
func (p *probe) told() (turns, heard, gone int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.turns, len(p.heard), p.gone
}

func (p *probe) hears(want string) {
	p.t.Helper()
	p.until("heard "+want, func() bool { return len(p.heard) >= len(want) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if string(p.heard) != want {
		p.t.Fatalf("heard %.100q, want %.100q", p.heard, want)
	}
}

func (p *probe) goes() {
	p.t.Helper()
	p.until("gone", func() bool { return p.gone == 1 })
}

// newEngine makes an engine that is closed with the test.
func newEngine(t *testing.T, cfg wire.Config) *wire.Engine {
	t.Helper()
	e, err := wire.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// connect makes a connection on loopback.
func connect(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// adopt puts a probe on a connection's server side.
func adopt(t *testing.T, e *wire.Engine, p *probe, initial string) *net.TCPConn {
	t.Helper()
	client, server := connect(t)
	p.Prepare()
	if err := e.Adopt(server, &p.Socket, p, []byte(initial), func(*wire.Worker) {}); err != nil {
		t.Fatal(err)
	}
	return client
}

// send writes to the server.
func send(t *testing.T, c io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// receive reads as many bytes as s has, and wants s.
func receive(t *testing.T, c io.Reader, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if n, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("received %.100q, %v, want %.100q", b[:n], err, s)
	}
}

// echo answers what comes; only for little.
func echo(p *probe, b []byte) {
	if n, err := p.Write(b); err != nil || n < len(b) {
		p.t.Errorf("wrote %d of %d bytes: %v", n, len(b), err)
	}
}

// descriptors counts those that are open.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("descriptors cannot be counted: %v", err)
	}
	return len(open)
}

// leavesNothing has a test fail that leaves descriptors, or goroutines of the
// wire, once its cleanups have run.
func leavesNothing(t *testing.T) {
	t.Helper()
	before := descriptors(t)
	t.Cleanup(func() {
		late := time.Now().Add(patience)
		for {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			left := strings.Count(string(stacks), "crier/internal/wire.(*")
			now := descriptors(t)
			if left == 0 && now <= before {
				return
			}
			if time.Now().After(late) {
				t.Errorf("%d descriptors before, %d after; %d frames of the wire in\n%s", before, now, left, stacks)
				return
			}
			runtime.Gosched()
		}
	})
}
