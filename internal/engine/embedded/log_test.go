package embedded_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
	"crier/internal/topic"
)

func open(t testing.TB, dir string) *embedded.Engine {
	t.Helper()
	e, err := embedded.Open(t.Context(), embedded.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func openLog(t testing.TB, e engine.Engine, d engine.Durability) engine.Log {
	t.Helper()
	l, err := e.Log(t.Context(), "main", d)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAppendReadReopen(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	l := openLog(t, e, engine.Fsync)
	var mu sync.Mutex
	var rung []uint64
	l.Listen(func(n engine.News) {
		mu.Lock()
		defer mu.Unlock()
		for _, m := range n.Messages {
			rung = append(rung, m.ID.Seq)
		}
	})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := range 100 {
				_, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{
					Topic: fmt.Sprintf("t/%d", w), Data: fmt.Appendf(nil, "%d-%d", w, i), ContentType: "text/x", TTL: time.Duration(i) * time.Hour,
				}}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	check := func(l engine.Log) {
		page, err := l.Read(t.Context(), engine.Query{Filter: topic.NewFilter(topic.All()), Limit: 10000})
		if err != nil || len(page.Messages) != 1600 || page.Next != 1600 {
			t.Fatal(err, len(page.Messages), page.Next)
		}
		for i, m := range page.Messages {
			if m.ID.Seq != uint64(i+1) || m.ContentType != "text/x" {
				t.Fatal(i, m)
			}
		}
		page, err = l.Read(t.Context(), engine.Query{Filter: topic.NewFilter(topic.Exactly("t/3")), Limit: 10000})
		if err != nil || len(page.Messages) != 100 || page.Next != 1600 {
			t.Fatal(err, len(page.Messages), page.Next)
		}
	}
	check(l)
	mu.Lock()
	if len(rung) != 1600 || rung[0] != 1 || rung[1599] != 1600 {
		t.Fatal(len(rung))
	}
	mu.Unlock()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, dir)
	check(openLog(t, e, engine.Fsync))
}
