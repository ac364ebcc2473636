package enginetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

func forgetCases() []testCase {
	return []testCase{
		{name: "forget", run: forgetOne,
			rule: "Forget deletes one topic's history up to the head: a gap for cursors before its newest message, no alarm for other topics, no change for what comes after"},
		{name: "forget what is not there", run: forgetNothing,
			rule: "forgetting a topic without messages is no error, tells no gap and changes nothing"},
		{name: "forget while appending", run: forgetWhileAppending,
			rule: "what was acknowledged before Forget was called is gone when it returns; what is appended after it returned is there"},
		{name: "forget then trim", run: forgetThenTrim,
			rule: "marks of deletes and of retention add up: each cursor is told exactly what matched and is gone"},
		{name: "forget and reopen", run: forgetAndReopen, need: needReopen,
			rule: "what was deleted stays deleted when the log is opened again, and the marks stay exact"},
	}
}

func forgetOne(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	for i := range 12 {
		ds := drafts([]string{"a", "b", "a/b"}[i%3], 2)
		m.appended(b.append(l, ds...), ds)
	}
	before := b.state(l)
	b.forget(l, "a")
	m.forget("a")
	b.compare(l, m, "after forgetting a")
	if s := b.state(l); s.Changes <= before.Changes {
		b.Errorf("State.Changes is %d, it was %d", s.Changes, before.Changes)
	}
	ds := drafts("a", 3)
	m.appended(b.append(l, ds...), ds)
	b.compare(l, m, "after appending to a again")
	for _, p := range []string{"a", "**", "*"} {
		b.wantGap(l, filter(p), 20, "") // the newest deleted message of a
		b.wantGap(l, filter(p), 19, message.Deleted)
	}
	b.forget(l, "a")
	m.forget("a")
	b.forget(l, "a/b")
	m.forget("a/b")
	b.compare(l, m, "after forgetting a once more, and a/b")
}

func forgetNothing(b *lab) {
	l := b.log()
	b.fill(l, 3, "a")
	before := b.state(l)
	b.forget(l, "b")
	b.forget(l, "a/b")
	s := b.state(l)
	if s.Count != before.Count || s.Bytes != before.Bytes {
		b.Errorf("state %+v, want %+v", s, before)
	}
	for _, p := range []string{"a", "b", "**", "a/**"} {
		b.wantGap(l, filter(p), 0, "")
	}
}

func forgetWhileAppending(b *lab) {
	l := b.log()
	var acked atomic.Uint64
	var stop atomic.Bool
	done := make(chan error, 1)
	go func() {
		var err error
		for i := 0; !stop.Load() && err == nil; i++ {
			var r engine.Receipt
			r, err = l.Append(b.Context(), engine.Block{Drafts: []message.Draft{draft("a", fmt.Sprint(i)), draft("b", fmt.Sprint(i))}})
			if err == nil {
				acked.Store(r.First.Seq)
			}
		}
		done <- err
	}()
	for range 20 {
		last := acked.Load()
		b.until("appends", func() bool { return acked.Load() > last || len(done) > 0 })
		before := acked.Load()
		b.forget(l, "a")
		p := b.read(l, engine.Query{Filter: filter("a")})
		if len(p.Messages) > 0 && p.Messages[0].ID.Seq <= before {
			b.Errorf("message %d of a is there, it was acknowledged before the delete", p.Messages[0].ID.Seq)
		}
		if before > 0 && p.Lost < before {
			b.Errorf("lost is %d, message %d was deleted", p.Lost, before)
		}
		for _, m := range p.Messages {
			if m.Topic != "a" {
				b.Errorf("a message of %q among those of a", m.Topic)
			}
		}
	}
	stop.Store(true)
	if err := <-done; err != nil {
		b.Fatalf("append: %v", err)
	}
	r := b.append(l, draft("a", "last"))
	got, _ := b.readAll(l, filter("a"), r.First.Seq-1)
	b.wantSeqs("after the last delete", got, r.First.Seq)
	all, lost := b.readAll(l, filter("b"), 0)
	if want := int(r.First.Seq-1) / 2; len(all) != want || lost != 0 {
		b.Errorf("topic b has %d messages (lost %d), want all %d", len(all), lost, want)
	}
}

func forgetThenTrim(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	both := func(r engine.Retention, name string) {
		if name != "" {
			b.forget(l, name)
			m.forget(name)
			return
		}
		b.trim(l, r)
		m.trim(r)
	}
	for i := range 18 {
		ds := drafts([]string{"a", "b", "a/b", "z/b"}[i%4], 1+i%3)
		m.appended(b.append(l, ds...), ds)
	}
	both(engine.Retention{}, "a/b")
	both(engine.Retention{Bytes: m.bytes() * 4 / 5}, "")
	b.compare(l, m, "after a delete and a trim")
	both(engine.Retention{}, "a")
	both(engine.Retention{Bytes: m.bytes() / 2}, "")
	b.compare(l, m, "after two of each")
	both(engine.Retention{Bytes: 1}, "")
	b.compare(l, m, "after trimming everything")
	ds := drafts("a", 2)
	m.appended(b.append(l, ds...), ds)
	b.compare(l, m, "after a new beginning")
}

