package enginetest

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// patience is how long a case waits for what must come, unless its harness
// says otherwise.
const patience = time.Minute

// lab is what a case works with: a store of its own, and helpers that fail
// the test if a call fails. The helpers are for the test's goroutine.
type lab struct {
	testing.TB
	h     Harness
	d     engine.Durability
	clock *Clock
	store Store
	open  []engine.Engine
}

func newLab(t testing.TB, h Harness, d engine.Durability) *lab {
	b := &lab{TB: t, h: h, d: d, clock: NewClock()}
	b.store = h.New(t, b.clock.Now)
	t.Cleanup(func() {
		for _, e := range b.open {
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
	})
	return b
}

// engine opens one over the lab's store; the lab closes it.
func (b *lab) engine() engine.Engine {
	b.Helper()
	e := b.store.Open(b)
	b.open = append(b.open, e)
	return e
}

// close closes an engine now.
func (b *lab) close(e engine.Engine) {
	b.Helper()
	b.leave(e)
	if err := e.Close(); err != nil {
		b.Fatalf("close: %v", err)
	}
}

// crash ends an engine without a word.
func (b *lab) crash(e engine.Engine) {
	b.Helper()
	b.leave(e)
	b.store.Crash(b, e)
}

func (b *lab) leave(e engine.Engine) {
	b.open = slices.DeleteFunc(b.open, func(o engine.Engine) bool { return o == e })
}

// domain opens the log of a domain.
func (b *lab) domain(e engine.Engine, name string) engine.Log {
	b.Helper()
	l, err := e.Log(b.Context(), name, b.d)
	if err != nil {
		b.Fatalf("log of domain %s: %v", name, err)
	}
	return l
}

// log opens an engine and the log of main.
func (b *lab) log() engine.Log {
	b.Helper()
	return b.domain(b.engine(), "main")
}

// append appends a block.
func (b *lab) append(l engine.Log, drafts ...message.Draft) engine.Receipt {
	b.Helper()
	return b.appendKeyed(l, engine.Key{}, drafts...)
}

func (b *lab) appendKeyed(l engine.Log, key engine.Key, drafts ...message.Draft) engine.Receipt {
	b.Helper()
	r, err := l.Append(b.Context(), engine.Block{Drafts: slices.Clone(drafts), Key: key})
	if err != nil {
		b.Fatalf("append %d messages: %v", len(drafts), err)
	}
	return r
}

// fill appends n messages to each of the topics in turn, one a block.
func (b *lab) fill(l engine.Log, n int, topics ...string) {
	b.Helper()
	for i := range n {
		for _, name := range topics {
			b.append(l, draft(name, fmt.Sprintf("%s-%d", name, i)))
		}
	}
}

func (b *lab) state(l engine.Log) engine.State {
	b.Helper()
	s, err := l.State(b.Context())
	if err != nil {
		b.Fatalf("state: %v", err)
	}
	return s
}

func (b *lab) trim(l engine.Log, r engine.Retention) {
	b.Helper()
	if err := l.Trim(b.Context(), r); err != nil {
		b.Fatalf("trim: %v", err)
	}
}

func (b *lab) forget(l engine.Log, name string) {
	b.Helper()
	if err := l.Forget(b.Context(), name); err != nil {
		b.Fatalf("forget %s: %v", name, err)
	}
}

func (b *lab) read(l engine.Log, q engine.Query) engine.Page {
	b.Helper()
	p, err := l.Read(b.Context(), q)
	if err != nil {
		b.Fatalf("read %+v: %v", q, err)
	}
	return p
}

func (b *lab) last(l engine.Log, f topic.Filter, n int) (after, head uint64) {
	b.Helper()
	after, head, err := l.Last(b.Context(), f, n)
	if err != nil {
		b.Fatalf("last %d of %s: %v", n, f, err)
	}
	return after, head
}

func (b *lab) complete(l engine.Log, f topic.Filter) uint64 {
	b.Helper()
	seq, err := l.Complete(b.Context(), f)
	if err != nil {
		b.Fatalf("complete %s: %v", f, err)
	}
	return seq
}

func (b *lab) topics(l engine.Log, f topic.Filter, after string, limit int) []engine.TopicInfo {
	b.Helper()
	infos, err := l.Topics(b.Context(), f, after, limit)
	if err != nil {
		b.Fatalf("topics %s after %q: %v", f, after, err)
	}
	return infos
}

// readAll pages from after to the head, as a subscriber does, and returns
// what it got; lost is the newest gap it was told.
func (b *lab) readAll(l engine.Log, f topic.Filter, after uint64) (got []message.Message, lost uint64) {
	b.Helper()
	head := b.state(l).Head
	for pages := 0; after < head; pages++ {
		p := b.read(l, engine.Query{After: after, Filter: f})
		if p.Next <= after || pages > int(head) {
			b.Fatalf("a page after %d leads to %d and not on to the head %d", after, p.Next, head)
		}
		if p.Lost > after {
			lost = p.Lost
		}
		got = append(got, p.Messages...)
		after = p.Next
	}
	return got, lost
}

// wantSeqs compares the sequence numbers of messages.
func (b *lab) wantSeqs(what string, got []message.Message, want ...uint64) {
	b.Helper()
	if !slices.Equal(seqsOf(got), want) {
		b.Errorf("%s: sequence numbers %v, want %v", what, seqsOf(got), want)
	}
}

// wantGap reads after a cursor and compares whether a gap is told, and why.
func (b *lab) wantGap(l engine.Log, f topic.Filter, after uint64, want message.Reason) {
	b.Helper()
	p := b.read(l, engine.Query{After: after, Filter: f})
	got := p.Reason
	if p.Lost <= after {
		got = ""
	}
	if got != want {
		b.Errorf("reading %s after %d: gap %q (lost up to %d), want %q", f, after, got, p.Lost, want)
	}
}

// eventually waits for a signal.
func (b *lab) eventually(what string, done <-chan struct{}) {
	b.Helper()
	wait := cmp.Or(b.h.patience, patience)
	select {
	case <-done:
	case <-time.After(wait):
		b.Fatalf("%s: not within %s", what, wait)
	}
}

// until asks again and again, while others work.
func (b *lab) until(what string, ok func() bool) {
	b.Helper()
	for within := b.within(); !ok(); {
		if !within() {
			b.Fatalf("%s: not within %s", what, cmp.Or(b.h.patience, patience))
		}
	}
}

// within returns a function that tells whether there is time left to try
// again; it may be called by any goroutine.
func (b *lab) within() func() bool {
	end := time.Now().Add(cmp.Or(b.h.patience, patience))
	return func() bool {
		runtime.Gosched()
		return time.Now().Before(end)
	}
}

// together runs n goroutines and waits for them.
func together(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func draft(topicName, data string) message.Draft {
	return message.Draft{Topic: topicName, Data: []byte(data), ContentType: message.DefaultContentType}
}

// drafts makes n drafts of one topic.
func drafts(topicName string, n int) []message.Draft {
	ds := make([]message.Draft, n)
	for i := range ds {
		ds[i] = draft(topicName, fmt.Sprintf("%s-%d", topicName, i))
	}
	return ds
}

func shortLived(topicName, data string, ttl time.Duration) message.Draft {
	d := draft(topicName, data)
	d.TTL = ttl
	return d
}

// filter parses patterns separated by spaces.
func filter(patterns string) topic.Filter {
	var ps []topic.Pattern
	for s := range strings.FieldsSeq(patterns) {
		p, err := topic.ParsePattern(s)
		if err != nil { // a mistake in this package
			continue
		}
		ps = append(ps, p)
	}
	return topic.NewFilter(ps...)
}

func key(name, body string) engine.Key {
	var k engine.Key
	copy(k.Hash[:], name)
	copy(k.Body[:], body)
	return k
}

func seqsOf(ms []message.Message) []uint64 {
	seqs := make([]uint64, len(ms))
	for i, m := range ms {
		seqs[i] = m.ID.Seq
	}
	return seqs
}

func dataOf(ms []message.Message) []string {
	data := make([]string, len(ms))
	for i, m := range ms {
		data[i] = string(m.Data)
	}
	return data
}

// differ tells in which field two messages differ, or nothing.
func differ(got, want message.Message) string {
	switch {
	case got.ID != want.ID:
		return fmt.Sprintf("id %s, want %s", got.ID, want.ID)
	case got.Topic != want.Topic:
		return fmt.Sprintf("topic %q, want %q", got.Topic, want.Topic)
	case string(got.Data) != string(want.Data):
		return fmt.Sprintf("data %.40q, want %.40q", got.Data, want.Data)
	case got.ContentType != want.ContentType:
		return fmt.Sprintf("content type %q, want %q", got.ContentType, want.ContentType)
	case got.Binary != want.Binary:
		return fmt.Sprintf("binary %v, want %v", got.Binary, want.Binary)
	case !got.Time.Equal(want.Time):
		return fmt.Sprintf("time %s, want %s", got.Time, want.Time)
	case got.Type != want.Type:
		return fmt.Sprintf("type %q, want %q", got.Type, want.Type)
	case got.App != want.App:
		return fmt.Sprintf("app %q, want %q", got.App, want.App)
	case !got.Expires.Equal(want.Expires):
		return fmt.Sprintf("expires %s, want %s", got.Expires, want.Expires)
	}
	return ""
}
