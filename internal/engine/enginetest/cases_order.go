package enginetest

import (
	"bytes"
	"fmt"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

func orderCases() []testCase {
	return []testCase{
		{name: "empty log", run: emptyLog,
			rule: "a new log has one epoch, no messages, and its first sequence number will be 1"},
		{name: "fields", run: fields,
			rule: "what is read is what was appended, with the receipt's id and time; times are UTC in whole microseconds"},
		{name: "order", run: order,
			rule: "sequence numbers are given in commit order without holes"},
		{name: "concurrent appenders", run: concurrentAppenders,
			rule: "the messages of a block have consecutive sequence numbers and one time, whoever else appends; every acknowledged message is in the log once"},
		{name: "block limits", run: blockLimits,
			rule: "a block has at most MaxBlock drafts; one that is refused leaves nothing behind"},
		{name: "sizes", run: sizes,
			rule: "empty and large data, long topics and every byte are kept as they are"},
		{name: "domains", run: domains,
			rule: "every domain is a log of its own"},
		{name: "acknowledged is visible", run: acknowledgedIsVisible,
			rule: "when Append returns, the head is at or above the block, and reads give it"},
	}
}

func emptyLog(b *lab) {
	l := b.log()
	s := b.state(l)
	if s.Head != 0 || s.Trimmed != 0 || s.Bytes != 0 || s.Count != 0 || len(s.Epochs) != 1 {
		b.Fatalf("state of a new log: %+v", s)
	}
	if e := s.Epochs[0]; e.First != 1 || e.Last != 0 || e.Epoch.IsZero() {
		b.Errorf("epoch of a new log: %+v, want numbers from 1, none given yet", e)
	}
	p := b.read(l, engine.Query{Filter: filter("**")})
	if len(p.Messages) != 0 || p.Next != 0 || p.Lost != 0 {
		b.Errorf("page of a new log: %+v", p)
	}
	if after, head := b.last(l, filter("a **"), 10); after != 0 || head != 0 {
		b.Errorf("last 10 of a new log: after %d, head %d", after, head)
	}
	if got := b.complete(l, filter("a **")); got != 0 {
		b.Errorf("a new log is complete after %d, want 0", got)
	}
	if got := b.topics(l, filter("**"), "", 10); len(got) != 0 {
		b.Errorf("topics of a new log: %v", got)
	}
	b.forget(l, "a")
	b.trim(l, engine.Retention{Before: time.Now(), Bytes: 1})
	if r := b.append(l, draft("a", "x")); r.First.Seq != 1 || r.N != 1 || r.Repeated {
		b.Errorf("first receipt %+v, want sequence number 1", r)
	}
}

func fields(b *lab) {
	l := b.log()
	ds := []message.Draft{
		{Topic: "a", Data: []byte("text"), ContentType: message.DefaultContentType},
		{Topic: "a/b c/ü", Data: []byte{0, 1, 0xff}, ContentType: "application/octet-stream", Binary: true},
		{Topic: "a", Data: []byte("{}"), ContentType: "application/json", Type: "tick", App: "weather", TTL: time.Hour},
		{Topic: "a", Data: []byte("x")},
	}
	r := b.append(l, ds...)
	if r.Time.IsZero() || r.Time.Location() != time.UTC || r.Time.Nanosecond()%1000 != 0 {
		b.Errorf("time of the receipt %v, want UTC in whole microseconds", r.Time)
	}
	if b.h.Clock && !r.Time.Equal(b.clock.Now()) {
		b.Errorf("time of the receipt %v, the clock shows %v", r.Time, b.clock.Now())
	}
	p := b.read(l, engine.Query{Filter: filter("**")})
	if len(p.Messages) != len(ds) {
		b.Fatalf("read %d messages, want %d", len(p.Messages), len(ds))
	}
	for i := range ds {
		if diff := differ(p.Messages[i], ds[i].Commit(r.ID(i), r.Time)); diff != "" {
			b.Errorf("message %d: %s", i, diff)
		}
		if at := p.Messages[i].Time; at.Location() != time.UTC {
			b.Errorf("message %d: its time is in %v, want UTC", i, at.Location())
		}
	}
}

func order(b *lab) {
	l := b.log()
	var want []string
	next := uint64(1)
	for i := range 60 {
		ds := make([]message.Draft, 1+i%4)
		for j := range ds {
			data := fmt.Sprintf("%d.%d", i, j)
			ds[j] = draft([]string{"a", "b", "c/d"}[(i+j)%3], data)
			want = append(want, data)
		}
		r := b.append(l, ds...)
		if r.First.Seq != next || r.N != len(ds) {
			b.Fatalf("block %d of %d: receipt %+v, want sequence number %d", i, len(ds), r, next)
		}
		next += uint64(len(ds))
	}
	got, lost := b.readAll(l, filter("**"), 0)
	if lost != 0 {
		b.Errorf("a gap up to %d, nothing was taken away", lost)
	}
	if fmt.Sprint(dataOf(got)) != fmt.Sprint(want) {
		b.Errorf("read %v, want %v", dataOf(got), want)
	}
	for i, m := range got {
		if m.ID.Seq != uint64(i+1) {
			b.Fatalf("message %d has sequence number %d", i, m.ID.Seq)
		}
	}
	if s := b.state(l); s.Head != next-1 || s.Count != int64(next-1) {
		b.Errorf("head %d, count %d, want %d", s.Head, s.Count, next-1)
	}
}

// concurrentAppenders gives every block a topic of its own name, so that what
// was read says which block it came from.
func concurrentAppenders(b *lab) {
	const writers, blocks = 16, 20
	l := b.log()
	type sent struct {
		receipt engine.Receipt
		err     error
	}
	all := make([][]sent, writers)
	together(writers, func(w int) {
		for i := range blocks {
			ds := drafts(fmt.Sprintf("w%d/%d", w, i), 1+(w+i)%7)
			r, err := l.Append(b.Context(), engine.Block{Drafts: ds})
			all[w] = append(all[w], sent{r, err})
		}
	})
	got, _ := b.readAll(l, filter("**"), 0)
	for i, m := range got {
		if m.ID.Seq != uint64(i+1) {
			b.Fatalf("message %d of the log has sequence number %d: a hole", i, m.ID.Seq)
		}
	}
	total := 0
	for w := range all {
		before := uint64(0)
		for i, s := range all[w] {
			if s.err != nil {
				b.Fatalf("append: %v", s.err)
			}
			want := drafts(fmt.Sprintf("w%d/%d", w, i), 1+(w+i)%7)
			total += len(want)
			first := s.receipt.First.Seq
			if s.receipt.N != len(want) || first <= before || first+uint64(len(want))-1 > uint64(len(got)) {
				b.Fatalf("writer %d, block %d of %d: receipt %+v after sequence number %d, %d in the log", w, i, len(want), s.receipt, before, len(got))
			}
			for j := range want {
				if diff := differ(got[first-1+uint64(j)], want[j].Commit(s.receipt.ID(j), s.receipt.Time)); diff != "" {
					b.Errorf("writer %d, block %d, message %d: %s", w, i, j, diff)
				}
			}
			before = first + uint64(len(want)) - 1
		}
	}
	if len(got) != total {
		b.Errorf("%d messages in the log, %d were acknowledged", len(got), total)
	}
}

func blockLimits(b *lab) {
	l := b.log()
	b.fill(l, 1, "a")
	if _, err := l.Append(b.Context(), engine.Block{Drafts: drafts("b", engine.MaxBlock+1)}); err == nil {
		b.Errorf("a block of %d drafts was taken", engine.MaxBlock+1)
	}
	_, _ = l.Append(b.Context(), engine.Block{}) // an error or not
	if s := b.state(l); s.Head != 1 {
		b.Errorf("head %d after refused blocks, want 1", s.Head)
	}
	if r := b.append(l, drafts("b", engine.MaxBlock)...); r.First.Seq != 2 || r.N != engine.MaxBlock {
		b.Errorf("receipt of the largest block: %+v", r)
	}
	got, _ := b.readAll(l, filter("b"), 0)
	if len(got) != engine.MaxBlock {
		b.Errorf("read %d messages of the largest block", len(got))
	}
}

func sizes(b *lab) {
	l := b.log()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	long := string(bytes.Repeat([]byte("x"), topic.MaxBytes))
	ds := []message.Draft{
		{Topic: "empty"},
		{Topic: "every byte", Data: every, Binary: true},
		{Topic: "large", Data: bytes.Repeat([]byte("0123456789abcdef"), 1<<16)},
		{Topic: long, Data: []byte("long topic")},
		{Topic: "type", Data: []byte("x"), Type: string(bytes.Repeat([]byte("t"), 64)), App: "a", ContentType: string(bytes.Repeat([]byte("c"), 255))},
	}
	r := b.append(l, ds...)
	got, _ := b.readAll(l, filter("**"), 0)
	if len(got) != len(ds) {
		b.Fatalf("read %d messages, want %d", len(got), len(ds))
	}
	bytesLeft := int64(0)
	for i := range ds {
		if diff := differ(got[i], ds[i].Commit(r.ID(i), r.Time)); diff != "" {
			b.Errorf("message %d: %s", i, diff)
		}
		bytesLeft += int64(got[i].Size())
	}
	if s := b.state(l); s.Bytes != bytesLeft {
		b.Errorf("state has %d bytes, data and topics are %d", s.Bytes, bytesLeft)
	}
}

func domains(b *lab) {
	e := b.engine()
	one, two := b.domain(e, "one"), b.domain(e, "Two.2_-")
	if again := b.domain(e, "one"); again != one {
		b.Errorf("a log that is open was opened once more instead of returned")
	}
	b.fill(one, 3, "a")
	b.fill(two, 1, "a")
	if head := b.state(one).Head; head != 3 {
		b.Errorf("head of one: %d, want 3", head)
	}
	got, _ := b.readAll(two, filter("**"), 0)
	b.wantSeqs("the other domain", got, 1)
	for _, bad := range []string{"", "a/b", "..x/", "ü", string(bytes.Repeat([]byte("x"), 65))} {
		if _, err := e.Log(b.Context(), bad, b.d); err == nil {
			b.Errorf("a log was made for the domain %q", bad)
		}
	}
}

func acknowledgedIsVisible(b *lab) {
	l := b.log()
	var mu sync.Mutex
	var problems []string
	together(8, func(w int) {
		name := fmt.Sprintf("w%d", w)
		for i := range 25 {
			r, err := l.Append(b.Context(), engine.Block{Drafts: []message.Draft{draft(name, fmt.Sprint(i))}})
			s, stateErr := l.State(b.Context())
			p, readErr := l.Read(b.Context(), engine.Query{After: r.First.Seq - 1, Filter: filter(name)})
			if err != nil || stateErr != nil || readErr != nil || s.Head < r.First.Seq ||
				len(p.Messages) != 1 || p.Messages[0].ID != r.First || p.Next < r.First.Seq {
				mu.Lock()
				problems = append(problems, fmt.Sprintf("%s %d: receipt %+v (%v), head %d (%v), %d messages (%v)",
					name, i, r, err, s.Head, stateErr, len(p.Messages), readErr))
				mu.Unlock()
			}
		}
	})
	for _, p := range problems {
		b.Error(p)
	}
}
