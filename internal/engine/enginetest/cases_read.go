package enginetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

func readCases() []testCase {
	return []testCase{
		{name: "limit", run: limit,
			rule: "a page has at most Limit messages (1,000 if it is 0) and goes on where it ended"},
		{name: "max bytes", run: maxBytes,
			rule: "a page ends once MaxBytes of data are in it (1 MiB if it is 0), and holds one message even if that is larger"},
		{name: "up to", run: upTo,
			rule: "nothing above UpTo is in the page, and Next does not go beyond it; 0 is the head"},
		{name: "cursor at and beyond the end", run: beyondTheEnd,
			rule: "after the head there is nothing; Next is at least After unless the log is shorter"},
		{name: "next skips what does not match", run: nextSkips,
			rule: "a page that finds nothing more leads to the head, also when nothing matches"},
		{name: "filters equal the model", run: filtersEqualTheModel,
			rule: "exact topics, wildcards and mixtures select what the patterns say, across pages, whatever the bounds"},
		{name: "pages own their bytes", run: pagesOwnTheirBytes,
			rule: "what a page gave stays as it is when the log is trimmed, written to and closed"},
	}
}

func limit(b *lab) {
	l := b.log()
	b.append(l, drafts("a", 700)...)
	b.append(l, drafts("b", 10)...)
	b.append(l, drafts("a", 600)...)
	p := b.read(l, engine.Query{Filter: filter("a")})
	if len(p.Messages) != 1000 || p.Next < 1010 || p.Next > 1010 {
		b.Errorf("without a limit: %d messages, next %d, want 1,000 and 1010", len(p.Messages), p.Next)
	}
	for _, name := range []string{"a", "*", "**", "a b"} {
		f := filter(name)
		after, n := uint64(695), 0
		for after < 715 {
			p := b.read(l, engine.Query{After: after, Filter: f, Limit: 3})
			if len(p.Messages) > 3 || p.Next <= after {
				b.Fatalf("%s, limit 3 after %d: %d messages, next %d", name, after, len(p.Messages), p.Next)
			}
			for _, m := range p.Messages {
				if m.ID.Seq <= after {
					b.Fatalf("%s after %d: %d again", name, after, m.ID.Seq)
				}
				after = m.ID.Seq
				n++
			}
			after = p.Next
		}
		want := int(after - 695)
		if name == "a" {
			want -= 10
		}
		if n != want {
			b.Errorf("%s: %d messages in (695, %d], want %d", name, n, after, want)
		}
	}
}

func maxBytes(b *lab) {
	l := b.log()
	big := message.Draft{Topic: "a", Data: bytes.Repeat([]byte("x"), 400<<10)}
	for range 5 {
		b.append(l, big, draft("b", "small"))
	}
	p := b.read(l, engine.Query{Filter: filter("a")})
	if len(p.Messages) < 2 || len(p.Messages) > 3 {
		b.Errorf("a page of 400 KiB messages holds %d, want 2 or 3 (1 MiB)", len(p.Messages))
	}
	for _, name := range []string{"a", "**"} {
		p := b.read(l, engine.Query{Filter: filter(name), MaxBytes: 1})
		b.wantSeqs(name+" with room for a byte", p.Messages, 1)
		p = b.read(l, engine.Query{Filter: filter(name), MaxBytes: 1, After: p.Next})
		if len(p.Messages) != 1 {
			b.Errorf("%s, the page after it: %d messages, want 1", name, len(p.Messages))
		}
	}
}

func upTo(b *lab) {
	l := b.log()
	b.fill(l, 5, "a", "b") // a is odd, b is even
	for _, c := range []struct {
		after, upTo, next uint64
		want              []uint64
	}{
		{0, 0, 10, []uint64{1, 3, 5, 7, 9}},
		{0, 5, 5, []uint64{1, 3, 5}},
		{0, 6, 6, []uint64{1, 3, 5}},
		{4, 5, 5, []uint64{5}},
		{5, 5, 5, nil},
		{3, 100, 10, []uint64{5, 7, 9}},
	} {
		for _, name := range []string{"a", "a/** a", "a nothing"} {
			p := b.read(l, engine.Query{After: c.after, UpTo: c.upTo, Filter: filter(name)})
			b.wantSeqs(fmt.Sprintf("%s in (%d, %d]", name, c.after, c.upTo), p.Messages, c.want...)
			if p.Next != c.next {
				b.Errorf("%s in (%d, %d]: next %d, want %d", name, c.after, c.upTo, p.Next, c.next)
			}
		}
	}
}

