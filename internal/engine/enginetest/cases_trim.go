package enginetest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

func trimCases() []testCase {
	return []testCase{
		{name: "trim nothing", run: trimNothing,
			rule: "a zero retention bounds nothing, and one that is kept takes nothing"},
		{name: "trim by age", run: trimByAge, need: needClock,
			rule: "exactly the messages older than Before go, message by message"},
		{name: "trim by bytes", run: trimByBytes,
			rule: "the oldest messages go, one by one, until data plus topic of the rest are no more than Bytes"},
		{name: "trim everything", run: trimEverything,
			rule: "a log that was trimmed empty keeps its head and goes on above it"},
		{name: "marks of trimmed topics", run: trimMarks,
			rule: "trimming tells a gap exactly to cursors before the newest trimmed message that matches: none for other topics, none for later cursors"},
		{name: "trim while reading", run: trimWhileReading,
			rule: "of what matches up to Page.Next, everything is in the page, or Page.Lost tells that it is gone"},
		{name: "trim by several", run: trimBySeveral,
			rule: "several may trim at once: no more goes than retention says"},
		{name: "trim and reopen", run: trimAndReopen, need: needReopen,
			rule: "what was trimmed stays gone when the log is opened again, and the marks stay exact"},
		{name: "marks of the topics trimmed last", run: manyMarks, need: needTime,
			rule: "marks are exact for the 100,000 topics trimmed last; for others a gap may be told needlessly, but is never left out"},
	}
}

func trimNothing(b *lab) {
	l := b.log()
	b.trim(l, engine.Retention{})
	b.fill(l, 3, "a", "b")
	before := b.state(l)
	for _, r := range []engine.Retention{{}, {Bytes: before.Bytes}, {Bytes: 1 << 40}, {Before: time.Unix(1, 0)}} {
		b.trim(l, r)
		if s := b.state(l); s.Trimmed != 0 || s.Bytes != before.Bytes || s.Changes != before.Changes {
			b.Errorf("trim %+v: state %+v, want %+v", r, s, before)
		}
	}
	got, lost := b.readAll(l, filter("**"), 0)
	if len(got) != 6 || lost != 0 {
		b.Errorf("%d messages left, lost %d, want all 6", len(got), lost)
	}
}

func trimByAge(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	for i := range 12 {
		ds := drafts([]string{"a", "b", "c"}[i%3], 1+i%2)
		m.appended(b.append(l, ds...), ds)
		b.clock.Advance(time.Second)
	}
	for age := 14; age >= 0; age-- {
		// The message that is exactly so old stays.
		r := engine.Retention{Before: b.clock.Now().Add(-time.Duration(age) * time.Second)}
		b.trim(l, r)
		m.trim(r)
		b.compare(l, m, fmt.Sprintf("after trimming what is older than %d s", age))
	}
}

func trimByBytes(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	for i := range 12 {
		ds := []message.Draft{draft([]string{"a", "bb", "ccc/d"}[i%3], strings.Repeat("x", i))}
		m.appended(b.append(l, ds...), ds)
	}
	for left := m.bytes(); left > 0; left -= 7 {
		r := engine.Retention{Bytes: left}
		b.trim(l, r)
		m.trim(r)
		b.compare(l, m, fmt.Sprintf("after trimming to %d bytes", left))
		if s := b.state(l); s.Bytes > left {
			b.Errorf("%d bytes are left of %d", s.Bytes, left)
		}
	}
}

// compare asks everything of the log and the model.
func (b *lab) compare(l engine.Log, m *model, when string) {
	b.Helper()
	if err := m.checkState(b.state(l)); err != nil {
		b.Errorf("%s: state: %v", when, err)
	}
	for _, patterns := range []string{"a", "b", "a b", "**", "*", "a/**", "*/b", "a */*", "ccc/d", "nothing"} {
		f := filter(patterns)
		for after := uint64(0); after <= m.head(); after += 1 + m.head()/13 {
			q := engine.Query{After: after, Filter: f}
			if err := m.checkPage(q, b.read(l, q)); err != nil {
				b.Errorf("%s: %s after %d: %v", when, f, after, err)
			}
		}
		if err := m.checkComplete(f, b.complete(l, f)); err != nil {
			b.Errorf("%s: %s: %v", when, f, err)
		}
		if err := m.checkTopics(f, "", 50, b.topics(l, f, "", 50)); err != nil {
			b.Errorf("%s: topics of %s: %v", when, f, err)
		}
	}
}

