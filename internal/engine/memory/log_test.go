package memory_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/message"
	"crier/internal/topic"
)

func draft(topicName, data string) message.Draft {
	return message.Draft{Topic: topicName, Data: []byte(data)}
}

func appendTo(t *testing.T, l engine.Log, drafts ...message.Draft) engine.Receipt {
	t.Helper()
	r, err := l.Append(t.Context(), engine.Block{Drafts: drafts})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func exactly(names ...string) topic.Filter {
	patterns := make([]topic.Pattern, 0, len(names))
	for _, name := range names {
		patterns = append(patterns, topic.Exactly(name))
	}
	return topic.NewFilter(patterns...)
}

func TestLogWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := memory.NewLog(memory.LogConfig{})
		defer l.Close()
		var heads []uint64
		stop := l.Listen(func(n engine.News) { heads = append(heads, n.Head) })
		appendTo(t, l, draft("a", "1"), draft("b", "2"))
		d := draft("a", "short-lived")
		d.TTL = time.Second
		appendTo(t, l, d)
		time.Sleep(time.Second) // fake time
		stop()
		p, err := l.Read(t.Context(), engine.Query{Filter: exactly("a", "b")})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Messages) != 2 || p.Next != 3 || p.Lost != 0 {
			t.Errorf("page of %d messages, next %d, lost %d; want 2, 3, 0", len(p.Messages), p.Next, p.Lost)
		}
		if fmt.Sprint(heads) != "[2 3]" {
			t.Errorf("rings %v, want [2 3]", heads)
		}
	})
}

func TestLogGoesOnAboveEarlierEpochs(t *testing.T) {
	old := message.Epoch{Began: 100, Rand: 1}
	l := memory.NewLog(memory.LogConfig{
		Now:    func() time.Time { return time.Unix(50, 0) }, // a clock that was set back
		Epochs: []engine.EpochRange{{Epoch: old, First: 1, Last: 41}},
	})
	defer l.Close()
	r := appendTo(t, l, draft("a", "x"))
	if r.First.Seq != 42 || r.First.Epoch.Began <= old.Began {
		t.Errorf("first id %+v, want sequence 42 in an epoch above %d", r.First, old.Began)
	}
	s, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Trimmed != 41 || s.Head != 42 || len(s.Epochs) != 2 {
		t.Errorf("state %+v, want what the earlier epoch held to be trimmed", s)
	}
	if got := engine.Resolve(s, message.ID{Epoch: old, Seq: 41}); got.After != 41 || got.Reason != "" {
		t.Errorf("a cursor at the end of the earlier epoch leads to %+v", got)
	}
	for after, lost := range map[uint64]bool{40: true, 41: false} {
		p, err := l.Read(t.Context(), engine.Query{After: after, Filter: exactly("a")})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Lost > after; got != lost || lost && p.Reason != message.NewEpoch {
			t.Errorf("read after %d: lost %d (%s), want a gap: %v", after, p.Lost, p.Reason, lost)
		}
	}
}

func TestKeysAreBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	l := memory.NewLog(memory.LogConfig{Now: func() time.Time { return now }, MaxKeys: 2})
	defer l.Close()
	publish := func(key byte) error {
		_, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{draft("a", "x")}, Key: engine.Key{Hash: [16]byte{key}}})
		return err
	}
	if err := errors.Join(publish(1), publish(2), publish(1)); err != nil {
		t.Fatal(err)
	}
	if err := publish(3); !errors.Is(err, engine.ErrTooManyKeys) {
		t.Errorf("third key: %v, want ErrTooManyKeys", err)
	}
	now = now.Add(engine.KeyLife)
	if err := publish(3); err != nil {
		t.Errorf("third key, when the others are forgotten: %v", err)
	}
}

func TestDropBeginsAboveWhatWas(t *testing.T) {
	e := memory.New(memory.Config{Now: func() time.Time { return time.Unix(1000, 0) }})
	defer e.Close()
	var last message.Epoch
	for range 3 {
		l, err := e.Log(t.Context(), "main", engine.Memory)
		if err != nil {
			t.Fatal(err)
		}
		epoch := appendTo(t, l, draft("a", "x")).First.Epoch
		if epoch.Began <= last.Began {
			t.Errorf("epoch %s does not lie above that of the dropped log, %s", epoch, last)
		}
		last = epoch
		if err := e.Drop(t.Context(), "main"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.State(t.Context()); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("state of a dropped log: %v, want ErrClosed", err)
		}
	}
}

func wild(pattern string) topic.Filter {
	p, err := topic.ParsePattern(pattern)
	if err != nil {
		return topic.Filter{}
	}
	return topic.NewFilter(p)
}
