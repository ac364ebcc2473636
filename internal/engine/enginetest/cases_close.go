package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"crier/internal/engine"
	"crier/internal/message"
)

func closeCases() []testCase {
	return []testCase{
		{name: "closed", run: closed,
			rule: "after Close every call returns ErrClosed; a second Close is no error"},
		{name: "close while busy", run: closeWhileBusy,
			rule: "calls under way during Close end, done or with ErrClosed or ErrUnavailable; what was acknowledged is there when the log is opened again"},
		{name: "drop while busy", run: dropWhileBusy,
			rule: "calls under way during Drop end, done or with ErrClosed or ErrUnavailable; other domains are not disturbed"},
	}
}

func closed(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	b.fill(l, 3, "a")
	var rung atomic.Int32
	stop := l.Listen(func(engine.News) { rung.Add(1) })
	if err := e.Ping(b.Context()); err != nil {
		b.Errorf("ping: %v", err)
	}
	b.close(e)
	before := rung.Load()
	for name, call := range calls(l) {
		if err := call(b.Context()); !errors.Is(err, engine.ErrClosed) {
			b.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	if _, err := e.Log(b.Context(), "other", b.d); !errors.Is(err, engine.ErrClosed) {
		b.Errorf("opening a log after Close: %v, want ErrClosed", err)
	}
	if err := e.Drop(b.Context(), "main"); !errors.Is(err, engine.ErrClosed) {
		b.Errorf("drop after Close: %v, want ErrClosed", err)
	}
	if err := e.Ping(b.Context()); err == nil {
		b.Errorf("ping after Close: no error")
	}
	stop()
	l.Listen(func(engine.News) { rung.Add(1) })()
	if got := rung.Load(); got != before {
		b.Errorf("%d rings after Close", got-before)
	}
	if err := e.Close(); err != nil {
		b.Errorf("second Close: %v", err)
	}
}

// ended reports whether an error is one that a closing engine may give.
func ended(err error) bool {
	return errors.Is(err, engine.ErrClosed) || errors.Is(err, engine.ErrUnavailable)
}

// ledger has the blocks that were acknowledged, by name.
type ledger struct {
	mu     sync.Mutex
	blocks map[string]engine.Receipt
}

func newLedger() *ledger { return &ledger{blocks: map[string]engine.Receipt{}} }

// write appends blocks of three, each with a topic of its own, until it is
// refused.
func (g *ledger) write(ctx context.Context, l engine.Log, writer string) error {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s/%d", writer, i)
		r, err := l.Append(ctx, engine.Block{Drafts: drafts(name, 3), Key: key(name, "x")})
		if err != nil {
			return err
		}
		g.mu.Lock()
		g.blocks[name] = r
		g.mu.Unlock()
	}
}

func (g *ledger) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.blocks)
}

// check compares what is in a log with what was acknowledged.
func (g *ledger) check(b *lab, l engine.Log) {
	b.Helper()
	got, lost := b.readAll(l, filter("**"), 0)
	if lost != 0 {
		b.Errorf("a gap up to %d", lost)
	}
	for i, m := range got {
		if m.ID.Seq != uint64(i+1) {
			b.Fatalf("message %d has sequence number %d", i, m.ID.Seq)
		}
	}
	if len(got)%3 != 0 {
		b.Errorf("%d messages: a block is there in part", len(got))
	}
	blocks := map[string]int{}
	for _, m := range got {
		blocks[m.Topic]++
	}
	for name, n := range blocks {
		if n != 3 {
			b.Errorf("block %s has %d messages in the log, want 3", name, n)
		}
	}
	for name, r := range g.blocks {
		ds := drafts(name, 3)
		for i := range ds {
			seq := r.ID(i).Seq
			if seq > uint64(len(got)) {
				b.Fatalf("block %s was acknowledged at %d, the log ends at %d", name, seq, len(got))
			}
			if diff := differ(got[seq-1], ds[i].Commit(r.ID(i), r.Time)); diff != "" {
				b.Fatalf("block %s, message %d, which was acknowledged: %s", name, i, diff)
			}
		}
	}
}

// busy runs writers, readers and listeners of a log until the log ends, which
// it has the caller do once there is something in it.
func busy(b *lab, l engine.Log, end func()) *ledger {
	g := newLedger()
	var wg sync.WaitGroup
	errs := make(chan error, 64)
	for w := range 6 {
		wg.Go(func() { errs <- g.write(b.Context(), l, fmt.Sprintf("w%d", w)) })
	}
	for _, patterns := range []string{"**", "w0/*", "w1/1"} {
		wg.Go(func() { errs <- readUntilEnd(b.Context(), l, patterns) })
	}
	wg.Go(func() {
		for {
			stop := l.Listen(func(engine.News) {})
			_, err := l.State(b.Context())
			stop()
			if err != nil {
				errs <- err
				return
			}
		}
	})
	wg.Go(func() {
		for {
			if err := l.Trim(b.Context(), engine.Retention{Bytes: 1 << 40}); err != nil {
				errs <- err
				return
			}
		}
	})
	b.until("appends", func() bool { return g.len() >= 50 || len(errs) > 0 })
	end()
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	b.eventually("the calls that were under way", over)
	close(errs)
	for err := range errs {
		if !ended(err) {
			b.Errorf("a call under way ended with: %v", err)
		}
	}
	return g
}

