package hub_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
)

var (
	runs = flag.Int("hub.runs", 1500, "runs of the model test")
	seed = flag.Uint64("hub.seed", 0, "run the model test with this seed only")
)

// TestFromHistoryToLive lets random publishers, subscribers, patterns,
// disconnects, cursors and deletes go at it together, and holds what every
// subscriber got to a model: all that matches after where it began, in order,
// once, but for what a gap told.
func TestFromHistoryToLive(t *testing.T) {
	if *seed != 0 {
		modelRun(t, *seed)
		return
	}
	n := *runs
	if testing.Short() {
		n /= 10
	}
	base := uint64(time.Now().UnixNano())
	for i := range uint64(n) {
		s := base + i
		if !t.Run(fmt.Sprint(s), func(t *testing.T) { modelRun(t, s) }) {
			t.Fatalf("run it again with -hub.seed=%d", s)
		}
	}
}

// modelPatterns are what subscribers choose from, modelTopics publishers.
var (
	modelTopics   = []string{"a", "b", "a/x", "a/y", "b/x/1", "c/x/1"}
	modelPatterns = []string{"a", "b", "a/*", "a/**", "**", "*/x/1", "b/**", "*"}
)

type modelWorld struct {
	t    *testing.T
	d    *hub.Domain
	rnd  *rand.Rand // guarded by mu
	mu   sync.Mutex
	sent []message.Message // by sequence number
	gone map[string]uint64 // deleted topics: up to which sequence number
}

func (w *modelWorld) intn(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

func modelRun(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		eng := &ringing{Engine: memory.New(memory.Config{}), rnd: rand.New(rand.NewPCG(seed, 1))}
		if rnd.IntN(3) > 0 {
			eng.faithful = true
		}
		defer eng.Close()
		tail := []int64{1, 2000, 20_000, 0}[rnd.IntN(4)]
		h, err := hub.New(t.Context(), hub.Config{Engine: eng, Defaults: hub.Settings{Durability: engine.Memory}, TailBytes: tail})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		d, err := h.Domain(hub.Main)
		if err != nil {
			t.Fatal(err)
		}
		if tail == 1 {
			d.ShrinkTail(1) // the least that a hub gives is more than a run publishes
		}
		w := &modelWorld{t: t, d: d, rnd: rnd, gone: map[string]uint64{}}
		var publishers, subscribers sync.WaitGroup
		published := make(chan struct{})
		for range 1 + w.intn(3) {
			publishers.Go(func() { w.publish(5 + w.intn(40)) })
		}
		for range 1 + w.intn(4) {
			subscribers.Go(func() { w.subscribe(published) })
		}
		publishers.Wait()
		close(published)
		subscribers.Wait()
	})
}

func (w *modelWorld) publish(n int) {
	for range n {
		block := engine.Block{}
		for range 1 + w.intn(3) {
			block.Drafts = append(block.Drafts, message.Draft{Topic: modelTopics[w.intn(len(modelTopics))], Data: []byte("data")})
		}
		if w.intn(25) == 0 {
			w.forget(modelTopics[w.intn(len(modelTopics))])
		}
		r, err := w.d.Publish(context.Background(), block)
		if err != nil {
			w.t.Error(err)
			return
		}
		w.mu.Lock()
		for i := range block.Drafts {
			w.sent = append(w.sent, block.Drafts[i].Commit(r.ID(i), r.Time))
		}
		w.mu.Unlock()
		if w.intn(4) == 0 {
			time.Sleep(time.Duration(w.intn(3)) * time.Second) // of the bubble's clock: lets others go on
		}
	}
}

func (w *modelWorld) forget(name string) {
	if err := w.d.Forget(context.Background(), name); err != nil {
		w.t.Error(err)
		return
	}
	head, err := w.d.Head(context.Background())
	if err != nil {
		w.t.Error(err)
	}
	w.mu.Lock()
	w.gone[name] = max(w.gone[name], head.Seq)
	w.mu.Unlock()
}

// seen is what one subscriber was told.
type seen struct {
	ids  []message.ID
	gaps []uint64 // sequence numbers from which on something may lack
}

