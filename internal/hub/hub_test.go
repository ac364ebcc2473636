package hub_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
)

// open starts a hub on an engine in RAM with the domain main.
func open(t *testing.T, cfg hub.Config) (*hub.Hub, *hub.Domain) {
	t.Helper()
	if cfg.Engine == nil {
		eng := memory.New(memory.Config{})
		t.Cleanup(func() { _ = eng.Close() })
		cfg.Engine = eng
	}
	cfg.Defaults.Durability = engine.Memory
	h, err := hub.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	d, err := h.Domain(hub.Main)
	if err != nil {
		t.Fatal(err)
	}
	return h, d
}

func filter(t *testing.T, patterns ...string) topic.Filter {
	t.Helper()
	parsed := make([]topic.Pattern, len(patterns))
	for i, s := range patterns {
		p, err := topic.ParsePattern(s)
		if err != nil {
			t.Fatal(err)
		}
		parsed[i] = p
	}
	return topic.NewFilter(parsed...)
}

func publish(t *testing.T, d *hub.Domain, topicName string, data ...string) engine.Receipt {
	t.Helper()
	var b engine.Block
	for _, s := range data {
		b.Drafts = append(b.Drafts, message.Draft{Topic: topicName, Data: []byte(s)})
	}
	r, err := d.Publish(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// reader pulls from a subscription as a transport does.
type reader struct {
	t      *testing.T
	sub    *hub.Subscription
	signal hub.Signal
	batch  hub.Batch
}

func subscribe(t *testing.T, d *hub.Domain, o hub.Options) *reader {
	t.Helper()
	r := &reader{t: t, signal: hub.NewSignal()}
	o.Waker = r.signal
	sub, err := d.Subscribe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sub.Close)
	r.sub = sub
	return r
}

// next waits for n things and returns them: the data of messages, gaps as
// "gap reason".
func (r *reader) next(n int) []string {
	r.t.Helper()
	var got []string
	for len(got) < n {
		if err := r.sub.Poll(r.t.Context(), &r.batch, n-len(got), 0); err != nil {
			r.t.Fatal(err)
		}
		if r.batch.Gap != nil {
			got = append(got, "gap "+string(r.batch.Gap.Reason))
		}
		for _, e := range r.batch.Entries {
			got = append(got, string(e.Data))
		}
		if r.batch.Done {
			return append(got, "done")
		}
		if r.batch.Empty() {
			<-r.signal
		}
	}
	return got
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("got %q, want %q", got, want)
	}
}

func TestLiveAndAfterTheFact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := open(t, hub.Config{})
		live := subscribe(t, d, hub.Options{Filter: filter(t, "a/*", "b")})
		first := publish(t, d, "a/x", "1")
		publish(t, d, "c", "not for them")
		publish(t, d, "b", "2", "3")
		want(t, live.next(3), "1", "2", "3")

		after := subscribe(t, d, hub.Options{Filter: filter(t, "**"), Start: message.After(first.First)})
		want(t, after.next(3), "not for them", "2", "3")

		all := subscribe(t, d, hub.Options{Filter: filter(t, "b"), Start: message.Earliest(), UntilHead: true})
		want(t, all.next(9), "2", "3", "done")

		last := subscribe(t, d, hub.Options{Filter: filter(t, "a/*", "b"), Start: message.Last(2)})
		want(t, last.next(2), "2", "3")
		publish(t, d, "b", "4")
		want(t, last.next(1), "4")
		want(t, after.next(1), "4")
	})
}

// Subscriptions of the same patterns have them in memory once, others their own.
func TestFiltersAreShared(t *testing.T) {
	_, d := open(t, hub.Config{})
	first := func(patterns ...string) *topic.Pattern {
		r := subscribe(t, d, hub.Options{Filter: filter(t, patterns...)})
		got := r.sub.Filter()
		if !got.Equal(filter(t, patterns...)) {
			t.Fatalf("subscribed to %v, has %v", patterns, got)
		}
		return &got.Patterns()[0]
	}
	for _, patterns := range [][]string{{"a/b"}, {"a/*"}, {"**"}, {"a", "b/**"}} {
		if one, other := first(patterns...), first(patterns...); one != other {
			t.Errorf("%v is in memory twice", patterns)
		}
	}
	if first("a/b") == first("a/b", "c") || first("a/b") == first("a/c") {
		t.Error("other patterns share a filter")
	}
}

func TestPositionMovesPastWhatDoesNotMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := open(t, hub.Config{})
		r := subscribe(t, d, hub.Options{Filter: filter(t, "mine")})
		other := publish(t, d, "other", "1", "2", "3")
		synctest.Wait()
		id, lag := r.sub.Position()
		if id != other.ID(2) || lag != 0 {
			t.Fatalf("position %v, lag %d; want %v, 0", id, lag, other.ID(2))
		}
	})
}

func TestGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := open(t, hub.Config{})
		first := publish(t, d, "keep", "k1")
		publish(t, d, "gone", "g1", "g2")
		publish(t, d, "keep", "k2")
		if err := d.Forget(t.Context(), "gone"); err != nil {
			t.Fatal(err)
		}
		want(t, subscribe(t, d, hub.Options{Filter: filter(t, "keep"), Start: message.After(first.First)}).next(1), "k2")
		want(t, subscribe(t, d, hub.Options{Filter: filter(t, "gone"), Start: message.After(first.First)}).next(1), "gap deleted")
		want(t, subscribe(t, d, hub.Options{Filter: filter(t, "**"), Start: message.After(first.First)}).next(2), "gap deleted", "k2")

		stranger := message.ID{Epoch: message.Epoch{Began: 1, Rand: 2}, Seq: 3}
		want(t, subscribe(t, d, hub.Options{Filter: filter(t, "keep"), Start: message.After(stranger)}).next(3), "gap epoch", "k1", "k2")
		ahead := first.First
		ahead.Seq = 999
		r := subscribe(t, d, hub.Options{Filter: filter(t, "keep"), Start: message.After(ahead)})
		want(t, r.next(1), "gap epoch")
		publish(t, d, "keep", "k3")
		want(t, r.next(1), "k3")
		want(t, subscribe(t, d, hub.Options{Filter: filter(t, "keep"), Unreadable: "nonsense"}).next(4), "gap epoch", "k1", "k2", "k3")
	})
}

func TestIdempotencyKeyUnderWay(t *testing.T) {
	_, d := open(t, hub.Config{})
	key := engine.Key{Hash: [16]byte{1}, Body: [16]byte{2}}
	b := engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("x")}}, Key: key}
	first, err := d.Publish(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Publish(context.Background(), b)
	if err != nil || !again.Repeated || again.First != first.First {
		t.Fatalf("repeat: %+v, %v; want the first receipt %+v", again, err, first)
	}
}

func TestTinyTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := open(t, hub.Config{TailBytes: 1}) // everything comes out of the store
		r := subscribe(t, d, hub.Options{Filter: filter(t, "**")})
		var sent []string
		for i := range 500 {
			s := fmt.Sprint(i)
			publish(t, d, "t", strings.Repeat("x", 500)+s)
			sent = append(sent, strings.Repeat("x", 500)+s)
		}
		want(t, r.next(500), sent...)
	})
}
