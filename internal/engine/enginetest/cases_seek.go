package enginetest

import (
	"fmt"
	"math/rand/v2"

	"crier/internal/engine"
	"crier/internal/message"
)

func seekCases() []testCase {
	return []testCase{
		{name: "last", run: lastN,
			rule: "Last gives the place before the newest n that match, for topics, wildcards and mixtures; fewer if there are fewer"},
		{name: "last does not count what is gone", run: lastSkipsTheGone,
			rule: "what was trimmed, deleted or has expired is not one of the newest n"},
		{name: "topics", run: listTopics,
			rule: "Topics lists in byte order after the given one, at most limit, only topics that match and have messages"},
		{name: "many topics", run: manyTopics,
			rule: "one topic among thousands gives its own messages, all of them, in order"},
	}
}

func lastN(b *lab) {
	rnd := rand.New(rand.NewPCG(3, 4))
	l, m := b.log(), &model{clock: b.clock}
	topics := someTopics()
	for range 40 {
		ds := []message.Draft{draft(topics[rnd.IntN(len(topics))], "x"), draft(topics[rnd.IntN(4)], "y")}
		m.appended(b.append(l, ds...), ds)
	}
	for _, n := range []int{0, 1, 2, 7, 40, 80, 100_000} {
		for range 20 {
			f := someFilter(rnd)
			after, head := b.last(l, f, n)
			if err := m.checkLast(f, n, after, head); err != nil {
				b.Errorf("last %d of %s: %v", n, f, err)
			}
		}
	}
}

func lastSkipsTheGone(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	add := func(ds ...message.Draft) { m.appended(b.append(l, ds...), ds) }
	add(draft("a", "old"))
	add(drafts("a", 5)...)
	add(drafts("b", 5)...)
	add(drafts("c", 5)...)
	b.trim(l, engine.Retention{Bytes: m.bytes() - 1})
	m.trim(engine.Retention{Bytes: m.bytes() - 1})
	b.forget(l, "c")
	m.forget("c")
	add(draft("a", "new"))
	if b.h.Clock {
		add(shortLived("a", "soon gone", 2e9), shortLived("b", "soon gone", 2e9))
		b.clock.Advance(2e9)
	}
	for _, patterns := range []string{"a", "b", "c", "a b c", "**", "*", "a b/**"} {
		for n := range 15 {
			f := filter(patterns)
			after, head := b.last(l, f, n)
			if err := m.checkLast(f, n, after, head); err != nil {
				b.Errorf("last %d of %s: %v", n, f, err)
			}
		}
	}
}

func listTopics(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	for i, name := range someTopics() {
		ds := drafts(name, 1+i%3)
		m.appended(b.append(l, ds...), ds)
	}
	b.forget(l, "a/c")
	m.forget("a/c")
	for _, patterns := range []string{"**", "a/**", "*/b", "a", "z a x a/c", "a/c", "*", "x/**"} {
		for _, after := range []string{"", "a", "a/b", "a/b/", "b", "y", "z", "ü", "\U0010ffff"} {
			for _, limit := range []int{1, 2, 100} {
				f := filter(patterns)
				if err := m.checkTopics(f, after, limit, b.topics(l, f, after, limit)); err != nil {
					b.Errorf("topics of %s after %q, limit %d: %v", f, after, limit, err)
				}
			}
		}
	}
	var paged []string
	for after := ""; len(paged) <= len(someTopics()); {
		page := b.topics(l, filter("**"), after, 5)
		for _, info := range page {
			paged = append(paged, info.Topic)
			after = info.Topic
		}
		if len(page) < 5 {
			break
		}
	}
	if want := len(someTopics()) - 1; len(paged) != want {
		b.Errorf("paging gave %v, want %d topics", paged, want)
	}
}

func manyTopics(b *lab) {
	const topics, rounds = 3000, 4
	l := b.log()
	for round := range rounds {
		for from := 0; from < topics; from += 500 {
			var ds []message.Draft
			for i := from; i < from+500; i++ {
				ds = append(ds, draft(fmt.Sprintf("t/%d", i), fmt.Sprint(round)))
			}
			b.append(l, ds...)
		}
	}
	for _, i := range []int{0, 1, 499, 500, 1777, topics - 1} {
		got, lost := b.readAll(l, filter(fmt.Sprintf("t/%d", i)), 0)
		if fmt.Sprint(dataOf(got)) != "[0 1 2 3]" || lost != 0 {
			b.Errorf("topic %d: %v, lost %d", i, dataOf(got), lost)
		}
		after, _ := b.last(l, filter(fmt.Sprintf("t/%d", i)), 2)
		if want := uint64(2*topics + i); after != want {
			b.Errorf("the last 2 of topic %d lie after %d, want %d", i, after, want)
		}
	}
	count := 0
	for after := ""; count <= topics; {
		page := b.topics(l, filter("t/*"), after, 700)
		if len(page) == 0 {
			break
		}
		for _, info := range page {
			if info.Count != rounds {
				b.Fatalf("topic %s has %d messages, want %d", info.Topic, info.Count, rounds)
			}
		}
		count += len(page)
		after = page[len(page)-1].Topic
	}
	if count != topics {
		b.Errorf("%d topics listed, want %d", count, topics)
	}
}
