package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"crier/internal/engine"
	"crier/internal/message"
)

func durabilityCases() []testCase {
	return []testCase{
		{name: "durability claims", run: durabilityClaims,
			rule: "a log says the durability that it was opened with, and a receipt never claims more"},
		{name: "unsupported durability", run: unsupportedDurability,
			rule: "what the engine cannot hold is refused with ErrDurability, and changes nothing"},
		{name: "set durability", run: setDurability,
			rule: "a change of durability is said by the log and by receipts from then on, and loses nothing"},
		{name: "reopen", run: reopen, need: needReopen,
			rule: "what was acknowledged is there when the log is opened again, and the sequence goes on"},
		{name: "drop", run: drop,
			rule: "Drop deletes one log for good; open handles return ErrClosed; a domain made again is empty, and no id comes twice"},
		{name: "drop and reopen", run: dropAndReopen, need: needReopen,
			rule: "a dropped log does not come back when the store is opened again"},
		{name: "ended contexts", run: endedContexts,
			rule: "a call with an ended context returns, with its error or done; the log goes on in order"},
		{name: "cancelled appends", run: cancelledAppends,
			rule: "an append whose context ends may be committed or not, but wholly; with its key it can be repeated and is in the log once"},
	}
}

func durabilityClaims(b *lab) {
	l := b.log()
	if got := l.Durability(); got != b.d {
		b.Errorf("the log says %q, it was opened with %q", got, b.d)
	}
	if r := b.append(l, draft("a", "x")); r.Durability != b.d {
		b.Errorf("the receipt says %q, want %q", r.Durability, b.d)
	}
	k := key("one", "x")
	b.appendKeyed(l, k, draft("a", "x"))
	if r := b.appendKeyed(l, k, draft("a", "x")); r.Durability != b.d {
		b.Errorf("the receipt of a repeat says %q, want %q", r.Durability, b.d)
	}
}

func unsupportedDurability(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	for _, d := range []engine.Durability{engine.Fsync, engine.Async, engine.Memory, "", "strong"} {
		if slices.Contains(b.h.Durabilities, d) {
			continue
		}
		if err := l.SetDurability(b.Context(), d); !errors.Is(err, engine.ErrDurability) {
			b.Errorf("setting %q: %v, want ErrDurability", d, err)
		}
		if _, err := e.Log(b.Context(), "other", d); !errors.Is(err, engine.ErrDurability) {
			b.Errorf("opening with %q: %v, want ErrDurability", d, err)
		}
	}
	if got := l.Durability(); got != b.d {
		b.Errorf("durability is %q after refused changes, it was %q", got, b.d)
	}
	b.fill(l, 1, "a")
}

func setDurability(b *lab) {
	l := b.log()
	b.fill(l, 3, "a")
	for _, d := range append(slices.Clone(b.h.Durabilities), b.d) {
		was := l.Durability()
		err := l.SetDurability(b.Context(), d)
		switch {
		case err == nil:
			was = d
		case !errors.Is(err, engine.ErrDurability) || d == was:
			b.Errorf("from %q to %q: %v", was, d, err)
		}
		if got := l.Durability(); got != was {
			b.Errorf("durability is %q, want %q", got, was)
		}
		if r := b.append(l, draft("a", "x")); r.Durability != was {
			b.Errorf("the receipt says %q, want %q", r.Durability, was)
		}
	}
	head := b.state(l).Head
	got, lost := b.readAll(l, filter("a"), 0)
	if want := 4 + len(b.h.Durabilities); head != uint64(want) || len(got) != want || lost != 0 {
		b.Errorf("%d messages, lost %d, head %d; want all %d", len(got), lost, head, want)
	}
}

func reopen(b *lab) {
	e := b.engine()
	l, m := b.domain(e, "main"), &model{clock: b.clock}
	for i := range 6 {
		for j := range 5 {
			ds := drafts([]string{"a", "b", "a/b"}[(i+j)%3], 1+j)
			m.appended(b.append(l, ds...), ds)
		}
		b.close(e)
		e = b.engine()
		l = b.domain(e, "main")
		b.compare(l, m, "after opening again")
	}
}

func drop(b *lab) {
	e := b.engine()
	l, other := b.domain(e, "main"), b.domain(e, "other")
	b.fill(other, 2, "a")
	seen := map[message.ID]bool{}
	for range 3 {
		for range 3 {
			r := b.append(l, draft("a", "x"))
			if seen[r.First] {
				b.Fatalf("the id %s names two messages", r.First)
			}
			seen[r.First] = true
		}
		if err := e.Drop(b.Context(), "main"); err != nil {
			b.Fatalf("drop: %v", err)
		}
		if _, err := l.Append(b.Context(), engine.Block{Drafts: drafts("a", 1)}); !errors.Is(err, engine.ErrClosed) {
			b.Errorf("append to a dropped log: %v, want ErrClosed", err)
		}
		if _, err := l.Read(b.Context(), engine.Query{Filter: filter("**")}); !errors.Is(err, engine.ErrClosed) {
			b.Errorf("reading a dropped log: %v, want ErrClosed", err)
		}
		l = b.domain(e, "main")
		if got, _ := b.readAll(l, filter("**"), b.state(l).Trimmed); len(got) != 0 {
			b.Errorf("%d messages in a domain made again", len(got))
		}
	}
	if err := e.Drop(b.Context(), "never"); err != nil && !errors.Is(err, engine.ErrNotFound) {
		b.Errorf("dropping what is not there: %v, want nothing or ErrNotFound", err)
	}
	got, _ := b.readAll(other, filter("**"), 0)
	b.wantSeqs("another domain", got, 1, 2)
}