// subscribe is one subscriber's life: it begins somewhere, is cut off now and
// then, and comes back with its cursor.
func (w *modelWorld) subscribe(published <-chan struct{}) {
	var patterns []topic.Pattern
	for range 1 + w.intn(2) {
		p, err := topic.ParsePattern(modelPatterns[w.intn(len(modelPatterns))])
		if err != nil {
			w.t.Error(err)
		}
		patterns = append(patterns, p)
	}
	f := topic.NewFilter(patterns...)
	start := message.Earliest()
	if w.intn(2) == 0 {
		start = message.Latest()
	}
	var got seen
	var from message.ID
	for first := true; ; first = false {
		signal := hub.NewSignal()
		sub, err := w.d.Subscribe(context.Background(), hub.Options{Filter: f, Start: start, Waker: signal})
		if err != nil {
			w.t.Error(err)
			return
		}
		if first {
			from, _ = sub.Position()
		}
		cursor, over := w.read(sub, signal, &got, 1+w.intn(60), published)
		sub.Close()
		start = message.After(cursor)
		if over {
			break
		}
	}
	w.check(f, from, got, start.After)
}

// read takes about n messages and returns the cursor; over is when all that
// was published has been looked at.
func (w *modelWorld) read(sub *hub.Subscription, signal hub.Signal, got *seen, n int, published <-chan struct{}) (cursor message.ID, over bool) {
	cursor, _ = sub.Position()
	var b hub.Batch
	for n > 0 {
		select {
		case <-published:
			over = true
		default:
		}
		if err := sub.Poll(context.Background(), &b, 1+w.intn(10), 0); err != nil {
			w.t.Error(err)
			return cursor, true
		}
		if b.Gap != nil {
			at, err := message.ParseID(b.Gap.After)
			if err != nil {
				w.t.Error(err)
			}
			got.gaps = append(got.gaps, at.Seq)
			cursor = b.Gap.Resumed
		}
		for _, e := range b.Entries {
			got.ids = append(got.ids, e.ID)
			cursor = e.ID
		}
		n -= len(b.Entries)
		if !b.Empty() {
			continue
		}
		cursor = b.Position
		if over {
			head, err := w.d.Head(context.Background())
			if err != nil {
				w.t.Error(err)
			}
			if cursor.Seq >= head.Seq {
				return cursor, true
			}
		}
		if over { // if a ring was lost, the next probe finds what it was for
			time.Sleep(time.Minute)
			continue
		}
		select {
		case <-signal:
		case <-published:
		}
	}
	return cursor, false
}

// check holds what a subscriber got to what it should have.
func (w *modelWorld) check(f topic.Filter, from message.ID, got seen, end message.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.sent, func(a, b message.Message) int { return int(a.ID.Seq) - int(b.ID.Seq) })
	i := 0
	for k := 1; k < len(got.ids); k++ {
		if got.ids[k].Seq <= got.ids[k-1].Seq {
			w.t.Errorf("%v: %d came after %d", f, got.ids[k].Seq, got.ids[k-1].Seq)
		}
	}
	for _, m := range w.sent {
		if m.ID.Seq <= from.Seq || !f.Match(m.Topic) {
			continue
		}
		if i < len(got.ids) && got.ids[i] == m.ID {
			i++
			continue
		}
		told := slices.ContainsFunc(got.gaps, func(at uint64) bool { return at < m.ID.Seq })
		begun := from.Seq == 0 // "earliest" does not ask for what is gone already
		if m.ID.Seq > w.gone[m.Topic] || !told && !begun {
			w.t.Errorf("%v from %d: %d (%s) is missing; got %d beginning with %v up to %v, gaps after %v, deleted up to %d", f, from.Seq, m.ID.Seq, m.Topic, len(got.ids), got.ids[:min(3, len(got.ids))], end.Seq, got.gaps, w.gone[m.Topic])
			return
		}
	}
	if i != len(got.ids) {
		w.t.Errorf("%v: got %d that it should not have, from %v", f, len(got.ids)-i, got.ids[i])
	}
}

// ringing is an engine whose doorbell is lost, doubled, late or empty-handed.
type ringing struct {
	engine.Engine
	faithful bool
	mu       sync.Mutex
	rnd      *rand.Rand
}

func (r *ringing) Log(ctx context.Context, domain string, d engine.Durability) (engine.Log, error) {
	l, err := r.Engine.Log(ctx, domain, d)
	return ringingLog{l, r}, err
}

type ringingLog struct {
	engine.Log
	r *ringing
}

func (l ringingLog) Listen(fn func(engine.News)) (stop func()) {
	var last engine.News
	return l.Log.Listen(func(n engine.News) {
		l.r.mu.Lock()
		what := l.r.rnd.IntN(6)
		if l.r.faithful {
			what = -1
		}
		before := last
		last = n
		l.r.mu.Unlock()
		switch what {
		case 0: // lost; a change is told by the next probe
			return
		case 1: // doubled
			fn(n)
		case 2: // empty-handed
			n.Messages = nil
		case 3: // the one before comes again, after
			fn(n)
			n = before
		}
		fn(n)
	})
}
