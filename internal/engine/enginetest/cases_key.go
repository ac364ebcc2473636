package enginetest

import (
	"errors"
	"fmt"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

func keyCases() []testCase {
	return []testCase{
		{name: "repeat", run: repeat,
			rule: "a repeat under an idempotency key gives the first receipt and appends nothing; another body is refused with ErrKeyReused"},
		{name: "repeat of a batch", run: repeatOfABatch,
			rule: "one key covers a whole block"},
		{name: "no key", run: noKey,
			rule: "blocks without a key are never taken for each other"},
		{name: "repeats in one burst", run: burst,
			rule: "of many at once under one key exactly one appends, the others get its receipt"},
		{name: "keys outlive messages", run: keysOutliveMessages,
			rule: "a key is remembered for KeyLife, also when its messages are gone and a new epoch began"},
		{name: "keys are forgotten", run: keysAreForgotten, need: needClock,
			rule: "a key is remembered for KeyLife, then it is new"},
		{name: "keys and reopen", run: keysAndReopen, need: needReopen,
			rule: "keys are committed with their messages, and known again when the log is opened again"},
		{name: "keys and time and reopen", run: keysForgottenOverReopen, need: needReopen | needClock,
			rule: "KeyLife counts from the append, also when the log was opened again meanwhile"},
	}
}

// wantRepeat repeats a block, and compares the receipt.
func (b *lab) wantRepeat(l engine.Log, k engine.Key, first engine.Receipt, ds ...message.Draft) {
	b.Helper()
	head := b.state(l).Head
	r := b.appendKeyed(l, k, ds...)
	if !r.Repeated || r.First != first.First || r.N != first.N || !r.Time.Equal(first.Time) {
		b.Errorf("receipt of the repeat %+v, of the first %+v", r, first)
	}
	if now := b.state(l).Head; now != head {
		b.Errorf("the repeat moved the head from %d to %d", head, now)
	}
}

func repeat(b *lab) {
	l := b.log()
	b.fill(l, 2, "a")
	k := key("one", "body")
	first := b.appendKeyed(l, k, draft("a", "x"))
	if first.Repeated || first.First.Seq != 3 {
		b.Fatalf("receipt of the first: %+v", first)
	}
	b.fill(l, 2, "a")
	b.wantRepeat(l, k, first, draft("a", "x"))
	b.wantRepeat(l, k, first, draft("a", "x"))
	_, err := l.Append(b.Context(), engine.Block{Drafts: drafts("a", 1), Key: key("one", "another body")})
	if !errors.Is(err, engine.ErrKeyReused) {
		b.Errorf("another body under the key: %v, want ErrKeyReused", err)
	}
	if r := b.appendKeyed(l, key("two", "body"), draft("a", "x")); r.Repeated || r.First.Seq != 6 {
		b.Errorf("receipt under another key: %+v", r)
	}
	b.wantRepeat(l, k, first, draft("a", "x"))
}

func repeatOfABatch(b *lab) {
	l := b.log()
	k := key("batch", "body")
	first := b.appendKeyed(l, k, drafts("a", 50)...)
	b.wantRepeat(l, k, first, drafts("a", 50)...)
	if first.N != 50 || first.First.Seq != 1 {
		b.Errorf("receipt of the first: %+v", first)
	}
	got, _ := b.readAll(l, filter("a"), 0)
	if len(got) != 50 {
		b.Errorf("%d messages, want 50", len(got))
	}
}

func noKey(b *lab) {
	l := b.log()
	for i := range 3 {
		if r := b.append(l, draft("a", "same")); r.Repeated || r.First.Seq != uint64(i+1) {
			b.Errorf("receipt %d without a key: %+v", i, r)
		}
	}
}

func burst(b *lab) {
	const n, keys = 16, 10
	l := b.log()
	for i := range keys {
		k := key(fmt.Sprintf("k%d", i), "body")
		receipts := make([]engine.Receipt, n)
		errs := make([]error, n)
		together(n, func(j int) {
			receipts[j], errs[j] = l.Append(b.Context(), engine.Block{Drafts: drafts("a", 3), Key: k})
		})
		fresh := 0
		for j, r := range receipts {
			if errs[j] != nil {
				b.Fatalf("append: %v", errs[j])
			}
			if !r.Repeated {
				fresh++
			}
			if r.First != receipts[0].First || r.N != 3 || !r.Time.Equal(receipts[0].Time) {
				b.Errorf("receipts of one key differ: %+v and %+v", r, receipts[0])
			}
		}
		if fresh != 1 {
			b.Errorf("%d of %d say that they were the first", fresh, n)
		}
	}
	if head := b.state(l).Head; head != 3*keys {
		b.Errorf("head %d, want %d: a repeat was appended", head, 3*keys)
	}
}

func keysOutliveMessages(b *lab) {
	l := b.log()
	k1, k2 := key("one", "x"), key("two", "x")
	first := b.appendKeyed(l, k1, drafts("a", 2)...)
	second := b.appendKeyed(l, k2, drafts("b", 2)...)
	b.forget(l, "a")
	b.append(l, drafts("c", 100)...)
	b.trim(l, engine.Retention{Bytes: 1})
	if _, err := l.BeginEpoch(b.Context()); err != nil {
		b.Fatalf("begin epoch: %v", err)
	}
	b.wantRepeat(l, k1, first, drafts("a", 2)...)
	b.wantRepeat(l, k2, second, drafts("b", 2)...)
}

func keysAreForgotten(b *lab) {
	l := b.log()
	k := key("one", "x")
	first := b.appendKeyed(l, k, draft("a", "x"))
	b.clock.Advance(engine.KeyLife - time.Second)
	b.wantRepeat(l, k, first, draft("a", "x"))
	b.clock.Advance(2 * time.Second) // the repeat did not renew it
	again := b.appendKeyed(l, k, draft("a", "x"))
	if again.Repeated || again.First.Seq != 2 {
		b.Errorf("receipt after KeyLife: %+v, want a new message", again)
	}
	b.clock.Advance(engine.KeyLife - time.Second)
	b.wantRepeat(l, k, again, draft("a", "x"))
	b.clock.Advance(2 * time.Second)
	if r := b.appendKeyed(l, key("one", "another body"), draft("a", "y")); r.Repeated {
		b.Errorf("receipt of another body after KeyLife: %+v", r)
	}
}

func keysAndReopen(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	k1, k2 := key("one", "x"), key("two", "x")
	first := b.appendKeyed(l, k1, drafts("a", 3)...)
	b.fill(l, 2, "b")
	second := b.appendKeyed(l, k2, draft("b", "x"))
	for range 2 {
		b.close(e)
		e = b.engine()
		l = b.domain(e, "main")
		b.wantRepeat(l, k1, first, drafts("a", 3)...)
		b.wantRepeat(l, k2, second, draft("b", "x"))
	}
	_, err := l.Append(b.Context(), engine.Block{Drafts: drafts("a", 1), Key: key("two", "another body")})
	if !errors.Is(err, engine.ErrKeyReused) {
		b.Errorf("another body under a key from before: %v, want ErrKeyReused", err)
	}
}

func keysForgottenOverReopen(b *lab) {
	e := b.engine()
	k := key("one", "x")
	b.appendKeyed(b.domain(e, "main"), k, draft("a", "x"))
	b.clock.Advance(engine.KeyLife / 2)
	b.close(e)
	e = b.engine()
	if r := b.appendKeyed(b.domain(e, "main"), k, draft("a", "x")); !r.Repeated {
		b.Errorf("receipt after half of KeyLife: %+v, want the first one's", r)
	}
	b.clock.Advance(engine.KeyLife/2 + time.Second)
	if r := b.appendKeyed(b.domain(e, "main"), k, draft("a", "x")); r.Repeated {
		b.Errorf("receipt after KeyLife: %+v, want a new message", r)
	}
	b.clock.Advance(engine.KeyLife / 2)
	b.close(e)
	if r := b.appendKeyed(b.log(), k, draft("a", "x")); !r.Repeated || r.First.Seq != 2 {
		b.Errorf("receipt after half of its second life: %+v, want number 2", r)
	}
}
