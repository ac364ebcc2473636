package pushcart_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/dialect/pushcart"
	"crier/internal/engine/memory"
)

// realRedis gives the address of a Redis, HOST:PORT: the one of the
// environment, the usual one of this machine, or one that is started.
func realRedis(t *testing.T) string {
	t.Helper()
	addr := strings.TrimPrefix(cmp.Or(os.Getenv("CRIER_REDIS"), "redis://127.0.0.1:6379"), "redis://")
	if answers(addr) {
		return addr
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Redis answers at " + addr + ", and there is no redis-server to start")
		}
		t.Skip("no Redis answers at " + addr + ", and there is no redis-server to start")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(program, "--port", port, "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "redis-server answers", func() bool { return answers(addr) })
	return addr
}

func answers(addr string) bool {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(nc, "PING\r\n")
	b := make([]byte, 7)
	_, err = io.ReadFull(nc, b)
	return err == nil && string(b) == "+PONG\r\n"
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// proxy stands before a Redis and takes it away.
type proxy struct {
	t    *testing.T
	addr string
	to   string

	mu    sync.Mutex
	away  bool // connections are closed
	mute  bool // what is answered does not get through
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, addr: l.Addr().String(), to: to, conns: map[net.Conn]bool{}}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.set(true, false)
		p.wg.Wait()
	})
	return p
}

func (p *proxy) set(away, mute bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute && !mute { // who was not answered is not answered later either
		away, p.away = true, away
	} else {
		p.away = away
	}
	p.mute = mute
	if away {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

func (p *proxy) muted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mute
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	r, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer r.Close()
	p.mu.Lock()
	if p.away {
		p.mu.Unlock()
		return
	}
	p.conns[c], p.conns[r] = true, true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, c)
		delete(p.conns, r)
		p.mu.Unlock()
	}()
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(r, c)
		_ = r.Close()
	})
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		if err != nil {
			break
		}
		if p.muted() {
			continue
		}
		if _, err := c.Write(buf[:n]); err != nil {
			break
		}
	}
	_ = c.Close()
	both.Wait()
}

// heard is what Redis delivered of the messages of one app.
type heard struct {
	mu  sync.Mutex
	all []int
}

// listen subscribes to the channel; others may publish there, too.
func listen(t *testing.T, addr, app string) *heard {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	subscribed := make(chan struct{})
	wg.Go(func() {
		once := sync.OnceFunc(func() { close(subscribed) })
		ctx := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { once() })
		_ = c.Receive(ctx, c.B().Subscribe().Channel(pushcart.Channel).Build(), func(m rueidis.PubSubMessage) {
			var msg struct {
				N   int
				App struct {
					ID string `json:"_id"`
				}
			}
			if json.Unmarshal([]byte(m.Message), &msg) == nil && msg.App.ID == app {
				h.mu.Lock()
				h.all = append(h.all, msg.N)
				h.mu.Unlock()
			}
		})
	})
	t.Cleanup(func() {
		cancel()
		c.Close()
		wg.Wait()
	})
	select {
	case <-subscribed:
	case <-time.After(patience):
		t.Fatal("not subscribed")
	}
	return h
}

func (h *heard) list() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// inOrder reports whether all numbers to n are there, each for the first time
// after those before it.
func (h *heard) inOrder(n int) bool {
	next := 0
	for _, got := range h.list() {
		if got > next {
			return false
		}
		if got == next {
			next++
		}
	}
	return next == n
}

func (n *node) relay(addr string) *pushcart.Relay {
	n.t.Helper()
	r, err := pushcart.OpenRelay(n.t.Context(), pushcart.RelayConfig{
		URL: "redis://" + addr, Domain: n.domain, Messages: n.messages, Registry: n.engine.Registry(), Lease: lease,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(sync.OnceFunc(r.Close))
	return r
}

func (n *node) postsTo(from, to int) {
	n.t.Helper()
	for i := from; i < to; i++ {
		n.post(fmt.Sprintf(`{"n":%d}`, i))
	}
}

// TestRedisAway: what is posted while Redis is away is published when it is
// back, in order, and who posts does not wait.
func TestRedisAway(t *testing.T) {
	addr := realRedis(t)
	n := newNode(t, nil)
	n.post(`{"n":-1}`) // before Redis was there: not for it
	p := newProxy(t, addr)
	h := listen(t, addr, n.app.ID)
	r := n.relay(p.addr)
	n.postsTo(0, 50)
	eventually(t, "all are published", func() bool { return h.inOrder(50) })
	for round, fault := range []func(){func() { p.set(true, false) }, func() { p.set(false, true) }} {
		fault()
		began := time.Now()
		n.postsTo(50+50*round, 100+50*round)
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("posting took %v", took)
		}
		eventually(t, "it is noticed", func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return r.Check(ctx) != nil
		})
		p.set(false, false)
		eventually(t, "all are published", func() bool { return h.inOrder(100 + 50*round) })
		eventually(t, "it is well", func() bool { return r.Check(t.Context()) == nil })
	}
}

// TestRelayRestart: what was posted between two starts is published at the
// second, and what was published before is not, after a stop in order.
func TestRelayRestart(t *testing.T) {
	addr := realRedis(t)
	n := newNode(t, nil)
	h := listen(t, addr, n.app.ID)
	first := n.relay(addr)
	n.postsTo(0, 20)
	eventually(t, "all are published", func() bool { return h.inOrder(20) })
	first.Close()
	n.postsTo(20, 40)
	n.relay(addr)
	eventually(t, "all are published", func() bool { return h.inOrder(40) })
	if got := h.list(); len(got) != 40 {
		t.Errorf("published %d times: %v", len(got), got)
	}
}

// TestRelays: of several nodes one publishes, and another goes on when it is
// gone.
func TestRelays(t *testing.T) {
	addr := realRedis(t)
	eng := memory.New(memory.Config{})
	t.Cleanup(func() { _ = eng.Close() })
	a, b := newNode(t, eng), newNode(t, eng)
	b.app, b.appToken = a.app, a.appToken
	h := listen(t, addr, a.app.ID)
	first := a.relay(addr)
	b.relay(addr)
	a.postsTo(0, 20)
	b.postsTo(20, 40)
	eventually(t, "all are published", func() bool { return h.inOrder(40) })
	if got := h.list(); len(got) != 40 {
		t.Errorf("published %d times: %v", len(got), got)
	}
	first.Close()
	b.postsTo(40, 60)
	eventually(t, "the other goes on", func() bool { return h.inOrder(60) })
}
