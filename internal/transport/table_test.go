package transport_test

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/transport"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("2001:db8::1")
)

func openConn(t *testing.T, table *transport.Table, info transport.Info) *transport.Conn {
	t.Helper()
	c, err := table.Open(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestConnectionsOfOneAddress(t *testing.T) {
	table := transport.NewTable(2, nil, nil)
	a := openConn(t, table, transport.Info{Transport: "sse", Remote: here})
	openConn(t, table, transport.Info{Transport: "sse", Remote: here})
	_, err := table.Open(t.Context(), transport.Info{Transport: "page", Remote: here})
	if !errors.Is(err, transport.ErrTooMany) || !strings.Contains(err.Error(), "limit of 2") {
		t.Fatal(err)
	}
	openConn(t, table, transport.Info{Transport: "sse", Remote: there})
	openConn(t, table, transport.Info{Transport: "sse"}) // nobody knows from where
	openConn(t, table, transport.Info{Transport: "sse"})
	openConn(t, table, transport.Info{Transport: "sse"})
	a.Close()
	a.Close()
	openConn(t, table, transport.Info{Transport: "sse", Remote: here})
	if _, err := table.Open(t.Context(), transport.Info{Remote: here}); !errors.Is(err, transport.ErrTooMany) {
		t.Fatalf("closing one twice made room for two: %v", err)
	}
	if table.Len() != 6 {
		t.Errorf("%d are open, want 6", table.Len())
	}
}

// credential ends when it is told to.
type credential struct {
	fn      func(error)
	stopped bool
}

func (c *credential) OnEnd(fn func(error)) (stop func()) {
	c.fn = fn
	return func() { c.stopped = true }
}

func TestWhyConnectionsEnd(t *testing.T) {
	table := transport.NewTable(0, nil, nil)
	revoked := errors.New("key was revoked")
	var cred credential
	for _, tt := range []struct {
		name string
		end  func(c *transport.Conn, request context.CancelFunc)
		want []error
	}{
		{"credential", func(*transport.Conn, context.CancelFunc) { cred.fn(revoked) }, []error{transport.ErrCredential, revoked}},
		{"kicked", func(c *transport.Conn, _ context.CancelFunc) { c.End(transport.ErrKicked) }, []error{transport.ErrKicked}},
		{"the first cause counts", func(c *transport.Conn, _ context.CancelFunc) {
			c.End(transport.ErrKicked)
			cred.fn(revoked)
			c.Close()
		}, []error{transport.ErrKicked}},
		{"request", func(_ *transport.Conn, request context.CancelFunc) { request() }, []error{context.Canceled}},
		{"closed", func(c *transport.Conn, _ context.CancelFunc) { c.Close() }, []error{context.Canceled}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cred = credential{}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, err := table.Open(ctx, transport.Info{Transport: "sse", Identity: &cred})
			if err != nil {
				t.Fatal(err)
			}
			if c.Context().Err() != nil {
				t.Fatal("it has ended already")
			}
			tt.end(c, cancel)
			<-c.Context().Done()
			for _, want := range tt.want {
				if cause := context.Cause(c.Context()); !errors.Is(cause, want) {
					t.Errorf("the cause is %v, want %v", cause, want)
				}
			}
			c.Close()
			if !cred.stopped {
				t.Error("a connection that is closed still waits for its credential")
			}
		})
	}
}

func TestListing(t *testing.T) {
	opened := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	table := transport.NewTable(0, func() time.Time { return opened }, nil)
	var ids []string
	for i := range 10 {
		domain := []string{"main", "other"}[i%2]
		c := openConn(t, table, transport.Info{Transport: "sse", Domain: domain})
		ids = append(ids, c.ID())
		if !c.Opened().Equal(opened) || table.Get(c.ID()) != c {
			t.Errorf("%s: opened %v", c.ID(), c.Opened())
		}
	}
	slices.Sort(ids)
	var got []string
	for after := ""; ; {
		page := table.List(after, 3, nil)
		if len(page) == 0 {
			break
		}
		for _, c := range page {
			got = append(got, c.ID())
		}
		after = got[len(got)-1]
	}
	if !slices.Equal(got, ids) {
		t.Errorf("paged %v, want %v", got, ids)
	}
	others := table.List("", 100, func(c *transport.Conn) bool { return c.Domain == "other" })
	if len(others) != 5 {
		t.Errorf("%d of the domain, want 5", len(others))
	}
	if table.Get("nobody") != nil {
		t.Error("somebody")
	}
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, over = 250, 5 * time.Second
		table := transport.NewTable(0, nil, nil)
		began := time.Now()
		var mu sync.Mutex
		var ends []time.Duration
		var all sync.WaitGroup
		for range n {
			c, err := table.Open(context.Background(), transport.Info{Transport: "sse"})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				<-c.Context().Done()
				if cause := context.Cause(c.Context()); !errors.Is(cause, transport.ErrDraining) {
					t.Errorf("ended for %v", cause)
				}
				mu.Lock()
				ends = append(ends, time.Since(began))
				mu.Unlock()
				time.Sleep(time.Second) // the goodbye
				c.Close()
			})
		}
		if err := table.Drain(t.Context(), over); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < over || took > over+3*time.Second {
			t.Errorf("it took %v", took)
		}
		all.Wait()
		slices.Sort(ends)
		if first, last := ends[0], ends[n-1]; first > over/20 || last < over*9/10 {
			t.Errorf("ended from %v to %v, want them spread over %v", first, last, over)
		}
		for i := 1; i < n; i++ {
			if ends[i]-ends[i-1] > over/50 {
				t.Errorf("a pause of %v", ends[i]-ends[i-1])
			}
		}
		if _, err := table.Open(t.Context(), transport.Info{}); !errors.Is(err, transport.ErrDraining) {
			t.Errorf("one more comes in: %v", err)
		}
		if err := table.Drain(t.Context(), over); err != nil { // nobody is left
			t.Error(err)
		}
	})
}

func TestDrainGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		table := transport.NewTable(0, nil, nil)
		c := openConn(t, table, transport.Info{Transport: "sse"})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		err := table.Drain(ctx, time.Minute)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections left") {
			t.Errorf("%v", err)
		}
		if !errors.Is(context.Cause(c.Context()), transport.ErrDraining) {
			t.Error("it was not told to end")
		}
	})
}

func TestSubscriptionsAreShown(t *testing.T) {
	eng := memory.New(memory.Config{})
	defer func() { _ = eng.Close() }()
	h, err := hub.New(t.Context(), hub.Config{Engine: eng, Defaults: hub.Settings{Durability: engine.Memory}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	d, err := h.Domain(hub.Main)
	if err != nil {
		t.Fatal(err)
	}
	r, err := d.Publish(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a"}, {Topic: "a"}, {Topic: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := d.Subscribe(t.Context(), hub.Options{
		Filter: topic.NewFilter(topic.Exactly("a"), topic.All()), Start: message.After(r.First), Waker: hub.NewSignal(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c := openConn(t, transport.NewTable(0, nil, nil), transport.Info{Transport: "sse"})
	c.Track("one", sub)
	views := c.Subscriptions()
	if len(views) != 1 || views[0].Name != "one" || !slices.Equal(views[0].Patterns, []string{"a", "**"}) || views[0].Cursor != r.First || views[0].Lag > 2 {
		t.Errorf("%+v", views)
	}
	c.Untrack(sub)
	if views = c.Subscriptions(); len(views) != 0 {
		t.Errorf("%+v", views)
	}
}

func TestJitter(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		d := transport.Jitter(2*time.Second, 6*time.Second)
		if d < 2*time.Second || d > 6*time.Second {
			t.Fatal(d)
		}
		seen[d/(100*time.Millisecond)] = true
	}
	if len(seen) < 35 {
		t.Errorf("of 40 tenths of a second only %d", len(seen))
	}
	if d := transport.Jitter(time.Second, time.Second); d != time.Second {
		t.Error(d)
	}
}
