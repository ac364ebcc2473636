package enginetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"crier/internal/engine"
	"crier/internal/message"
)

func ringCases() []testCase {
	return []testCase{
		{name: "rings", run: rings,
			rule: "after every Append there is news of it, of a head that the log has reached; messages that a ring carries are the newest, consecutive, and end with its head"},
		{name: "rings tell changes", run: ringsTellChanges,
			rule: "trims, deletes and new epochs ring with Changed"},
		{name: "lost and doubled rings", run: lostRings,
			rule: "a listener that loses and doubles rings and reads from the log what it misses gets every message once, in order"},
		{name: "stop", run: stopListening,
			rule: "when stop returns, the function is not running and is not called again; others go on"},
		{name: "heads never go back", run: headsNeverGoBack,
			rule: "what State says only grows, whoever asks"},
		{name: "several listeners", run: severalListeners,
			rule: "every listener hears of every append; one that comes later hears of what comes later"},
	}
}

// ears hears rings.
type ears struct {
	mu      sync.Mutex
	heard   []engine.News
	changed bool
	wake    chan struct{} // holds one element while there is something new
}

func (b *lab) listen(l engine.Log) (*ears, func()) {
	h := &ears{wake: make(chan struct{}, 1)}
	stop := l.Listen(func(n engine.News) {
		h.mu.Lock()
		h.heard = append(h.heard, n)
		h.changed = h.changed || n.Changed
		h.mu.Unlock()
		select {
		case h.wake <- struct{}{}:
		default:
		}
	})
	return h, stop
}

// until waits until what was heard is enough.
func (h *ears) until(b *lab, what string, enough func(*ears) bool) {
	b.Helper()
	for {
		h.mu.Lock()
		ok := enough(h)
		h.mu.Unlock()
		if ok {
			return
		}
		b.eventually("a ring for "+what, h.wake)
	}
}

func (h *ears) head() uint64 {
	head := uint64(0)
	for _, n := range h.heard {
		head = max(head, n.Head)
	}
	return head
}

func rings(b *lab) {
	l := b.log()
	b.fill(l, 3, "a")
	h, stop := b.listen(l)
	for i := range 20 {
		r := b.append(l, drafts("a", 1+i%5)...)
		last := r.ID(r.N - 1).Seq
		h.until(b, fmt.Sprintf("message %d", last), func(h *ears) bool { return h.head() >= last })
	}
	together(8, func(int) {
		for range 20 {
			if _, err := l.Append(b.Context(), engine.Block{Drafts: drafts("b", 1)}); err != nil {
				b.Errorf("append: %v", err)
			}
		}
	})
	head := b.state(l).Head
	h.until(b, "the last message", func(h *ears) bool { return h.head() >= head })
	stop()
	all, _ := b.readAll(l, filter("**"), 0)
	for _, n := range h.heard {
		if n.Head > head {
			b.Errorf("a ring of head %d, the log's is %d", n.Head, head)
		}
		for i, m := range n.Messages {
			seq := n.Head - uint64(len(n.Messages)-1-i)
			if m.ID.Seq != seq {
				b.Fatalf("a ring of head %d carries %v", n.Head, seqsOf(n.Messages))
			}
			if diff := differ(m, all[seq-1]); diff != "" {
				b.Errorf("message %d as a ring carried it: %s", seq, diff)
			}
		}
	}
}

func ringsTellChanges(b *lab) {
	l := b.log()
	b.append(l, drafts("a", 10)...)
	b.append(l, drafts("b", 10)...)
	for what, change := range map[string]func(){
		"a delete": func() { b.forget(l, "a") },
		"a trim":   func() { b.trim(l, engine.Retention{Bytes: 5}) },
		"an epoch": func() {
			if _, err := l.BeginEpoch(b.Context()); err != nil {
				b.Fatalf("begin epoch: %v", err)
			}
		},
	} {
		h, stop := b.listen(l)
		b.append(l, drafts("a", 3)...)
		change()
		h.until(b, what, func(h *ears) bool { return h.changed })
		stop()
	}
}