func readUntilEnd(ctx context.Context, l engine.Log, patterns string) error {
	for {
		after := uint64(0)
		for {
			p, err := l.Read(ctx, engine.Query{After: after, Filter: filter(patterns), Limit: 20})
			if err != nil {
				return err
			}
			if p.Next <= after {
				break
			}
			after = p.Next
		}
		if _, _, err := l.Last(ctx, filter(patterns), 5); err != nil {
			return err
		}
	}
}

func closeWhileBusy(b *lab) {
	for round := range 3 {
		e := b.engine()
		name := fmt.Sprintf("round-%d", round)
		l := b.domain(e, name)
		g := busy(b, l, func() { b.close(e) })
		if b.h.Reopens && b.d != engine.Memory {
			e := b.engine()
			g.check(b, b.domain(e, name))
			b.close(e)
		}
	}
}

func dropWhileBusy(b *lab) {
	e := b.engine()
	other := b.domain(e, "other")
	b.fill(other, 3, "a")
	for range 3 {
		busy(b, b.domain(e, "main"), func() {
			if err := e.Drop(b.Context(), "main"); err != nil {
				b.Errorf("drop: %v", err)
			}
		})
		b.fill(other, 1, "a")
	}
	if got, _ := b.readAll(other, filter("a"), 0); len(got) != 6 {
		b.Errorf("another domain has %d messages, want 6", len(got))
	}
}

func crashCases() []testCase {
	return []testCase{
		{name: "crash while busy", run: crashWhileBusy, need: needCrash,
			rule: "what was acknowledged survives kill -9, once and in order; blocks are there wholly or not at all; a repeat under a key is never appended twice"},
		{name: "crash begins an epoch", run: crashBeginsAnEpoch, need: needCrash,
			rule: "after an unclean stop in async a new epoch begins; with fsync no id names two messages"},
		{name: "crash after deletes", run: crashAfterDeletes, need: needCrash,
			rule: "deletes and trims that returned, and their marks, survive kill -9"},
	}
}

func crashWhileBusy(b *lab) {
	e := b.engine()
	g := newLedger()
	for round := range 4 {
		l := b.domain(e, "main")
		var wg sync.WaitGroup
		for w := range 6 {
			wg.Go(func() {
				_ = g.write(b.Context(), l, fmt.Sprintf("r%d/w%d", round, w)) // ended by the crash, however
			})
		}
		want := g.len() + 40
		b.until("appends", func() bool { return g.len() >= want })
		b.crash(e)
		over := make(chan struct{})
		go func() { wg.Wait(); close(over) }()
		b.eventually("the calls that were under way", over)
		e = b.engine()
		l = b.domain(e, "main")
		g.check(b, l)
		// Publishers that got no answer repeat.
		for w := range 6 {
			for i := 0; ; i++ {
				name := fmt.Sprintf("r%d/w%d/%d", round, w, i)
				if _, ok := g.blocks[name]; !ok {
					g.blocks[name] = b.appendKeyed(l, key(name, "x"), drafts(name, 3)...)
					break
				}
			}
		}
		g.check(b, l)
	}
}

func crashBeginsAnEpoch(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	seen := map[message.ID]string{}
	for round := range 4 {
		before := b.state(l)
		for i := range 5 {
			data := fmt.Sprintf("%d-%d", round, i)
			r := b.append(l, draft("a", data))
			if other, ok := seen[r.First]; ok {
				b.Fatalf("the id %s names %s and %s", r.First, other, data)
			}
			seen[r.First] = data
		}
		b.crash(e)
		e = b.engine()
		l = b.domain(e, "main")
		was, is := before.Epochs[len(before.Epochs)-1].Epoch, b.state(l).Epochs
		if now := is[len(is)-1].Epoch; b.d == engine.Async && now.Began <= was.Began {
			b.Errorf("epoch %s after an unclean stop in async, it was %s", now, was)
		}
		got, _ := b.readAll(l, filter("a"), 0)
		if len(got) != len(seen) {
			b.Errorf("%d messages, %d were acknowledged", len(got), len(seen))
		}
		for _, m := range got {
			if seen[m.ID] != string(m.Data) {
				b.Errorf("the id %s names %q, it named %q when it was acknowledged", m.ID, m.Data, seen[m.ID])
			}
		}
	}
}

func crashAfterDeletes(b *lab) {
	e := b.engine()
	l, m := b.domain(e, "main"), &model{clock: b.clock}
	for round := range 3 {
		for i := range 9 {
			ds := drafts([]string{"a", "b", "a/b"}[i%3], 1+i%4)
			m.appended(b.append(l, ds...), ds)
		}
		name := []string{"a", "b", "a/b"}[round]
		b.forget(l, name)
		m.forget(name)
		r := engine.Retention{Bytes: m.bytes() * 2 / 3}
		b.trim(l, r)
		m.trim(r)
		b.crash(e)
		e = b.engine()
		l = b.domain(e, "main")
		b.compare(l, m, "after deletes, a trim and a crash")
	}
}
