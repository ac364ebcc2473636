package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/topic"
)

// numberedLog fills main with n messages, "a" and "b" in turns, of which the
// tail holds next to nothing.
func numberedLog(t *testing.T, n int) (*hub.Hub, *hub.Domain, *hub.Encoding) {
	t.Helper()
	h, d := open(t, hub.Config{TailBytes: 1})
	for i := 0; i < n; i += 100 {
		var b engine.Block
		for j := i; j < min(i+100, n); j++ {
			b.Drafts = append(b.Drafts, message.Draft{Topic: string("ab"[j%2]), Data: fmt.Appendf(nil, "%d", j)})
		}
		if _, err := d.Publish(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	return h, d, h.NewEncoding(func(dst []byte, m *message.Message) []byte {
		return append(append(dst, m.Data...), ';')
	})
}

// Whoever replays, and stops in the middle of a frame wherever that is, gets
// every byte of every frame once.
func TestReplayIsWholeHoweverItIsCut(t *testing.T) {
	const n = 9000
	_, d, enc := numberedLog(t, n)
	var want bytes.Buffer
	for i := range n {
		if i%2 == 0 {
			fmt.Fprintf(&want, "%d;", i)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		s, err := d.Subscribe(context.Background(), hub.Options{
			Filter: topic.NewFilter(topic.Exactly("a")), Start: message.Earliest(), Waker: hub.NewSignal(),
		})
		if err != nil {
			rt.Fatal(err)
		}
		defer s.Close()
		var got []byte
		var batch hub.Batch
		for len(got) < want.Len() { // the feed may not have come as far yet
			part, ok := s.Replay(context.Background(), enc)
			if !ok {
				if err := s.Poll(context.Background(), &batch, 10, 0); err != nil {
					rt.Fatal(err)
				}
				for _, e := range batch.Entries {
					got = append(got, e.Frame(enc)...)
				}
				continue
			}
			all := part.Bytes()
			taken := rapid.IntRange(0, len(all)).Draw(rt, "taken")
			switch {
			case taken == 0:
				s.Rewind(part.After)
			case taken < len(all):
				messages, newest, end := part.Cut(taken)
				if end < taken || messages != bytes.Count(all[:end], []byte{';'}) || all[end-1] != ';' {
					rt.Fatalf("%d bytes: %d messages end at %d", taken, messages, end)
				}
				s.Rewind(newest.Seq)
				got = append(got, all[:end]...)
			default:
				got = append(got, all...)
			}
		}
		if !bytes.Equal(got, want.Bytes()) {
			rt.Fatalf("got %d bytes, want %d, or in another order", len(got), want.Len())
		}
	})
}

// What was deleted is not replayed out of memory.
func TestReplayForgets(t *testing.T) { synctest.Test(t, replayForgets) }

func replayForgets(t *testing.T) {
	_, d, enc := numberedLog(t, 3000)
	replay := func() (got []byte, gap *message.Gap) {
		synctest.Wait() // for the feed
		s, err := d.Subscribe(t.Context(), hub.Options{Filter: topic.NewFilter(topic.All()), Start: message.After(start(t, d)), Waker: hub.NewSignal()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for {
			if part, ok := s.Replay(t.Context(), enc); ok {
				got = append(got, part.Bytes()...)
				continue
			}
			var b hub.Batch
			if err := s.Poll(t.Context(), &b, 0, 0); err != nil {
				t.Fatal(err)
			}
			if b.Empty() {
				return got, gap
			}
			if b.Gap != nil {
				gap = b.Gap
			}
			for _, e := range b.Entries {
				got = append(got, e.Frame(enc)...)
			}
		}
	}
	if got, gap := replay(); gap != nil || bytes.Count(got, []byte{';'}) != 3000 {
		t.Fatalf("%d messages, gap %v", bytes.Count(got, []byte{';'}), gap)
	}
	if err := d.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	got, gap := replay()
	if gap == nil || gap.Reason != message.Deleted || bytes.Count(got, []byte{';'}) != 1500 || bytes.HasPrefix(got, []byte("0;")) {
		t.Errorf("after a delete: %d messages, gap %+v", bytes.Count(got, []byte{';'}), gap)
	}
}

// start is the place before the first message of the log.
func start(t *testing.T, d *hub.Domain) message.ID {
	t.Helper()
	state, err := d.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state.Position(0)
}