func trimEverything(b *lab) {
	l := b.log()
	b.append(l, drafts("a", 700)...)
	b.trim(l, engine.Retention{Bytes: 1})
	s := b.state(l)
	if s.Head != 700 || s.Trimmed != 700 || s.Bytes != 0 || s.Count != 0 {
		b.Errorf("state %+v, want head and trimmed at 700, nothing left", s)
	}
	if got := b.topics(l, filter("**"), "", 10); len(got) != 0 {
		b.Errorf("topics %v are left", got)
	}
	if r := b.append(l, draft("a", "new")); r.First.Seq != 701 {
		b.Errorf("the next sequence number is %d, want 701", r.First.Seq)
	}
	got, lost := b.readAll(l, filter("a"), 0)
	b.wantSeqs("after trimming everything", got, 701)
	if lost != 700 {
		b.Errorf("lost %d, want 700", lost)
	}
}

func trimMarks(b *lab) {
	l := b.log()
	b.append(l, drafts("a", 5)...)                                                                // 1 to 5
	b.append(l, drafts("b", 5)...)                                                                // 6 to 10
	b.append(l, drafts("a", 5)...)                                                                // 11 to 15
	b.append(l, drafts("b/c", 5)...)                                                              // 16 to 20
	b.trim(l, engine.Retention{Bytes: int64(5*len("b/c")+5*len("b/c-0")) + 2*int64(len("aa-0"))}) // leaves two of a
	if s := b.state(l); s.Trimmed != 13 {
		b.Fatalf("trimmed %d, want 13", s.Trimmed)
	}
	for _, c := range []struct {
		patterns string
		lost     uint64
	}{
		{"a", 13}, {"b", 10}, {"b/c", 0}, {"b/*", 0}, {"b/**", 0}, {"*/c", 0}, {"*", 13}, {"**", 13}, {"b b/c", 10}, {"never", 0}, {"never/**", 0},
	} {
		f := filter(c.patterns)
		for after := range uint64(20) {
			want := message.Reason("")
			if after < c.lost {
				want = message.Retention
			}
			b.wantGap(l, f, after, want)
		}
		if got := b.complete(l, f); got != c.lost {
			b.Errorf("%s is complete after %d, want %d", f, got, c.lost)
		}
	}
}

// trimWhileReading knows the topic of every sequence number: those that are 0
// modulo 3 are of topic b.
func trimWhileReading(b *lab) {
	l := b.log()
	block := []message.Draft{draft("a", "1"), draft("a", "2"), draft("b", "3")}
	for range 100 {
		b.append(l, block...)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	fail := make(chan error, 8)
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			if _, err := l.Append(b.Context(), engine.Block{Drafts: append([]message.Draft(nil), block...)}); err != nil {
				fail <- err
				return
			}
			if i%3 == 0 {
				if err := l.Trim(b.Context(), engine.Retention{Bytes: 120}); err != nil {
					fail <- err
					return
				}
			}
		}
	})
	readers := []topic.Filter{filter("a"), filter("b"), filter("**"), filter("b/** b")}
	var readersWG sync.WaitGroup
	for _, f := range readers {
		readersWG.Go(func() {
			for round := range 60 {
				if err := readTrimmed(b, l, f, uint64(round)); err != nil {
					fail <- fmt.Errorf("%s: %w", f, err)
					return
				}
			}
		})
	}
	readersWG.Wait()
	stop.Store(true)
	wg.Wait()
	close(fail)
	for err := range fail {
		b.Error(err)
	}
}