func dropAndReopen(b *lab) {
	e := b.engine()
	b.fill(b.domain(e, "main"), 3, "a")
	b.fill(b.domain(e, "other"), 2, "a")
	if err := e.Drop(b.Context(), "main"); err != nil {
		b.Fatalf("drop: %v", err)
	}
	b.close(e)
	e = b.engine()
	if got, _ := b.readAll(b.domain(e, "main"), filter("**"), 0); len(got) != 0 {
		b.Errorf("%d messages of a dropped log came back", len(got))
	}
	if got, _ := b.readAll(b.domain(e, "other"), filter("**"), 0); len(got) != 2 {
		b.Errorf("another domain has %d messages, want 2", len(got))
	}
}

// calls are all methods of a log that take a context.
func calls(l engine.Log) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"append": func(ctx context.Context) error {
			_, err := l.Append(ctx, engine.Block{Drafts: drafts("a", 1)})
			return err
		},
		"read": func(ctx context.Context) error {
			_, err := l.Read(ctx, engine.Query{Filter: filter("**")})
			return err
		},
		"last":     func(ctx context.Context) error { _, _, err := l.Last(ctx, filter("a"), 3); return err },
		"complete": func(ctx context.Context) error { _, err := l.Complete(ctx, filter("a")); return err },
		"state":    func(ctx context.Context) error { _, err := l.State(ctx); return err },
		"topics":   func(ctx context.Context) error { _, err := l.Topics(ctx, filter("**"), "", 10); return err },
		"trim":     func(ctx context.Context) error { return l.Trim(ctx, engine.Retention{Bytes: 1 << 30}) },
		"forget":   func(ctx context.Context) error { return l.Forget(ctx, "b") },
		"epoch":    func(ctx context.Context) error { _, err := l.BeginEpoch(ctx); return err },
		"set durability": func(ctx context.Context) error {
			return l.SetDurability(ctx, l.Durability())
		},
	}
}

func endedContexts(b *lab) {
	l := b.log()
	b.fill(l, 5, "a")
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	for name, call := range calls(l) {
		if err := call(ctx); err != nil && !errors.Is(err, context.Canceled) {
			b.Errorf("%s: %v, want nothing or the context's error", name, err)
		}
	}
	for name, call := range calls(l) {
		if err := call(b.Context()); err != nil {
			b.Errorf("%s, after the calls with an ended context: %v", name, err)
		}
	}
	got, _ := b.readAll(l, filter("**"), 0)
	for i, m := range got {
		if m.ID.Seq != uint64(i+1) {
			b.Fatalf("message %d has sequence number %d", i, m.ID.Seq)
		}
	}
	if n := len(got); n != 6 && n != 7 {
		b.Errorf("%d messages, want 6, or 7 if the one with the ended context was committed", n)
	}
}

func cancelledAppends(b *lab) {
	const writers, each = 8, 25
	l := b.log()
	var mu sync.Mutex
	acked := map[string]uint64{} // by name of the block, its first sequence number
	together(writers, func(w int) {
		for i := range each {
			name := fmt.Sprintf("w%d/%d", w, i)
			block := func() engine.Block { return engine.Block{Drafts: drafts(name, 3), Key: key(name, "x")} }
			ctx, cancel := context.WithCancel(b.Context())
			go cancel() // at any moment
			r, err := l.Append(ctx, block())
			if err != nil && !errors.Is(err, context.Canceled) {
				b.Errorf("append: %v", err)
			}
			if err != nil {
				if r, err = l.Append(b.Context(), block()); err != nil {
					b.Errorf("repeat: %v", err)
				}
			}
			mu.Lock()
			acked[name] = r.First.Seq
			mu.Unlock()
		}
	})
	got, _ := b.readAll(l, filter("**"), 0)
	if len(got) != 3*writers*each {
		b.Errorf("%d messages, want %d", len(got), 3*writers*each)
	}
	for i, m := range got {
		if first := acked[m.Topic]; m.ID.Seq != uint64(i+1) || m.ID.Seq < first || m.ID.Seq > first+2 {
			b.Fatalf("message %d of %s at place %d: its block was acknowledged at %d", m.ID.Seq, m.Topic, i+1, first)
		}
	}
}
