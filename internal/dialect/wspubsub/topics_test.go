package wspubsub_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/dialect/wspubsub"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/transport/websocket"
)

const grace = 10 * time.Second

// registry is one in memory that can be away, and into whose calls others can
// come.
type registry struct {
	engine.Registry
	away   atomic.Bool
	lost   atomic.Bool // the next put is done, and its answer does not come
	before atomic.Pointer[func(call, name string)]
	writes atomic.Int64
}

func newRegistry() *registry { return &registry{Registry: memory.NewRegistry(time.Now)} }

func (r *registry) come(call, name string) error {
	if fn := r.before.Swap(nil); fn != nil {
		(*fn)(call, name)
	}
	if r.away.Load() {
		return fmt.Errorf("%w: test", engine.ErrUnavailable)
	}
	return nil
}

func (r *registry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if r.away.Load() {
		return engine.Entry{}, fmt.Errorf("%w: test", engine.ErrUnavailable)
	}
	return r.Registry.Get(ctx, kind, name)
}

func (r *registry) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	if err := r.come("put", name); err != nil {
		return 0, err
	}
	r.writes.Add(1)
	v, err := r.Registry.Put(ctx, kind, name, value, expect, fence)
	if err == nil && r.lost.Swap(false) {
		return 0, fmt.Errorf("%w: test", engine.ErrUnavailable)
	}
	return v, err
}

func (r *registry) Delete(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease) error {
	if err := r.come("delete", name); err != nil {
		return err
	}
	r.writes.Add(1)
	return r.Registry.Delete(ctx, kind, name, expect, fence)
}

// conn is a connection that notes how it ends.
type conn struct {
	name  string
	cause atomic.Pointer[error]
}

func (c *conn) End(cause error) { c.cause.CompareAndSwap(nil, &cause) }

// end is the code and reason with which it was closed; "": it goes on.
func (c *conn) end() string {
	p := c.cause.Load()
	if p == nil {
		return ""
	}
	var closed *websocket.Close
	if errors.As(*p, &closed) {
		return fmt.Sprintf("%d %s", closed.Code, closed.Reason)
	}
	return (*p).Error()
}

const (
	topicEnded = "1001 topic ended"
	takenOver  = "1013 the topic was taken over"
)

// world is nodes over one registry.
type world struct {
	t   *testing.T
	reg *registry
}

func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(&world{t, newRegistry()}) })
}

// open starts a node; the caller closes it.
func (w *world) open(node string) *wspubsub.Topics {
	w.t.Helper()
	topics, err := wspubsub.OpenTopics(context.Background(), wspubsub.TopicsConfig{Registry: w.reg, Node: node, Grace: grace})
	if err != nil {
		w.t.Fatal(err)
	}
	return topics
}

// shut is the end of a node in order.
func shut(topics *wspubsub.Topics) { topics.Close(context.Background()) }

func (w *world) own(topics *wspubsub.Topics, name string) (*wspubsub.Ownership, *conn) {
	w.t.Helper()
	c := &conn{name: name}
	o, err := topics.Own(context.Background(), name, c)
	if err != nil {
		w.t.Fatalf("own %s: %v", name, err)
	}
	return o, c
}

func (w *world) join(topics *wspubsub.Topics, name string) *conn {
	w.t.Helper()
	c := &conn{name: name}
	if _, err := topics.Join(context.Background(), name, c); err != nil {
		w.t.Fatalf("join %s: %v", name, err)
	}
	return c
}

func (w *world) refused(topics *wspubsub.Topics, name string) {
	w.t.Helper()
	if _, err := topics.Own(context.Background(), name, &conn{}); !errors.Is(err, wspubsub.ErrOwned) {
		w.t.Errorf("own %s: %v, want that it is owned", name, err)
	}
}

func (w *world) notStarted(topics *wspubsub.Topics, name string) {
	w.t.Helper()
	if _, err := topics.Join(context.Background(), name, &conn{}); !errors.Is(err, wspubsub.ErrNotStarted) {
		w.t.Errorf("join %s: %v, want that it is not started", name, err)
	}
}

