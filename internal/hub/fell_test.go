package hub_test

import (
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
)

// newFallen is an engine whose log of main has five messages and can fall back
// to the first two of them, behind which another epoch begins, as a log on disk
// does whose sync fails.
func newFallen(t *testing.T) *falling {
	t.Helper()
	e := newFalling(t)
	state, err := e.log.Log.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := state.Epochs[0].Epoch
	e.log.next = memory.NewLog(memory.LogConfig{Epochs: []engine.EpochRange{{Epoch: first, First: 1, Last: 2}}})
	return e
}

// After a log fell back, what it was said to have had before is not waited for.
func TestNewsAfterAFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFallen(t)
		_, d := open(t, hub.Config{Engine: e})
		r := subscribe(t, d, hub.Options{Filter: filter(t, "a")})
		publish(t, d, "a", "lost", "lost too")
		want(t, r.next(2), "lost", "lost too")
		e.log.fall()
		want(t, r.next(1), "gap epoch")
		began := time.Now()
		for _, data := range []string{"1", "2", "3"} {
			publish(t, d, "a", data)
			want(t, r.next(1), data)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("three messages took %v", took)
		}
	})
}

// A log that fell back may have more than before when the hub looks at it.
func TestFallThatWasMadeUpFor(t *testing.T) {
	for name, carried := range map[string]bool{"rings carry messages": true, "rings carry nothing": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { fallMadeUpFor(t, carried) })
		})
	}
}

func fallMadeUpFor(t *testing.T, carried bool) {
	e := newFallen(t)
	_, d := open(t, hub.Config{Engine: e})
	r := subscribe(t, d, hub.Options{Filter: filter(t, "a")})
	publish(t, d, "a", "lost", "lost too")
	want(t, r.next(2), "lost", "lost too")

	// The ring of the fall is on its way when those of what comes after it come.
	e.log.hold()
	e.log.fall()
	var wanted []string
	for i := range 9 {
		publish(t, d, "a", string(rune('1'+i)))
		wanted = append(wanted, string(rune('1'+i)))
	}
	e.log.release(carried)
	want(t, r.next(10), append([]string{"gap epoch"}, wanted...)...)

	late := subscribe(t, d, hub.Options{Filter: filter(t, "a"), Start: message.Earliest()})
	want(t, late.next(9), wanted...)
}

// Whoever reads up to the head does not wait for what a fall took.
func TestReadingUpToAHeadThatFell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFallen(t)
		_, d := open(t, hub.Config{Engine: e})
		r := subscribe(t, d, hub.Options{Filter: filter(t, "a"), UntilHead: true, Start: message.Earliest()})
		e.log.fall()
		synctest.Wait()
		began := time.Now()
		want(t, r.next(2), "gap epoch", "done") // the first two are gone as well, here
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// A log may ring before its domain knows where it stands.
func TestRingWhileADomainOpens(t *testing.T) {
	e := newFallen(t)
	rung := make(chan struct{})
	e.log.asked = func() {
		go func() {
			defer close(rung)
			if _, err := e.log.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("0")}}}); err != nil {
				t.Error(err)
			}
		}()
	}
	_, d := open(t, hub.Config{Engine: e})
	<-rung
	r := subscribe(t, d, hub.Options{Filter: filter(t, "a")})
	publish(t, d, "a", "1")
	want(t, r.next(1), "1")
}
