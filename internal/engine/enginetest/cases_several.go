package enginetest

import (
	"fmt"
	"sync"

	"crier/internal/engine"
	"crier/internal/message"
)

func severalCases() []testCase {
	return []testCase{
		{name: "several append", run: severalAppend, need: needSeveral,
			rule: "openers of one store share one order: no holes, blocks consecutive, the same for all"},
		{name: "several ask the source", run: severalAsk, need: needSeveral,
			rule: "State, reads and changes are asked of the source: what one opener was told is done, the others see"},
		{name: "several ring", run: severalRing, need: needSeveral,
			rule: "news of what one opener appends or changes reaches the listeners of the others"},
		{name: "several repeat", run: severalRepeat, need: needSeveral,
			rule: "idempotency keys are known to all openers: a burst over all of them appends once"},
		{name: "one of several leaves", run: oneLeaves, need: needSeveral,
			rule: "an opener that closes does not disturb the others"},
	}
}

func severalAppend(b *lab) {
	const openers, each = 3, 40
	logs := make([]engine.Log, openers)
	for i := range logs {
		logs[i] = b.log()
	}
	g := newLedger()
	together(2*openers, func(w int) {
		for i := range each {
			name := fmt.Sprintf("w%d/%d", w, i)
			r, err := logs[w%openers].Append(b.Context(), engine.Block{Drafts: drafts(name, 3)})
			if err != nil {
				b.Errorf("append: %v", err)
				return
			}
			g.mu.Lock()
			g.blocks[name] = r
			g.mu.Unlock()
		}
	})
	if got := g.len(); got != 2*openers*each {
		b.Errorf("%d blocks were acknowledged", got)
	}
	for _, l := range logs {
		g.check(b, l)
	}
}

func severalAsk(b *lab) {
	one, two := b.log(), b.log()
	m := &model{clock: b.clock}
	for i := range 12 {
		l := []engine.Log{one, two}[i%2]
		ds := drafts([]string{"a", "b", "a/b"}[i%3], 1+i%3)
		m.appended(b.append(l, ds...), ds)
		for _, l := range []engine.Log{one, two} {
			if head := b.state(l).Head; head != m.head() {
				b.Fatalf("head %d, message %d was acknowledged to another opener", head, m.head())
			}
		}
	}
	b.compare(two, m, "after appends by both")
	b.forget(one, "b")
	m.forget("b")
	b.compare(two, m, "after a delete by the other")
	r := engine.Retention{Bytes: m.bytes() / 2}
	b.trim(two, r)
	m.trim(r)
	b.compare(one, m, "after a trim by the other")
	epoch, err := one.BeginEpoch(b.Context())
	if err != nil {
		b.Fatalf("begin epoch: %v", err)
	}
	ds := drafts("a", 2)
	receipt := b.append(two, ds...)
	m.appended(receipt, ds)
	if want := (message.ID{Epoch: epoch, Seq: m.head() - 1}); receipt.First != want {
		b.Errorf("the first id of the epoch that another began is %s, want %s", receipt.First, want)
	}
	if s1, s2 := b.state(one), b.state(two); fmt.Sprint(s1) != fmt.Sprint(s2) {
		b.Errorf("states %+v and %+v", s1, s2)
	}
}

func severalRing(b *lab) {
	one, two := b.log(), b.log()
	h, stop := b.listen(two)
	defer stop()
	for i := range 10 {
		r := b.append(one, drafts("a", 1+i%3)...)
		last := r.ID(r.N - 1).Seq
		h.until(b, fmt.Sprintf("message %d of the other", last), func(h *ears) bool { return h.head() >= last })
	}
	h.mu.Lock()
	h.changed = false
	h.mu.Unlock()
	b.forget(one, "a")
	h.until(b, "a delete by the other", func(h *ears) bool { return h.changed })
}

func severalRepeat(b *lab) {
	logs := []engine.Log{b.log(), b.log(), b.log()}
	k := key("one", "x")
	first := b.appendKeyed(logs[0], k, drafts("a", 2)...)
	b.wantRepeat(logs[1], k, first, drafts("a", 2)...)
	var mu sync.Mutex
	firsts := map[uint64]int{}
	together(12, func(i int) {
		r, err := logs[i%3].Append(b.Context(), engine.Block{Drafts: drafts("b", 2), Key: key("two", "x")})
		if err != nil {
			b.Errorf("append: %v", err)
		}
		mu.Lock()
		firsts[r.First.Seq]++
		mu.Unlock()
	})
	if head := b.state(logs[2]).Head; head != 4 || len(firsts) != 1 {
		b.Errorf("head %d, receipts at %v: want one block", head, firsts)
	}
}

func oneLeaves(b *lab) {
	e := b.engine()
	one, two := b.domain(e, "main"), b.log()
	b.fill(one, 2, "a")
	h, stop := b.listen(two)
	defer stop()
	b.close(e)
	r := b.append(two, drafts("a", 1)...)
	h.until(b, "its own append", func(h *ears) bool { return h.head() >= r.First.Seq })
	got, _ := b.readAll(two, filter("a"), 0)
	b.wantSeqs("after the other left", got, 1, 2, 3)
}
