package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/message"
)

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What is gone is let go of, in whatever way it went.
func TestWhatIsGoneIsFreed(t *testing.T) {
	const messages, size, topics = 20_000, 500, 1000
	for name, end := range map[string]func(t *testing.T, l *memory.Log, now *time.Time){
		"trimmed": func(t *testing.T, l *memory.Log, _ *time.Time) {
			if err := l.Trim(t.Context(), engine.Retention{Bytes: 1}); err != nil {
				t.Fatal(err)
			}
		},
		"forgotten": func(t *testing.T, l *memory.Log, _ *time.Time) {
			for i := range topics {
				if err := l.Forget(t.Context(), fmt.Sprintf("topic/%d", i)); err != nil {
					t.Fatal(err)
				}
			}
		},
		"expired": func(t *testing.T, l *memory.Log, now *time.Time) {
			*now = now.Add(time.Hour)
			if err := l.Trim(t.Context(), engine.Retention{}); err != nil {
				t.Fatal(err)
			}
		},
		"closed": func(t *testing.T, l *memory.Log, _ *time.Time) {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			l := memory.NewLog(memory.LogConfig{Now: func() time.Time { return now }})
			defer l.Close()
			before := heap()
			for i := 0; i < messages; {
				body := make([]byte, 100*size) // as a request's body, of which each message is a part
				ds := make([]message.Draft, 100)
				for j := range ds {
					ds[j] = message.Draft{Topic: fmt.Sprintf("topic/%d", i%topics), Data: body[j*size : (j+1)*size], TTL: time.Minute}
					i++
				}
				var key engine.Key
				key.Hash[0], key.Hash[1], key.Hash[2] = byte(i), byte(i>>8), byte(i>>16)
				if _, err := l.Append(t.Context(), engine.Block{Drafts: ds, Key: key}); err != nil {
					t.Fatal(err)
				}
			}
			full := heap() - before
			end(t, l, &now)
			left := heap() - before
			runtime.KeepAlive(l)
			t.Logf("%d bytes each, %d of them are the data; then %d bytes are left", full/messages, size, left)
			if full < messages*size {
				t.Errorf("%d bytes hold %d messages of %d", full, messages, size)
			}
			if overhead := full/messages - size; overhead > 250 {
				t.Errorf("a message takes %d bytes beside its data", overhead)
			}
			if left > 1<<20 { // marks of 1,000 topics, keys
				t.Errorf("%d bytes are left when everything is gone", left)
			}
		})
	}
}

// between is a context that does something whenever it is asked whether it has
// ended.
type between struct {
	context.Context
	do func()
}

func (b between) Err() error {
	b.do()
	return b.Context.Err()
}

// A call with much to look through lets others have the log again and again:
// an append within it would wait for ever otherwise.
func TestLongCallsLetAppendsBetween(t *testing.T) {
	const messages = 50_000
	for name, call := range map[string]func(ctx context.Context, l *memory.Log) error{
		"read": func(ctx context.Context, l *memory.Log) error {
			_, err := l.Read(ctx, engine.Query{Filter: wild("*/*/nothing")})
			return err
		},
		"read of topics": func(ctx context.Context, l *memory.Log) error {
			_, err := l.Read(ctx, engine.Query{Filter: exactly("a", "b"), Limit: messages})
			return err
		},
		"last": func(ctx context.Context, l *memory.Log) error {
			_, _, err := l.Last(ctx, wild("*/*/nothing"), 10)
			return err
		},
		"last of topics": func(ctx context.Context, l *memory.Log) error {
			_, _, err := l.Last(ctx, exactly("a", "b"), messages)
			return err
		},
		"topics": func(ctx context.Context, l *memory.Log) error {
			_, err := l.Topics(ctx, wild("*/*/nothing"), "", 10)
			return err
		},
		"trim": func(ctx context.Context, l *memory.Log) error {
			return l.Trim(ctx, engine.Retention{Bytes: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := memory.NewLog(memory.LogConfig{})
			defer l.Close()
			for i := 0; i < messages; {
				ds := make([]message.Draft, engine.MaxBlock)
				for j := range ds {
					ds[j] = message.Draft{Topic: []string{"a", "b", fmt.Sprintf("t/%d", i)}[i%3], Data: []byte("x")}
					i++
				}
				appendTo(t, l, ds...)
			}
			appends := 0
			ctx := between{t.Context(), func() {
				appendTo(t, l, draft("z", "y"))
				appends++
			}}
			if err := call(ctx, l); err != nil {
				t.Fatal(err)
			}
			if appends < 8 {
				t.Errorf("it could be interrupted %d times in %d messages", appends, messages)
			}
		})
	}
}
