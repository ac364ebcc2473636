package hub_test

import (
	"testing"
	"testing/synctest"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
)

// A loss that was told, or not asked for, does not hide another one below it:
// what retention takes from under a subscriber that is behind is told.
func TestLossBelowAToldOne(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(first message.ID) message.Start
		n     int // to ask for at first
		want  []string
	}{
		{"earliest", func(message.ID) message.Start { return message.Earliest() }, 2, []string{"1", "2"}},
		{"last", func(message.ID) message.Start { return message.Last(5) }, 1, []string{"2"}},
		{"after a gap", message.After, 1, []string{"gap deleted", "2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, d := open(t, hub.Config{})
				first := publish(t, d, "a/y", "1", "2", "3", "4", "5", "6").First
				publish(t, d, "a/x", "x")
				if err := d.Forget(t.Context(), "a/x"); err != nil {
					t.Fatal(err)
				}
				r := subscribe(t, d, hub.Options{Filter: filter(t, "a/*"), Start: c.start(first)})
				want(t, r.next(c.n), c.want...)
				size := int64(len("a/y") + 1)
				if err := d.Log().Trim(t.Context(), engine.Retention{Bytes: 2 * size}); err != nil {
					t.Fatal(err)
				}
				want(t, r.next(2), "gap deleted", "5", "6")
			})
		})
	}
}

// What was told once is not told again as long as nothing else goes.
func TestLossIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, d := open(t, hub.Config{})
		first := publish(t, d, "a/y", "1", "2", "3", "4").First
		publish(t, d, "a/x", "x")
		if err := d.Forget(t.Context(), "a/x"); err != nil {
			t.Fatal(err)
		}
		r := subscribe(t, d, hub.Options{Filter: filter(t, "a/*"), Start: message.After(first)})
		want(t, r.next(1), "gap deleted", "2")
		want(t, r.next(1), "3")
		want(t, r.next(1), "4")
	})
}
