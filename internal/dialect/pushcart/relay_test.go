package pushcart_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/dialect/pushcart"
	"crier/internal/dialect/redistest"
	"crier/internal/engine/memory"
)

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
	addr := redistest.Addr(t)
	n := newNode(t, nil)
	n.post(`{"n":-1}`) // before Redis was there: not for it
	p := redistest.NewProxy(t, addr)
	h := listen(t, addr, n.app.ID)
	r := n.relay(p.Addr)
	n.postsTo(0, 50)
	eventually(t, "all are published", func() bool { return h.inOrder(50) })
	for round, fault := range []redistest.Mode{redistest.Away, redistest.Mute} {
		p.Set(fault)
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
		p.Set(redistest.Through)
		eventually(t, "all are published", func() bool { return h.inOrder(100 + 50*round) })
		eventually(t, "it is well", func() bool { return r.Check(t.Context()) == nil })
	}
}

// TestRelayRestart: what was posted between two starts is published at the
// second, and what was published before is not, after a stop in order.
func TestRelayRestart(t *testing.T) {
	addr := redistest.Addr(t)
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
	addr := redistest.Addr(t)
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