// readTrimmed reads from the beginning to a head, and checks that each page
// is honest.
func readTrimmed(b *lab, l engine.Log, f topic.Filter, after uint64) error {
	s, err := l.State(b.Context())
	if err != nil {
		return err
	}
	for after < s.Head {
		p, err := l.Read(b.Context(), engine.Query{After: after, Filter: f, Limit: 7})
		if err != nil {
			return err
		}
		if p.Next <= after {
			return fmt.Errorf("the page after %d leads to %d", after, p.Next)
		}
		i := 0
		for seq := after + 1; seq <= p.Next; seq++ {
			name := "a"
			if seq%3 == 0 {
				name = "b"
			}
			if !f.Match(name) {
				continue
			}
			if i < len(p.Messages) && p.Messages[i].ID.Seq == seq {
				if p.Messages[i].Topic != name {
					return fmt.Errorf("message %d has topic %q", seq, p.Messages[i].Topic)
				}
				i++
				continue
			}
			if seq > p.Lost {
				return fmt.Errorf("in (%d, %d] message %d is missing and no gap tells it: lost is %d", after, p.Next, seq, p.Lost)
			}
		}
		if i != len(p.Messages) {
			return fmt.Errorf("in (%d, %d] the page holds %v", after, p.Next, seqsOf(p.Messages))
		}
		after = p.Next
	}
	return nil
}

func trimBySeveral(b *lab) {
	l := b.log()
	b.append(l, drafts("a", 900)...)
	want := int64(400 * len("aa-123")) // the newest 800 have that size
	together(8, func(int) {
		if err := l.Trim(b.Context(), engine.Retention{Bytes: want}); err != nil {
			b.Errorf("trim: %v", err)
		}
	})
	if s := b.state(l); s.Bytes != want || s.Trimmed != 500 {
		b.Errorf("%d bytes left above %d, want %d above 500", s.Bytes, s.Trimmed, want)
	}
}

func trimAndReopen(b *lab) {
	e := b.engine()
	l, m := b.domain(e, "main"), &model{clock: b.clock}
	for i := range 10 {
		ds := drafts([]string{"a", "b", "a/b"}[i%3], 1+i)
		m.appended(b.append(l, ds...), ds)
	}
	for range 3 {
		r := engine.Retention{Bytes: m.bytes() * 2 / 3}
		b.trim(l, r)
		m.trim(r)
		b.close(e)
		e = b.engine()
		l = b.domain(e, "main")
		b.compare(l, m, "after trimming and opening again")
	}
}

// manyMarks has 100,000 topics, and 10,000 before them, of one message each.
func manyMarks(b *lab) {
	const marks, more = 100_000, 10_000
	l := b.log()
	for from := 0; from < marks+more; from += engine.MaxBlock {
		ds := make([]message.Draft, engine.MaxBlock)
		for i := range ds {
			ds[i] = draft(fmt.Sprintf("t/%d", from+i), "x")
		}
		b.append(l, ds...)
	}
	b.append(l, draft("keep", "x"))
	b.trim(l, engine.Retention{Bytes: int64(len("keep") + 1)})
	if s := b.state(l); s.Trimmed != marks+more || s.Count != 1 {
		b.Fatalf("state %+v, want only the last message left", s)
	}
	for _, i := range []int{0, 1, more - 1, more, more + 1, marks, marks + more - 1} {
		seq := uint64(i + 1)
		f := filter(fmt.Sprintf("t/%d", i))
		b.wantGap(l, f, seq-1, message.Retention)
		if i >= more {
			b.wantGap(l, f, seq, "")
		}
	}
	b.wantGap(l, filter("keep"), marks+more, "")
	b.wantGap(l, filter("keep"), marks, "")
	b.wantGap(l, filter("t/*"), marks+more-1, message.Retention)
	b.wantGap(l, filter("t/*"), marks+more, "")
	b.wantGap(l, filter("**"), 0, message.Retention)
}
