package enginetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// Bench measures an engine's logs with each durability: appends of 200 bytes
// with 1, 16 and 64 waiting writers (ns/op is the time of one append seen from
// outside, all writers together), reading all, and the newest 100 of one topic
// among 10,000.
func Bench(b *testing.B, h Harness) {
	for _, d := range h.Durabilities {
		b.Run(string(d), func(b *testing.B) {
			for _, writers := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("append-%d", writers), func(b *testing.B) { benchAppend(b, h, d, writers) })
			}
			b.Run("read-all", func(b *testing.B) { benchReadAll(b, h, d) })
			b.Run("last-100-of-10000-topics", func(b *testing.B) { benchLast(b, h, d) })
		})
	}
}

const payload = 200

// benchLog opens a log that goes by the system's clock.
func benchLog(b *testing.B, h Harness, d engine.Durability) engine.Log {
	e := h.New(b, time.Now).Open(b)
	b.Cleanup(func() {
		if err := e.Close(); err != nil {
			b.Errorf("close: %v", err)
		}
	})
	l, err := e.Log(b.Context(), "main", d)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func benchAppend(b *testing.B, h Harness, d engine.Durability, writers int) {
	l := benchLog(b, h, d)
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.SetBytes(payload)
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			name := fmt.Sprintf("topic/%d", w)
			for left.Add(-1) >= 0 {
				_, err := l.Append(b.Context(), engine.Block{Drafts: []message.Draft{{Topic: name, Data: make([]byte, payload)}}})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// fillTopics appends messages round robin to topics.
func fillTopics(b *testing.B, l engine.Log, messages, topics int) {
	for i := 0; i < messages; {
		ds := make([]message.Draft, min(engine.MaxBlock, messages-i))
		for j := range ds {
			ds[j] = message.Draft{Topic: fmt.Sprintf("topic/%d", i%topics), Data: make([]byte, payload)}
			i++
		}
		if _, err := l.Append(b.Context(), engine.Block{Drafts: ds}); err != nil {
			b.Fatal(err)
		}
	}
}

func benchReadAll(b *testing.B, h Harness, d engine.Durability) {
	const messages = 200_000
	l := benchLog(b, h, d)
	fillTopics(b, l, messages, 1000)
	b.ReportAllocs()
	b.SetBytes(messages * payload)
	for b.Loop() {
		n := 0
		for after := uint64(0); after < messages; {
			p, err := l.Read(b.Context(), engine.Query{After: after, Filter: filter("**")})
			if err != nil {
				b.Fatal(err)
			}
			n += len(p.Messages)
			after = p.Next
		}
		if n != messages {
			b.Fatalf("%d messages", n)
		}
	}
	b.ReportMetric(float64(messages)*float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func benchLast(b *testing.B, h Harness, d engine.Durability) {
	const messages, topics, n = 1_000_000, 10_000, 100
	l := benchLog(b, h, d)
	fillTopics(b, l, messages, topics)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f := filter(fmt.Sprintf("topic/%d", i*7919%topics))
		i++
		after, _, err := l.Last(b.Context(), f, n)
		if err != nil {
			b.Fatal(err)
		}
		p, err := l.Read(b.Context(), engine.Query{After: after, Filter: f})
		if err != nil || len(p.Messages) != n {
			b.Fatalf("%d messages, %v", len(p.Messages), err)
		}
	}
}
