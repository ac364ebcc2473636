package realizehit_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"crier/internal/dialect/realizehit"
)

// model is a Redis with one subscriber: it delivers in the order in which
// Redis does, once for the channel and once for each pattern.
type model struct {
	ears         *realizehit.Ears
	exact, globs []string
	heard        []string
}

func (m *model) subscribe(name string, glob bool) {
	if glob {
		m.globs = append(m.globs, name)
		m.ears.Changed("psubscribe", name)
	} else {
		m.exact = append(m.exact, name)
		m.ears.Changed("subscribe", name)
	}
}

func (m *model) unsubscribe(name string, glob bool) {
	is := func(s string) bool { return s == name }
	if glob {
		m.globs = slices.DeleteFunc(m.globs, is)
		m.ears.Changed("punsubscribe", name)
	} else {
		m.exact = slices.DeleteFunc(m.exact, is)
		m.ears.Changed("unsubscribe", name)
	}
}

// publish delivers; covered says whether anything was.
func (m *model) publish(channel, payload string) (covered bool) {
	deliver := func(pattern string) {
		covered = true
		if m.ears.Heard(pattern, channel, payload) {
			m.heard = append(m.heard, channel+" "+payload)
		}
	}
	if slices.Contains(m.exact, channel) {
		deliver("")
	}
	for _, g := range m.globs {
		if realizehit.GlobMatch(g, channel) {
			deliver(g)
		}
	}
	return covered
}

// TestEachPublicationOnce has random publications, of others, of our own log
// and of other logs, while subscriptions that overlap come and go: what is
// new is taken in once, and our own never.
func TestEachPublicationOnce(t *testing.T) {
	channels := []string{"a:1", "a:2", "a:1|b:1", "b:1"}
	names := append([]string{"a:*", "a:*|b:*", "*:*", "a:1|b:*"}, channels...)
	rapid.Check(t, func(t *rapid.T) {
		m := &model{ears: realizehit.NewEars("ours")}
		m.subscribe("crier:own", false)
		subscribed := map[string]bool{}
		var want []string
		var last string
		ids := 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				n := rapid.SampledFrom(names).Draw(t, "name")
				glob := slices.Index(names, n) < 4
				if subscribed[n] {
					m.unsubscribe(n, glob)
				} else {
					m.subscribe(n, glob)
				}
				subscribed[n] = !subscribed[n]
			case 1, 2: // another program
				c, p := rapid.SampledFrom(channels).Draw(t, "channel"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "payload")
				if m.publish(c, p) {
					want = append(want, c+" "+p)
				}
			case 3: // a node with our log
				c := rapid.SampledFrom(channels).Draw(t, "channel")
				ids++
				m.publish("crier:own", fmt.Sprintf("ours %d %s", ids, c))
				m.publish(c, "x")
			case 4: // a node with another
				c := rapid.SampledFrom(channels).Draw(t, "channel")
				ids++
				last = fmt.Sprintf("theirs %d %s", ids, c)
				m.publish("crier:own", last)
				if m.publish(c, "x") {
					want = append(want, c+" x")
				} else {
					last = ""
				}
			case 5: // which does not know whether that was published, and does it again
				if last != "" {
					m.publish("crier:own", last)
					var id int
					var c string
					_, _ = fmt.Sscanf(last, "theirs %d %s", &id, &c)
					m.publish(c, "x")
				}
			}
		}
		if !slices.Equal(m.heard, want) {
			t.Fatalf("taken in %q, want %q", m.heard, want)
		}
	})
}

func TestGlobMatch(t *testing.T) {
	for _, tt := range []struct {
		glob, s string
		want    bool
	}{
		{"a:1", "a:1", true}, {"a:1", "a:12", false}, {"a:*", "a:", true}, {"a:*", "a:1|b:2", true},
		{"a:*|b:*", "a:1|b:2", true}, {"a:*|b:*", "a:1", false}, {"*:*", "x", false}, {"*:*", ":", true},
		{"a:*|b:1", "a:|b:1", true}, {"a:*b:1", "a:b:1", true}, {"a:*1", "a:1", true}, {"ab*ba", "aba", false},
	} {
		if got := realizehit.GlobMatch(tt.glob, tt.s); got != tt.want {
			t.Errorf("%s matches %s: %v", tt.glob, tt.s, got)
		}
	}
}