// goesOn wants connections that were not closed.
func (w *world) goesOn(conns ...*conn) {
	w.t.Helper()
	synctest.Wait()
	for _, c := range conns {
		if got := c.end(); got != "" {
			w.t.Errorf("%s was closed: %s", c.name, got)
		}
	}
}

func (w *world) closed(want string, conns ...*conn) {
	w.t.Helper()
	synctest.Wait()
	for _, c := range conns {
		if got := c.end(); got != want {
			w.t.Errorf("%s: closed with %q, want %q", c.name, got, want)
		}
	}
}

// TestLifeOfATopic is the whole of it: not started, owned, in its grace, taken
// over, ended, and started anew as another.
func TestLifeOfATopic(t *testing.T) {
	inWorld(t, func(w *world) {
		topics := w.open("a")
		defer shut(topics)
		w.notStarted(topics, "d/t")
		first, owner := w.own(topics, "d/t")
		sub := w.join(topics, "d/t")
		w.refused(topics, "d/t")
		w.own(topics, "d/other")
		time.Sleep(time.Hour) // it needs nothing but its owner
		w.goesOn(sub, owner)
		if err := first.Hold(context.Background()); err != nil {
			t.Errorf("hold: %v", err)
		}

		first.Leave()
		time.Sleep(grace - time.Millisecond)
		late := w.join(topics, "d/t")
		second, _ := w.own(topics, "d/t") // in the last moment
		time.Sleep(2 * grace)
		w.goesOn(sub, late)

		second.Leave()
		time.Sleep(grace - time.Millisecond)
		w.goesOn(sub, late)
		time.Sleep(time.Millisecond)
		w.closed(topicEnded, sub, late)
		w.notStarted(topics, "d/t")

		third, _ := w.own(topics, "d/t")
		again := w.join(topics, "d/t")
		w.goesOn(again)
		third.Leave()
		// A grace that was interrupted is forgotten: the next is whole.
		time.Sleep(grace / 2)
		fourth, _ := w.own(topics, "d/t")
		fourth.Leave()
		time.Sleep(grace - time.Millisecond)
		w.goesOn(again)
		time.Sleep(time.Millisecond)
		w.closed(topicEnded, again)
	})
}

// TestTwoPublishersRace: of many that come at once, one is the owner.
func TestTwoPublishersRace(t *testing.T) {
	for _, nodes := range [][]string{{"a", "a"}, {"a", "b"}} {
		inWorld(t, func(w *world) {
			all := map[string]*wspubsub.Topics{}
			for _, name := range nodes {
				if all[name] == nil {
					all[name] = w.open(name)
					defer shut(all[name])
				}
			}
			for round := range 20 {
				name := fmt.Sprintf("d/%d", round)
				var racing sync.WaitGroup
				var owners, refused atomic.Int64
				for i := range 10 {
					racing.Go(func() {
						_, err := all[nodes[i%len(nodes)]].Own(context.Background(), name, &conn{})
						switch {
						case err == nil:
							owners.Add(1)
						case errors.Is(err, wspubsub.ErrOwned):
							refused.Add(1)
						default:
							t.Error(err)
						}
					})
				}
				racing.Wait()
				if owners.Load() != 1 || refused.Load() != 9 {
					t.Errorf("%v: %d owners, %d refused", nodes, owners.Load(), refused.Load())
				}
			}
		})
	}
}