func beyondTheEnd(b *lab) {
	l := b.log()
	b.fill(l, 3, "a")
	for _, name := range []string{"a", "**", "other"} {
		for after, next := range map[uint64]uint64{3: 3, 4: 3, 1 << 40: 3} {
			p := b.read(l, engine.Query{After: after, Filter: filter(name)})
			if len(p.Messages) != 0 || p.Next != next || p.Lost > after {
				b.Errorf("%s after %d: %d messages, next %d, lost %d; want none, %d, no gap", name, after, len(p.Messages), p.Next, p.Lost, next)
			}
		}
	}
}

func nextSkips(b *lab) {
	l := b.log()
	b.append(l, drafts("a", 500)...)
	b.append(l, drafts("b", 500)...)
	for _, f := range []topic.Filter{filter("b"), filter("b/** b"), filter("x"), filter("*/x"), {}} {
		after := uint64(0)
		n := 0
		for after < 1000 {
			p := b.read(l, engine.Query{After: after, Filter: f})
			n += len(p.Messages)
			if p.Next <= after {
				b.Fatalf("%q after %d: next %d", f, after, p.Next)
			}
			after = p.Next
		}
		want := 0
		if f.Match("b") {
			want = 500
		}
		if n != want {
			b.Errorf("%q: %d messages, want %d", f, n, want)
		}
	}
}

func filtersEqualTheModel(b *lab) {
	rnd := rand.New(rand.NewPCG(1, 2))
	l, m := b.log(), &model{clock: b.clock}
	topics := someTopics()
	for range 80 {
		var ds []message.Draft
		for range 1 + rnd.IntN(8) {
			ds = append(ds, draft(topics[rnd.IntN(len(topics))], fmt.Sprint(rnd.Uint64())))
		}
		m.appended(b.append(l, ds...), ds)
	}
	for range 300 {
		q := engine.Query{Filter: someFilter(rnd), Limit: rnd.IntN(20), MaxBytes: rnd.IntN(3) * 60}
		q.After = rnd.Uint64N(m.head() + 2)
		if rnd.IntN(2) == 0 {
			q.UpTo = q.After + rnd.Uint64N(m.head())
		}
		if err := m.checkPage(q, b.read(l, q)); err != nil {
			b.Errorf("%s, after %d, up to %d, limit %d, max bytes %d: %v", q.Filter, q.After, q.UpTo, q.Limit, q.MaxBytes, err)
		}
	}
}

// someTopics are the topics of random cases.
func someTopics() []string {
	return []string{"a", "b", "ab", "a/b", "a/c", "b/c", "a/b/c", "a/b/d", "a/ b", "a0", "ü/b", "z"}
}

// someFilter draws from one to three patterns.
func someFilter(rnd *rand.Rand) topic.Filter {
	patterns := []string{"**", "*", "a", "b", "a/*", "a/**", "*/b", "*/*/c", "a/b", "a/b/*", "ab", "z", "x", "x/**", "ü/*"}
	s := ""
	for range 1 + rnd.IntN(3) {
		s += " " + patterns[rnd.IntN(len(patterns))]
	}
	return filter(s)
}

func pagesOwnTheirBytes(b *lab) {
	e := b.engine()
	l := b.domain(e, "main")
	var want []string
	for i := range 50 {
		data := fmt.Sprintf("%d-%s", i, bytes.Repeat([]byte{byte('a' + i%26)}, 100))
		b.append(l, draft("a", data))
		want = append(want, data)
	}
	p := b.read(l, engine.Query{Filter: filter("a")})
	all := b.read(l, engine.Query{Filter: filter("**")})
	b.trim(l, engine.Retention{Bytes: 1})
	b.append(l, drafts("b", 500)...)
	b.forget(l, "b")
	b.close(e)
	for _, page := range []engine.Page{p, all} {
		if fmt.Sprint(dataOf(page.Messages)) != fmt.Sprint(want) {
			b.Errorf("the messages of a page changed after it was read")
		}
		for _, m := range page.Messages {
			if m.Topic != "a" {
				b.Fatalf("the topic of a page's message changed to %q", m.Topic)
			}
		}
	}
}