func forgetAndReopen(b *lab) {
	e := b.engine()
	l, m := b.domain(e, "main"), &model{clock: b.clock}
	for i := range 12 {
		ds := drafts([]string{"a", "b", "a/b"}[i%3], 2)
		m.appended(b.append(l, ds...), ds)
	}
	for _, name := range []string{"b", "a"} {
		b.forget(l, name)
		m.forget(name)
		b.close(e)
		e = b.engine()
		l = b.domain(e, "main")
		b.compare(l, m, "after forgetting "+name+" and opening again")
		ds := drafts(name, 1)
		m.appended(b.append(l, ds...), ds)
	}
	b.compare(l, m, "at the end")
}

func ttlCases() []testCase {
	return []testCase{
		{name: "time to live", run: timeToLive, need: needClock,
			rule: "from Expires on a message is not read, and leaves no gap"},
		{name: "time to live and retention", run: ttlAndTrim, need: needClock,
			rule: "a message that had expired leaves no gap either when retention passes over it"},
		{name: "time to live and reopen", run: ttlAndReopen, need: needClock | needReopen,
			rule: "times to live are kept when the log is opened again"},
		{name: "taken away before the time to live ended", run: takenBeforeExpiry, need: needClock | needReopen,
			rule: "what was trimmed or deleted while it was there is told as a gap for good, also when its time to live is over by the time that the log is opened again"},
	}
}

func timeToLive(b *lab) {
	l, m := b.log(), &model{clock: b.clock}
	for i := range 10 {
		ds := []message.Draft{draft("a", "stays"), shortLived("a", "goes", time.Duration(1+i)*time.Second), shortLived("b", "goes", time.Duration(20-i)*time.Second)}
		m.appended(b.append(l, ds...), ds)
	}
	for range 22 {
		b.compare(l, m, "at "+b.clock.Now().Format(time.TimeOnly))
		for _, p := range []string{"a", "b", "**"} {
			b.wantGap(l, filter(p), 0, "")
			after, head := b.last(l, filter(p), 4)
			if err := m.checkLast(filter(p), 4, after, head); err != nil {
				b.Errorf("last 4 of %s: %v", p, err)
			}
		}
		b.clock.Advance(time.Second - time.Microsecond)
		b.compare(l, m, "a microsecond before "+b.clock.Now().Format(time.TimeOnly))
		b.clock.Advance(time.Microsecond)
	}
}

func ttlAndTrim(b *lab) {
	l := b.log()
	b.append(l, shortLived("a", "1", time.Second), draft("b", "2"), shortLived("c", "3", time.Hour), shortLived("b", "4", time.Second))
	b.clock.Advance(time.Minute)
	b.append(l, draft("a", "5"))
	b.trim(l, engine.Retention{Before: b.clock.Now()})
	if s := b.state(l); s.Trimmed != 4 || s.Count != 1 {
		b.Errorf("state %+v, want all but the last trimmed", s)
	}
	b.wantGap(l, filter("a"), 0, "")
	b.wantGap(l, filter("b"), 1, message.Retention)
	b.wantGap(l, filter("b"), 2, "")
	b.wantGap(l, filter("c"), 2, message.Retention) // it would be there yet
	b.wantGap(l, filter("**"), 2, message.Retention)
	b.wantGap(l, filter("**"), 3, "")
}

func ttlAndReopen(b *lab) {
	e := b.engine()
	l, m := b.domain(e, "main"), &model{clock: b.clock}
	ds := []message.Draft{shortLived("a", "1", time.Second), shortLived("a", "2", time.Minute), draft("b", "3")}
	m.appended(b.append(l, ds...), ds)
	for range 3 {
		b.close(e)
		e = b.engine()
		l = b.domain(e, "main")
		b.compare(l, m, "after opening again at "+b.clock.Now().Format(time.TimeOnly))
		b.clock.Advance(40 * time.Second)
		b.compare(l, m, "at "+b.clock.Now().Format(time.TimeOnly))
	}
}

func takenBeforeExpiry(b *lab) {
	e := b.engine()
	l, m := b.domain(e, "main"), &model{clock: b.clock}
	ds := []message.Draft{shortLived("a", "1", time.Second), shortLived("a", "2", 20*time.Second), draft("b", "3"), shortLived("c", "4", 20*time.Second), shortLived("c", "5", time.Second)}
	m.appended(b.append(l, ds...), ds)
	b.clock.Advance(10 * time.Second)
	r := engine.Retention{Before: b.clock.Now().Add(-time.Second)}
	more := []message.Draft{shortLived("b/c", "6", 5*time.Second), shortLived("b/c", "7", time.Second)}
	m.appended(b.append(l, more...), more)
	b.forget(l, "c")
	m.forget("c")
	b.trim(l, r)
	m.trim(r)
	b.clock.Advance(2 * time.Second)
	b.forget(l, "b/c")
	m.forget("b/c")
	for range 3 {
		b.compare(l, m, "at "+b.clock.Now().Format(time.TimeOnly))
		b.wantGap(l, filter("a"), 1, message.Retention)
		b.wantGap(l, filter("c"), 3, message.Deleted)
		b.wantGap(l, filter("b/c"), 5, message.Deleted)
		b.clock.Advance(time.Minute)
		b.close(e)
		e = b.engine()
		l = b.domain(e, "main")
	}
}
