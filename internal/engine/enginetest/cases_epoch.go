package enginetest

import (
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

func epochCases() []testCase {
	return []testCase{
		{name: "begin epoch", run: beginEpoch,
			rule: "a new epoch lies above the last, the sequence goes on, the table has first and last of each, and what was appended before keeps its ids"},
		{name: "cursors and epochs", run: cursorsAndEpochs,
			rule: "a cursor within a known epoch is good; beyond its end, or of an unknown one, it is told a gap"},
		{name: "bounded table of epochs", run: manyEpochs, need: needTime,
			rule: "the table has at most MaxEpochs lines, and the newest are in it"},
		{name: "epochs and reopen", run: epochsAndReopen, need: needReopen,
			rule: "a log that was closed goes on in its epoch when it is opened again; its table is kept"},
		{name: "memory begins an epoch", run: memoryBeginsAnEpoch,
			rule: "history in memory is gone when its store is opened again: a new epoch, above the last, and old cursors are told a gap"},
	}
}

func beginEpoch(b *lab) {
	l := b.log()
	r1 := b.append(l, draft("a", "1"), draft("a", "2"))
	before := b.state(l)
	epoch, err := l.BeginEpoch(b.Context())
	if err != nil {
		b.Fatalf("begin epoch: %v", err)
	}
	if epoch.Began <= r1.First.Epoch.Began {
		b.Errorf("epoch %s does not lie above %s", epoch, r1.First.Epoch)
	}
	s := b.state(l)
	if len(s.Epochs) != 2 || s.Head != 2 || s.Changes <= before.Changes {
		b.Fatalf("state %+v, it was %+v", s, before)
	}
	want := []engine.EpochRange{{Epoch: r1.First.Epoch, First: 1, Last: 2}, {Epoch: epoch, First: 3, Last: 2}}
	for i := range want {
		if s.Epochs[i] != want[i] {
			b.Errorf("line %d of the table: %+v, want %+v", i, s.Epochs[i], want[i])
		}
	}
	r2 := b.append(l, draft("a", "3"))
	if want := (message.ID{Epoch: epoch, Seq: 3}); r2.First != want {
		b.Errorf("the first id of the new epoch is %s, want %s", r2.First, want)
	}
	if last := b.state(l).Epochs[1]; last.Last != 3 {
		b.Errorf("the present epoch ends at %d, the head is 3", last.Last)
	}
	for _, p := range []string{"a", "**"} {
		got, lost := b.readAll(l, filter(p), 0)
		b.wantSeqs(p+" over both epochs", got, 1, 2, 3)
		if lost != 0 {
			b.Errorf("%s: lost %d", p, lost)
		}
		for i, id := range []message.ID{r1.First, r1.ID(1), r2.First} {
			if len(got) == 3 && got[i].ID != id {
				b.Errorf("message %d has id %s, its receipt %s", i, got[i].ID, id)
			}
		}
	}
}

func cursorsAndEpochs(b *lab) {
	l := b.log()
	b.fill(l, 4, "a")
	second, err := l.BeginEpoch(b.Context())
	if err != nil {
		b.Fatalf("begin epoch: %v", err)
	}
	b.fill(l, 3, "a")
	s := b.state(l)
	first := s.Epochs[0].Epoch
	for _, c := range []struct {
		what   string
		cursor message.ID
		after  uint64
		gap    bool
	}{
		{"the place before the first message", message.ID{Epoch: first}, 0, false},
		{"within the first epoch", message.ID{Epoch: first, Seq: 3}, 3, false},
		{"the end of the first epoch", message.ID{Epoch: first, Seq: 4}, 4, false},
		{"beyond the end of the first epoch", message.ID{Epoch: first, Seq: 5}, 4, true},
		{"the place before the second epoch", message.ID{Epoch: second, Seq: 4}, 4, false},
		{"within the second epoch", message.ID{Epoch: second, Seq: 6}, 6, false},
		{"the head", message.ID{Epoch: second, Seq: 7}, 7, false},
		{"beyond the head: the log was rolled back", message.ID{Epoch: second, Seq: 9}, 7, true},
		{"an unknown epoch", message.ID{Epoch: message.Epoch{Began: 1, Rand: 1}, Seq: 2}, s.Trimmed, true},
	} {
		got := engine.Resolve(s, c.cursor)
		if got.After != c.after || (got.Reason == message.NewEpoch) != c.gap {
			b.Errorf("%s leads to %+v, want %d, a gap: %v", c.what, got, c.after, c.gap)
		}
	}
	got, _ := b.readAll(l, filter("a"), engine.Resolve(s, message.ID{Epoch: second, Seq: 5}).After)
	b.wantSeqs("from a cursor of the second epoch", got, 6, 7)
}

func manyEpochs(b *lab) {
	const n = engine.MaxEpochs + 10
	l := b.log()
	var last message.Epoch
	for i := range n {
		epoch, err := l.BeginEpoch(b.Context())
		if err != nil {
			b.Fatalf("begin epoch %d: %v", i, err)
		}
		if epoch.Began <= last.Began {
			b.Fatalf("epoch %s does not lie above %s", epoch, last)
		}
		last = epoch
		if i%100 == 0 {
			b.append(l, draft("a", "x"))
		}
	}
	s := b.state(l)
	if len(s.Epochs) > engine.MaxEpochs || s.Epochs[len(s.Epochs)-1].Epoch != last {
		b.Fatalf("the table has %d lines, the last %+v", len(s.Epochs), s.Epochs[len(s.Epochs)-1])
	}
	for i := 1; i < len(s.Epochs); i++ {
		if s.Epochs[i].First != s.Epochs[i-1].Last+1 {
			b.Fatalf("line %d of the table is %+v, after %+v", i, s.Epochs[i], s.Epochs[i-1])
		}
	}
	if got, _ := b.readAll(l, filter("a"), 0); len(got) != n/100+1 {
		b.Errorf("%d messages, want %d", len(got), n/100+1)
	}
}

func epochsAndReopen(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	b.fill(l, 2, "a")
	if _, err := l.BeginEpoch(b.Context()); err != nil {
		b.Fatalf("begin epoch: %v", err)
	}
	b.fill(l, 1, "a")
	before := b.state(l)
	b.close(e)
	e = b.engine()
	l = b.domain(e, "main")
	s := b.state(l)
	if len(s.Epochs) != 2 || s.Epochs[0] != before.Epochs[0] || s.Epochs[1] != before.Epochs[1] || s.Head != 3 {
		b.Errorf("state %+v, it was %+v", s, before)
	}
	epoch, err := l.BeginEpoch(b.Context())
	if err != nil {
		b.Fatalf("begin epoch: %v", err)
	}
	b.close(e)
	l = b.log()
	if r := b.append(l, draft("a", "x")); r.First != (message.ID{Epoch: epoch, Seq: 4}) {
		b.Errorf("the next id is %s, want number 4 of epoch %s, which was empty when the log was closed", r.First, epoch)
	}
}

func memoryBeginsAnEpoch(b *lab) {
	if b.d != engine.Memory || !b.h.Reopens {
		b.Skip("not with this durability, or this engine")
	}
	e := b.engine()
	l := b.domain(e, "main")
	r := b.append(l, drafts("a", 5)...)
	for range 2 {
		b.close(e)
		b.clock.Advance(-time.Second) // a clock that goes back must not matter
		e = b.engine()
		l = b.domain(e, "main")
		s := b.state(l)
		now := s.Epochs[len(s.Epochs)-1].Epoch
		if now.Began <= r.First.Epoch.Began {
			b.Errorf("epoch %s does not lie above %s", now, r.First.Epoch)
		}
		res := engine.Resolve(s, r.ID(1))
		p := b.read(l, engine.Query{After: res.After, Filter: filter("a")})
		if len(p.Messages) != 0 || res.Reason == "" && p.Lost <= res.After {
			b.Errorf("a cursor of the last life leads to %+v, %d messages, lost %d: nothing tells what is gone", res, len(p.Messages), p.Lost)
		}
		r = b.append(l, drafts("a", 5)...)
	}
}
