package hub_test

import (
	"maps"
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/topic"
)

func TestInterest(t *testing.T) {
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
	subscribe := func(patterns ...string) *hub.Subscription {
		t.Helper()
		var all []topic.Pattern
		for _, s := range patterns {
			p, err := topic.ParsePattern(s)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, p)
		}
		sub, err := d.Subscribe(t.Context(), hub.Options{Filter: topic.NewFilter(all...), Waker: hub.NewSignal()})
		if err != nil {
			t.Fatal(err)
		}
		return sub
	}
	counts := map[string]int{}
	want := func(now map[string]int) {
		t.Helper()
		maps.DeleteFunc(counts, func(_ string, n int) bool { return n == 0 })
		if !maps.Equal(counts, now) {
			t.Fatalf("listened to: %v, want %v", counts, now)
		}
	}
	first := subscribe("a/b")
	stop := d.Interest(func(p topic.Pattern, by int) { counts[p.String()] += by })
	want(map[string]int{"a/b": 1})
	second := subscribe("a/b", "a/*")
	want(map[string]int{"a/b": 2, "a/*": 1})
	first.Close()
	first.Close()
	want(map[string]int{"a/b": 1, "a/*": 1})
	second.Close()
	want(map[string]int{})
	stop()
	subscribe("a/b").Close()
	want(map[string]int{})
}
