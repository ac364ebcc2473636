package wspubsub_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"crier/internal/dialect/wspubsub"
	"crier/internal/engine"
)

// TestNodes: a topic of one node can be heard and taken over at another, and
// subscribers everywhere learn of its end.
func TestNodes(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.open("a"), w.open("b")
		defer shut(a)
		defer shut(b)
		o, _ := w.own(a, "d/t")
		here, there := w.join(a, "d/t"), w.join(b, "d/t")
		w.refused(b, "d/t")
		o.Leave()
		second, _ := w.own(b, "d/t")
		time.Sleep(3 * grace)
		w.goesOn(here, there)
		second.Leave()
		time.Sleep(grace)
		w.closed(topicEnded, there)
		time.Sleep(5 * time.Second)
		w.closed(topicEnded, here)
		w.notStarted(a, "d/t")
	})
}

// TestAnswerIsLost: a topic that a publisher started and was not told of is not
// owned for ever, at whatever node the publisher tries again: it has its grace.
func TestAnswerIsLost(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.open("a"), w.open("b")
		defer shut(a)
		defer shut(b)
		w.reg.lost.Store(true)
		if _, err := a.Own(context.Background(), "d/t", &conn{}); !errors.Is(err, engine.ErrUnavailable) {
			t.Fatal(err)
		}
		time.Sleep(grace + 5*time.Second)
		w.notStarted(b, "d/t")
		w.own(b, "d/t")
	})
}

// TestNodeIsGone: its topics are adopted, with the full grace.
func TestNodeIsGone(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.open("a"), w.open("b")
		defer shut(b)
		w.own(a, "d/t")
		w.own(a, "d/end")
		sub, other := w.join(b, "d/t"), w.join(b, "d/end")
		shut(a) // without a word about its topics
		time.Sleep(5 * time.Second)
		w.own(b, "d/t")
		time.Sleep(3 * grace)
		w.goesOn(sub)
		w.closed(topicEnded, other)
	})
}

// TestNodeWasThoughtGone: one that comes back after its lease was lost does not
// publish to what others own now.
func TestNodeWasThoughtGone(t *testing.T) {
	inWorld(t, func(w *world) {
		ctx := context.Background()
		a := w.open("a")
		defer shut(a)
		o, owner := w.own(a, "d/t")
		kept, _ := w.own(a, "d/kept")
		// While a sleeps its lease ends, and b, which lives, takes one topic.
		if _, err := w.reg.Registry.Acquire(ctx, "wspubsub-node/a", "a", time.Nanosecond); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Nanosecond)
		theirs, err := w.reg.Registry.Acquire(ctx, "wspubsub-node/a", "b", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.reg.Registry.Acquire(ctx, "wspubsub-node/b", "b", time.Hour); err != nil {
			t.Fatal(err)
		}
		e, err := w.reg.Registry.Get(ctx, "wspubsub-topic", "d/t")
		if err != nil {
			t.Fatal(err)
		}
		taken := strings.Replace(string(e.Value), `"node":"a"`, `"node":"b"`, 1)
		if _, err := w.reg.Registry.Put(ctx, "wspubsub-topic", "d/t", []byte(taken), e.Version, nil); err != nil {
			t.Fatal(err)
		}
		if err := w.reg.Registry.Release(ctx, theirs); err != nil {
			t.Fatal(err)
		}
		time.Sleep(grace - time.Second) // a still believes in its lease until it looks
		w.closed(takenOver, owner)
		if err := o.Hold(ctx); !errors.Is(err, wspubsub.ErrLost) {
			t.Errorf("hold of what was lost: %v", err)
		}
		if err := kept.Hold(ctx); err != nil {
			t.Errorf("hold of what was not: %v", err)
		}
		o.Leave()
		w.refused(a, "d/t")
	})
}

// TestRegistryAway: a publisher that comes is told so; a topic whose time has
// come ends once it can be written.
func TestRegistryAway(t *testing.T) {
	inWorld(t, func(w *world) {
		topics := w.open("a")
		defer shut(topics)
		o, _ := w.own(topics, "d/t")
		left, _ := w.own(topics, "d/left")
		sub, other := w.join(topics, "d/t"), w.join(topics, "d/left")
		left.Leave()
		w.reg.away.Store(true)
		o.Leave()
		if _, err := topics.Own(context.Background(), "d/t", &conn{}); !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("own: %v", err)
		}
		if _, err := topics.Join(context.Background(), "d/new", &conn{}); !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("join: %v", err)
		}
		time.Sleep(3 * grace)
		w.goesOn(sub, other)
		w.reg.away.Store(false)
		time.Sleep(2 * time.Second)
		w.closed(topicEnded, sub, other)
		w.notStarted(topics, "d/t")
	})
}
