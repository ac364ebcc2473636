package hub_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
)

// falling is an engine whose log of main can fall back: to that of another
// engine, which has less and is of another epoch.
type falling struct {
	engine.Engine
	log *fallingLog
}

func newFalling(t *testing.T) *falling {
	t.Helper()
	logs := make([]engine.Log, 2)
	var e falling
	for i, held := range []int{5, 2} {
		eng := memory.New(memory.Config{Rand: func() uint16 { return uint16(i + 1) }})
		t.Cleanup(func() { _ = eng.Close() })
		l, err := eng.Log(t.Context(), hub.Main, engine.Memory)
		if err != nil {
			t.Fatal(err)
		}
		for range held {
			if _, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("old")}}}); err != nil {
				t.Fatal(err)
			}
		}
		logs[i] = l
		if i == 0 {
			e.Engine = eng
		}
	}
	e.log = &fallingLog{Log: logs[0], next: logs[1]}
	return &e
}

func (e *falling) Log(context.Context, string, engine.Durability) (engine.Log, error) {
	return e.log, nil
}

type fallingLog struct {
	engine.Log // as it was; what is not below is not asked for
	next       engine.Log

	mu    sync.Mutex
	fell  bool
	fn    func(engine.News)
	asked func() // called once, after State was read and before it is told
	held  bool   // rings wait
	rings []engine.News
}

// hold has rings wait for release, which lets them go at once, as if whoever
// takes them had been busy.
func (l *fallingLog) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = true
}

func (l *fallingLog) release(carried bool) {
	l.mu.Lock()
	rings := l.rings
	l.held, l.rings = false, nil
	l.mu.Unlock()
	for _, n := range rings {
		if !carried {
			n.Messages = nil
		}
		l.fn(n)
	}
}

func (l *fallingLog) now() engine.Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fell {
		return l.next
	}
	return l.Log
}

// fall makes the log fall back.
func (l *fallingLog) fall() {
	l.mu.Lock()
	l.fell = true
	fn := l.fn
	l.mu.Unlock()
	fn(engine.News{Changed: true})
}

func (l *fallingLog) Append(ctx context.Context, b engine.Block) (engine.Receipt, error) {
	return l.now().Append(ctx, b)
}

func (l *fallingLog) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	return l.now().Read(ctx, q)
}

func (l *fallingLog) State(ctx context.Context) (engine.State, error) {
	s, err := l.now().State(ctx)
	l.mu.Lock()
	asked := l.asked
	l.asked = nil
	l.mu.Unlock()
	if asked != nil {
		asked()
	}
	return s, err
}

func (l *fallingLog) Listen(fn func(engine.News)) (stop func()) {
	ring := func(n engine.News) {
		l.mu.Lock()
		held := l.held
		if held {
			l.rings = append(l.rings, n)
		}
		l.mu.Unlock()
		if !held {
			fn(n)
		}
	}
	l.mu.Lock()
	l.fn = ring
	l.mu.Unlock()
	first, second := l.Log.Listen(ring), l.next.Listen(ring)
	return func() {
		first()
		second()
	}
}

// A log may fall back while somebody subscribes: between the question where it
// stands and the place in the table. What comes after is not to be taken for
// what was there before.
func TestLogFallsWhileSubscribing(t *testing.T) {
	e := newFalling(t)
	_, d := open(t, hub.Config{Engine: e})
	told := hub.NewSignal()
	witness, err := d.Subscribe(t.Context(), hub.Options{Filter: filter(t, "a"), Waker: told})
	if err != nil {
		t.Fatal(err)
	}
	defer witness.Close()
	e.log.asked = func() {
		e.log.fall()
		<-told // the hub knows
	}
	news := hub.NewSignal()
	s, err := d.Subscribe(t.Context(), hub.Options{Filter: filter(t, "a"), Waker: news})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	publish(t, d, "a", "new")
	for late := time.After(10 * time.Second); ; {
		var b hub.Batch
		if err := s.Poll(t.Context(), &b, 0, 0); err != nil {
			t.Fatal(err)
		}
		if len(b.Entries) > 0 {
			if got := string(b.Entries[0].Data); got != "new" || len(b.Entries) != 1 {
				t.Errorf("got %q and %d more, want what came after", got, len(b.Entries)-1)
			}
			return
		}
		select {
		case <-news:
		case <-late:
			t.Fatal("nothing came; the subscription waits for numbers that are gone")
		}
	}
}

// What rang before a log fell back says nothing of the log as it is then: what
// comes after is told at once.
func TestNewsAfterLogFell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newFalling(t)
		_, d := open(t, hub.Config{Engine: e})
		news := hub.NewSignal()
		s, err := d.Subscribe(t.Context(), hub.Options{Filter: filter(t, "a"), Waker: news})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		next := func() (b hub.Batch) {
			t.Helper()
			for {
				if err := s.Poll(t.Context(), &b, 0, 0); err != nil {
					t.Fatal(err)
				}
				if !b.Empty() {
					return b
				}
				<-news
			}
		}
		publish(t, d, "a", "6")
		if b := next(); len(b.Entries) != 1 {
			t.Fatalf("%+v", b)
		}
		time.Sleep(time.Minute + time.Second) // the log is probed, with the head that it has
		e.log.fall()
		if b := next(); b.Gap == nil {
			t.Fatalf("%+v, want a gap", b)
		}
		time.Sleep(time.Minute)
		began := time.Now()
		for _, text := range []string{"3", "4", "5", "6", "7"} {
			var b hub.Batch
			if err := s.Poll(t.Context(), &b, 0, 0); err != nil || !b.Empty() {
				t.Fatalf("%+v, %v, want nothing", b, err)
			}
			publish(t, d, "a", text)
			<-news
			b = next()
			if len(b.Entries) != 1 || string(b.Entries[0].Data) != text {
				t.Fatalf("%+v, want %s", b, text)
			}
			if took := time.Since(began); took > 0 {
				t.Fatalf("%s came after %v", text, took)
			}
		}
	})
}

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