// lostRings has a listener that treats rings badly, and must get everything
// all the same.
func lostRings(b *lab) {
	l := b.log()
	b.fill(l, 5, "a")
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(5, 6))
	news := make(chan engine.News, 16)
	put := func(n engine.News) {
		select {
		case news <- n:
		default: // lost: too many are waiting already
		}
	}
	stop := l.Listen(func(n engine.News) {
		mu.Lock()
		fate := rnd.IntN(4)
		mu.Unlock()
		switch fate {
		case 0: // lost
		case 1:
			put(n)
			put(n)
		default:
			put(n)
		}
	})
	defer stop()
	const writers, each = 4, 50
	var appenders sync.WaitGroup
	for w := range writers {
		appenders.Go(func() {
			for i := range each {
				if _, err := l.Append(b.Context(), engine.Block{Drafts: drafts(fmt.Sprintf("w%d", w), 1+i%3)}); err != nil {
					b.Errorf("append: %v", err)
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { appenders.Wait(); close(over) }()
	var got []message.Message
	at := uint64(0)
	for probing := false; ; {
		select {
		case n := <-news:
			if k := len(n.Messages); k > 0 && n.Messages[0].ID.Seq == at+1 {
				got, at = append(got, n.Messages...), n.Head
			}
			if n.Head < at {
				continue
			}
		case <-over: // a bus that is silent is probed
			probing = true
			over = nil
		}
		more, _ := b.readAll(l, filter("**"), at)
		if len(more) > 0 {
			got, at = append(got, more...), more[len(more)-1].ID.Seq
		}
		if probing {
			break
		}
	}
	head := b.state(l).Head
	if uint64(len(got)) != head {
		b.Errorf("the listener got %d messages, the head is %d", len(got), head)
	}
	for i, m := range got {
		if m.ID.Seq != uint64(i+1) {
			b.Fatalf("the listener got %d in place of %d", m.ID.Seq, i+1)
		}
	}
}

func stopListening(b *lab) {
	l := b.log()
	other, stopOther := b.listen(l)
	defer stopOther()
	var ends []func()
	for range 20 {
		var running, stopped atomic.Bool
		var late atomic.Int32
		first := make(chan struct{}, 1)
		stop := l.Listen(func(engine.News) {
			running.Store(true)
			if stopped.Load() {
				late.Add(1)
			}
			select {
			case first <- struct{}{}:
			default:
			}
			running.Store(false)
		})
		done := make(chan error, 1)
		go func() {
			var err error
			for i := 0; i < 30 && err == nil; i++ {
				_, err = l.Append(b.Context(), engine.Block{Drafts: drafts("a", 1)})
			}
			done <- err
		}()
		b.eventually("a ring", first)
		stop()
		stopped.Store(true)
		if running.Load() {
			b.Errorf("the function is running after stop returned")
		}
		if err := <-done; err != nil {
			b.Fatalf("append: %v", err)
		}
		stop() // twice is once
		b.append(l, drafts("a", 1)...)
		ends = append(ends, func() {
			if n := late.Load(); n > 0 {
				b.Errorf("the function was called %d times after stop returned", n)
			}
		})
	}
	head := b.state(l).Head
	other.until(b, "the one that did not stop", func(h *ears) bool { return h.head() >= head })
	for _, check := range ends { // after many rings, so that no late one is missed
		check()
	}
}

func headsNeverGoBack(b *lab) {
	l := b.log()
	together(6, func(w int) {
		head := uint64(0)
		for range 40 {
			if w%2 == 0 {
				r, err := l.Append(b.Context(), engine.Block{Drafts: drafts("a", 2)})
				if err != nil {
					b.Errorf("append: %v", err)
					return
				}
				head = max(head, r.ID(1).Seq)
			}
			s, err := l.State(b.Context())
			if err != nil {
				b.Errorf("state: %v", err)
				return
			}
			if last := s.Epochs[len(s.Epochs)-1].Last; s.Head < head || last != s.Head {
				b.Errorf("the head is %d and the epoch ends at %d, this writer saw %d", s.Head, last, head)
			}
			head = s.Head
		}
	})
}

func severalListeners(b *lab) {
	l := b.log()
	var all []*ears
	for range 3 {
		h, stop := b.listen(l)
		defer stop()
		all = append(all, h)
		r := b.append(l, drafts("a", 2)...)
		for i, h := range all {
			h.until(b, fmt.Sprintf("listener %d of %d", i+1, len(all)), func(h *ears) bool { return h.head() >= r.ID(1).Seq })
		}
	}
}