// TestExpiryAgainstTakeover: whoever is first wins, and the other knows. One
// comes into the middle of the other's write, on one node and on two.
func TestExpiryAgainstTakeover(t *testing.T) {
	t.Run("takeover while the end is written", func(t *testing.T) {
		inWorld(t, func(w *world) {
			a, b := w.open("a"), w.open("b")
			defer shut(a)
			defer shut(b)
			o, _ := w.own(a, "d/t")
			sub := w.join(a, "d/t")
			o.Leave()
			synctest.Wait()
			var second *wspubsub.Ownership
			over := func(call, _ string) {
				if call != "delete" {
					t.Errorf("a %s came first", call)
				}
				second, _ = w.own(b, "d/t")
			}
			w.reg.before.Store(&over)
			time.Sleep(grace)
			w.goesOn(sub)
			if second == nil {
				t.Fatal("nobody came in between")
			}
			w.refused(a, "d/t")
			second.Leave()
			time.Sleep(grace + 5*time.Second) // of which the other node hears
			w.closed(topicEnded, sub)
		})
	})
	t.Run("the end while a takeover is written", func(t *testing.T) {
		inWorld(t, func(w *world) {
			a, b := w.open("a"), w.open("b")
			defer shut(a)
			defer shut(b)
			o, _ := w.own(a, "d/t")
			sub := w.join(a, "d/t")
			o.Leave()
			time.Sleep(grace - time.Millisecond)
			late := func(call, _ string) {
				if call != "put" {
					t.Errorf("a %s came first", call)
				}
				time.Sleep(2 * time.Millisecond) // the grace is over
			}
			w.reg.before.Store(&late)
			w.own(b, "d/t") // starts it anew
			w.closed(topicEnded, sub)
			w.join(b, "d/t")
			w.join(a, "d/t")
		})
	})
	t.Run("at the same moment on one node", func(t *testing.T) {
		for range 50 {
			inWorld(t, func(w *world) {
				topics := w.open("a")
				defer shut(topics)
				o, _ := w.own(topics, "d/t")
				sub := w.join(topics, "d/t")
				o.Leave()
				time.Sleep(grace)
				_, owner := w.own(topics, "d/t")
				time.Sleep(2 * grace)
				w.goesOn(owner)
				// The subscriber goes on, or was told that its topic ended.
				if got := sub.end(); got != "" && got != topicEnded {
					t.Errorf("closed with %q", got)
				}
				w.goesOn(w.join(topics, "d/t"))
			})
		}
	})
}

// TestComesBackAtOnce: who closes its connection and opens another does not
// find itself the owner.
func TestComesBackAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		topics := w.open("a")
		defer shut(topics)
		o, _ := w.own(topics, "d/t")
		go func() {
			time.Sleep(100 * time.Millisecond)
			o.Leave()
		}()
		began := time.Now()
		w.own(topics, "d/t")
		if d := time.Since(began); d != 100*time.Millisecond {
			t.Errorf("it took %v", d)
		}
	})
}

// TestRestart: what was owned, or in its grace, has the full grace anew,
// whether the server was stopped or killed.
func TestRestart(t *testing.T) {
	for _, how := range []string{"stopped", "killed"} {
		t.Run(how, func(t *testing.T) {
			inWorld(t, func(w *world) {
				before := w.open("a")
				owned, _ := w.own(before, "d/owned")
				left, _ := w.own(before, "d/left")
				left.Leave()
				time.Sleep(grace - time.Second)
				if how == "stopped" {
					before.Freeze()
					owned.Leave() // the drain ends connections
					shut(before)
				} else {
					defer shut(before) // a killed one does nothing any more
					before.Freeze()
				}
				time.Sleep(time.Hour)
				after := w.open("a")
				defer shut(after)
				one, two := w.join(after, "d/owned"), w.join(after, "d/left")
				time.Sleep(grace - time.Millisecond)
				w.goesOn(one, two)
				w.own(after, "d/owned")
				time.Sleep(time.Millisecond)
				w.closed(topicEnded, two)
				time.Sleep(time.Hour)
				w.goesOn(one)
			})
		})
	}
}

// TestStopWritesNothing: thousands of owners that go at a stop are not as many
// writes.
func TestStopWritesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		topics := w.open("a")
		var all []*wspubsub.Ownership
		for i := range 100 {
			o, _ := w.own(topics, fmt.Sprintf("d/%d", i))
			all = append(all, o)
		}
		topics.Freeze()
		before := w.reg.writes.Load()
		for _, o := range all {
			o.Leave()
		}
		time.Sleep(2 * grace)
		shut(topics)
		if n := w.reg.writes.Load() - before; n != 0 {
			t.Errorf("%d writes", n)
		}
	})
}
