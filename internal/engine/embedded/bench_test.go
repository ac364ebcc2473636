package embedded_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
	"crier/internal/topic"
)

const payload = 200

// BenchmarkAppend has so many publishers that each wait for their answer:
// ns/op is the time of one publish seen from outside, all of them together.
func BenchmarkAppend(b *testing.B) {
	for _, d := range []engine.Durability{engine.Fsync, engine.Async} {
		for _, writers := range []int{1, 16, 64, 512} {
			b.Run(fmt.Sprintf("%s/writers=%d", d, writers), func(b *testing.B) {
				e := open(b, b.TempDir())
				benchAppend(b, writers, []engine.Log{openLog(b, e, d)})
			})
		}
	}
}

// BenchmarkDomains spreads 1,000 publishers over domains.
func BenchmarkDomains(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("domains=%d", n), func(b *testing.B) {
			e := open(b, b.TempDir())
			logs := make([]engine.Log, n)
			for i := range logs {
				var err error
				if logs[i], err = e.Log(b.Context(), fmt.Sprintf("domain-%d", i), engine.Fsync); err != nil {
					b.Fatal(err)
				}
			}
			benchAppend(b, 1000, logs)
		})
	}
}

func benchAppend(b *testing.B, writers int, logs []engine.Log) {
	var left atomic.Int64
	left.Store(int64(b.N))
	times := make([][]time.Duration, writers)
	data := make([]byte, payload)
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		l := logs[w%len(logs)]
		wg.Go(func() {
			name := fmt.Sprintf("topic/%d", w)
			for left.Add(-1) >= 0 {
				began := time.Now()
				if _, err := l.Append(b.Context(), engine.Block{Drafts: []message.Draft{{Topic: name, Data: data}}}); err != nil {
					b.Error(err)
					return
				}
				times[w] = append(times[w], time.Since(began))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(times...)
	slices.Sort(all)
	if len(all) == 0 {
		return
	}
	b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "publishes/s")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}

// fill appends messages of 200 bytes to 10,000 topics.
func fill(b testing.TB, l engine.Log, messages int) {
	data := make([]byte, payload)
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprintf("sensors/%04d/temperature", i)
	}
	drafts := make([]message.Draft, 500)
	for i := 0; i < messages; i += len(drafts) {
		for j := range drafts {
			drafts[j] = message.Draft{Topic: names[rand.IntN(len(names))], Data: data, ContentType: message.DefaultContentType}
		}
		if _, err := l.Append(b.Context(), engine.Block{Drafts: drafts}); err != nil {
			b.Fatal(err)
		}
	}
}

func filled(b *testing.B, messages int) engine.Log {
	l := openLog(b, open(b, b.TempDir()), engine.Async)
	fill(b, l, messages)
	return l
}

// BenchmarkReplay reads everything in pages, warm; ns/op is for a message.
func BenchmarkReplay(b *testing.B) {
	l := filled(b, 1_000_000)
	b.ReportAllocs()
	b.ResetTimer()
	for n, after := 0, uint64(0); n < b.N; {
		p, err := l.Read(b.Context(), engine.Query{After: after, Filter: topic.NewFilter(topic.All())})
		if err != nil {
			b.Fatal(err)
		}
		n += len(p.Messages)
		if after = p.Next; len(p.Messages) == 0 {
			after = 0
		}
	}
}

// BenchmarkWildcard reads one of 10,000 topics by a pattern, so that all
// messages are looked at; ns/op is for a message that is looked at.
func BenchmarkWildcard(b *testing.B) {
	l := filled(b, 1_000_000)
	p, err := topic.ParsePattern("sensors/0815/*")
	if err != nil {
		b.Fatal(err)
	}
	f := topic.NewFilter(p)
	b.ReportAllocs()
	b.ResetTimer()
	for n, after := 0, uint64(0); n < b.N; {
		p, err := l.Read(b.Context(), engine.Query{After: after, Filter: f})
		if err != nil {
			b.Fatal(err)
		}
		n += int(p.Next - after)
		if after = p.Next; after == 1_000_000 {
			after = 0
		}
	}
}

// BenchmarkPage reads 100 messages from a random place.
func BenchmarkPage(b *testing.B) {
	l := filled(b, 1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		p, err := l.Read(b.Context(), engine.Query{After: rand.Uint64N(999_900), Filter: topic.NewFilter(topic.All()), Limit: 100})
		if err != nil || len(p.Messages) != 100 {
			b.Fatal(err, len(p.Messages))
		}
	}
}

// BenchmarkLastOfTopic reads the newest 100 messages of one topic among 10,000.
func BenchmarkLastOfTopic(b *testing.B) {
	l := filled(b, 2_000_000)
	b.ReportAllocs()
	for b.Loop() {
		lastOfTopic(b, l)
	}
}

func lastOfTopic(b testing.TB, l engine.Log) {
	f := topic.NewFilter(topic.Exactly(fmt.Sprintf("sensors/%04d/temperature", rand.IntN(10_000))))
	after, head, err := l.Last(b.Context(), f, 100)
	if err != nil {
		b.Fatal(err)
	}
	p, err := l.Read(b.Context(), engine.Query{After: after, UpTo: head, Filter: f, Limit: 100})
	if err != nil || len(p.Messages) != 100 {
		b.Fatal(err, len(p.Messages))
	}
}

// BenchmarkTopics lists 100 topics of 10,000.
func BenchmarkTopics(b *testing.B) {
	l := filled(b, 1_000_000)
	b.ReportAllocs()
	for b.Loop() {
		infos, err := l.Topics(b.Context(), topic.NewFilter(topic.All()), fmt.Sprintf("sensors/%04d", rand.IntN(9_000)), 100)
		if err != nil || len(infos) != 100 {
			b.Fatal(err, len(infos))
		}
	}
}

var _ = cmp.Compare[int]
var _ embedded.Config
