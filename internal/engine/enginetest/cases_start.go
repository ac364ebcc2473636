package enginetest

import (
	"fmt"
	"sync"
	"sync/atomic"

	"crier/internal/engine"
)

// startCases judge logs that are an [engine.Starter]; others pass.
func startCases() []testCase {
	return []testCase{
		{name: "start", run: start,
			rule: "an append that was started tells once what Append would return, keys and refusals included; its messages are in the log then"},
		{name: "start and append", run: startAndAppend,
			rule: "appends that are started and those that wait, together: numbers without holes, every acknowledged message once, refused starts leave nothing"},
		{name: "start when closed", run: startWhenClosed,
			rule: "after Close an append is not started, or told that it failed"},
	}
}

// started is what an append that was started told.
type started struct {
	r   engine.Receipt
	err error
}

// begin starts an append; where that would wait it appends.
func begin(b *lab, l engine.Log, block engine.Block) started {
	b.Helper()
	told := make(chan started, 2)
	if s, ok := l.(engine.Starter); !ok || !s.Start(block, func(r engine.Receipt, err error) { told <- started{r, err} }) {
		r, err := l.Append(b.Context(), block)
		return started{r, err}
	}
	done := make(chan struct{})
	var got started
	go func() {
		got = <-told
		close(done)
	}()
	b.eventually("told of an append that was started", done)
	select {
	case <-told:
		b.Error("told twice of an append that was started")
	default:
	}
	return got
}

func start(b *lab) {
	l := b.log()
	one := begin(b, l, engine.Block{Drafts: drafts("a", 3)})
	if one.err != nil || one.r.First.Seq != 1 || one.r.N != 3 || one.r.Repeated || one.r.Durability == "" {
		b.Fatalf("started: %+v", one)
	}
	if got, _ := b.readAll(l, filter("**"), 0); len(got) != 3 || got[2].ID != one.r.ID(2) || !got[0].Time.Equal(one.r.Time) {
		b.Errorf("read %v after %+v", got, one.r)
	}
	k := key("k", "x")
	two := begin(b, l, engine.Block{Drafts: drafts("b", 1), Key: k})
	again := begin(b, l, engine.Block{Drafts: drafts("b", 1), Key: k})
	if two.err != nil || again.err != nil || !again.r.Repeated || again.r.First != two.r.First {
		b.Errorf("with a key: %+v, then %+v", two, again)
	}
	if none := begin(b, l, engine.Block{}); none.err == nil {
		b.Error("an empty block was appended")
	}
	if s := b.state(l); s.Head != 4 {
		b.Errorf("head %d, want 4", s.Head)
	}
}

func startAndAppend(b *lab) {
	l := b.log()
	const writers, each = 8, 50
	var wg sync.WaitGroup
	var acknowledged atomic.Int64
	seen := make([]atomic.Int32, writers*each*2+2)
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				block := engine.Block{Drafts: drafts(fmt.Sprintf("w/%d/%d", w, i), 1+i%2)}
				var got started
				if w%2 == 0 {
					got = begin(b, l, block)
				} else {
					got.r, got.err = l.Append(b.Context(), block)
				}
				if got.err != nil {
					b.Errorf("append: %v", got.err)
					return
				}
				acknowledged.Add(int64(got.r.N))
				for i := range got.r.N {
					seen[got.r.ID(i).Seq].Add(1)
				}
			}
		})
	}
	wg.Wait()
	n := int(acknowledged.Load())
	for seq := 1; seq <= n; seq++ {
		if c := seen[seq].Load(); c != 1 {
			b.Fatalf("sequence number %d was given %d times", seq, c)
		}
	}
	got, lost := b.readAll(l, filter("**"), 0)
	if len(got) != n || lost != 0 {
		b.Errorf("read %d of %d, lost %d", len(got), n, lost)
	}
}

func startWhenClosed(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	b.append(l, draft("a", "x"))
	b.close(e)
	if got := begin(b, l, engine.Block{Drafts: drafts("a", 1)}); !ended(got.err) {
		b.Errorf("after Close: %+v", got)
	}
}
