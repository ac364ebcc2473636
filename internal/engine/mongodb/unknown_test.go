package mongodb_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"crier/internal/engine"
	"crier/internal/engine/enginetest"
	"crier/internal/engine/mongodb"
	"crier/internal/engine/mongodb/mongotest"
	"crier/internal/message"
	"crier/internal/topic"
)

// behind opens an engine whose answers can be lost, and one beside it.
func behind(t *testing.T, now func() time.Time) (p *mongotest.Proxy, lossy, beside *mongodb.Engine, url string) {
	t.Helper()
	s := shared.Find(t)
	p = mongotest.NewProxy(t, s)
	url = s.Database(t)
	return p, open(t, p.URL+url[strings.LastIndex(url, "/"):], now), open(t, url, now), url
}

func logOf(t *testing.T, e *mongodb.Engine) *mongodb.Log {
	t.Helper()
	l, err := e.Log(t.Context(), "main", engine.Fsync)
	if err != nil {
		t.Fatal(err)
	}
	return l.(*mongodb.Log)
}

func one(topicName string, data string) engine.Block {
	return engine.Block{Drafts: []message.Draft{{Topic: topicName, Data: []byte(data)}}}
}

// all are the data of what is in a log.
func all(t *testing.T, l engine.Log) (data []string) {
	t.Helper()
	f := topic.NewFilter(pattern(t, "**"))
	for after := uint64(0); ; {
		p, err := l.Read(t.Context(), engine.Query{After: after, Filter: f})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range p.Messages {
			data = append(data, string(m.Data))
		}
		if p.Next <= after {
			return data
		}
		after = p.Next
	}
}

// TestAnswerLost: a block whose answer was lost is there once, and is
// acknowledged as what it is.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	p, lossy, beside, _ := behind(t, time.Now)
	l, other := logOf(t, lossy), logOf(t, beside)
	for i := range 5 {
		if _, err := other.Append(t.Context(), one("a", fmt.Sprint("other ", i))); err != nil {
			t.Fatal(err)
		}
		p.Lose(1, "insert")
		r, err := l.Append(t.Context(), one("a", fmt.Sprint("mine ", i)))
		if err != nil || r.First.Seq != uint64(2*i+2) {
			t.Fatalf("append: %+v, %v", r, err)
		}
		if !p.Lost() {
			t.Fatal("no answer was lost")
		}
	}
	want := "other 0,mine 0,other 1,mine 1,other 2,mine 2,other 3,mine 3,other 4,mine 4"
	for _, l := range []engine.Log{l, other} {
		if got := strings.Join(all(t, l), ","); got != want {
			t.Errorf("the log has %s, want %s", got, want)
		}
	}
}

// TestAnswersLost: when nobody can know whether a block is there, that is
// said; a repeat under its key is there once all the same, and others go on.
func TestAnswersLost(t *testing.T) {
	t.Parallel()
	p, lossy, beside, _ := behind(t, time.Now)
	l, other := logOf(t, lossy), logOf(t, beside)
	for i := range 5 {
		b := one("a", fmt.Sprint("mine ", i))
		b.Key = engine.Key{Hash: [16]byte{byte(i), 1}}
		p.Lose(2, "insert")
		if r, err := l.Append(t.Context(), b); !errors.Is(err, engine.ErrUnavailable) || !errors.Is(err, engine.ErrUnknown) {
			t.Fatalf("append: %+v, %v, want ErrUnavailable and ErrUnknown", r, err)
		}
		if !p.Lost() {
			t.Fatal("no answers were lost")
		}
		if i%2 == 0 {
			if _, err := other.Append(t.Context(), one("a", fmt.Sprint("other ", i))); err != nil {
				t.Fatal(err)
			}
		}
		r, err := l.Append(t.Context(), b)
		if err != nil || !r.Repeated {
			t.Fatalf("the same again: %+v, %v", r, err)
		}
	}
	want := "mine 0,other 0,mine 1,mine 2,other 2,mine 3,mine 4,other 4"
	for _, l := range []engine.Log{l, other} {
		if got := strings.Join(all(t, l), ","); got != want {
			t.Errorf("the log has %s, want %s", got, want)
		}
	}
}

// TestCheckpointsAnswerLost: a log can be opened by a checkpoint of which its
// writer does not know that it is there.
func TestCheckpointsAnswerLost(t *testing.T) {
	t.Parallel()
	p, lossy, _, url := behind(t, time.Now)
	l := logOf(t, lossy)
	for i := range 5 {
		if _, err := l.Append(t.Context(), one("a", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Trim(t.Context(), engine.Retention{Bytes: 4}); err != nil {
		t.Fatal(err)
	}
	p.Lose(2, "checkpoint\x00") // the kind of its document
	if err := l.Checkpoint(t.Context()); !errors.Is(err, engine.ErrUnavailable) {
		t.Fatalf("checkpoint: %v, want ErrUnavailable", err)
	}
	if !p.Lost() {
		t.Fatal("no answers were lost")
	}
	want := answers(t, l)
	if got := answers(t, logOf(t, open(t, url, time.Now))); got != want {
		t.Errorf("the log that was opened anew says\n%s\nwant\n%s", got, want)
	}
}

// TestLateCheckpoint: a checkpoint that was begun before another's and would
// come after it is given up, since what it needs may be deleted.
func TestLateCheckpoint(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	clock := enginetest.NewClock()
	late, other := logOf(t, open(t, url, clock.Now)), logOf(t, open(t, url, clock.Now))
	for i := range 8 {
		if _, err := other.Append(t.Context(), one("a", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	clock.Advance(time.Hour)
	if err := other.Trim(t.Context(), engine.Retention{Bytes: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := late.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	release := late.Hold()
	done := make(chan error, 1)
	go func() { done <- late.Checkpoint(t.Context()) }()
	parts := database(t, url).Collection("checkpoints")
	count := func() int64 {
		n, err := parts.CountDocuments(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for end := time.Now().Add(time.Minute); count() == 0; {
		if time.Now().After(end) {
			t.Fatal("the first checkpoint was not begun")
		}
	}
	if err := other.Trim(t.Context(), engine.Retention{Bytes: 4}); err != nil {
		t.Fatal(err)
	}
	if err := other.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d parts of checkpoints are left, want 1", n)
	}
	want := answers(t, other)
	for name, l := range map[string]engine.Log{"that was late": late, "that was opened anew": logOf(t, open(t, url, clock.Now))} {
		if got := answers(t, l); got != want {
			t.Errorf("the log %s says\n%s\nwant\n%s", name, got, want)
		}
	}
	if got := strings.Join(all(t, late), ","); got != "6,7" {
		t.Errorf("%s is left, want 6,7", got)
	}
}

// TestDataGone: a message whose data are not there any more is not given as
// an empty one.
func TestDataGone(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	l := logOf(t, open(t, url, time.Now))
	if _, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("x")}, {Topic: "b"}}}); err != nil {
		t.Fatal(err)
	}
	// As another node does that deletes a topic, if this one had not read so yet.
	_, err := database(t, url).Collection("messages").UpdateOne(t.Context(), bson.D{{Key: "kind", Value: "block"}},
		bson.D{{Key: "$unset", Value: bson.D{{Key: "messages.0.data", Value: ""}}}})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := l.Read(t.Context(), engine.Query{Filter: topic.NewFilter(pattern(t, "a"))}); err == nil {
		t.Errorf("%+v", p)
	}
	p, err := l.Read(t.Context(), engine.Query{Filter: topic.NewFilter(pattern(t, "b"))})
	if err != nil || len(p.Messages) != 1 {
		t.Errorf("an empty message: %+v, %v", p, err)
	}
}

// TestFarBehind: a node that missed much has it all, and so has who listens
// there.
func TestFarBehind(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	a, b := logOf(t, open(t, url, time.Now)), logOf(t, open(t, url, time.Now))
	var want []string
	some := func() {
		t.Helper()
		for range 100 {
			want = append(want, fmt.Sprint(len(want)))
			if _, err := a.Append(t.Context(), one("a", want[len(want)-1])); err != nil {
				t.Fatal(err)
			}
		}
	}
	some()
	if got := all(t, b); strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("it has %v", got)
	}
	some()
	heads := make(chan uint64, 1000)
	defer b.Listen(func(n engine.News) { heads <- n.Head })()
	for end := time.After(time.Minute); ; {
		select {
		case head := <-heads:
			if head == 200 {
				return
			}
		case <-end:
			t.Fatal("no news of the last message")
		}
	}
}

// TestOthersGoOn: a call ends, although another node appends whenever this one
// asks what comes next.
func TestOthersGoOn(t *testing.T) {
	t.Parallel()
	p, lossy, beside, _ := behind(t, time.Now)
	l, other := logOf(t, lossy), logOf(t, beside)
	var n atomic.Int64
	p.Before(func(request []byte) {
		if !bytes.Contains(request, []byte("find\x00")) || n.Load() > 500 {
			return
		}
		if _, err := other.Append(context.Background(), one("a", fmt.Sprint(n.Add(1)))); err != nil {
			t.Error(err)
		}
	})
	before := n.Load()
	s, err := l.State(t.Context())
	if err != nil || s.Head < uint64(before) || n.Load() > 200 {
		t.Errorf("state %+v, %v; %d messages were there, %d are now", s, err, before, n.Load())
	}
	p.Before(nil)
	if got, want := len(all(t, l)), int(n.Load()); got != want {
		t.Errorf("%d messages, want %d", got, want)
	}
}

// TestRolledBack: a server that was started anew and lost what was not synced
// has others go on from what it has, in a new epoch; nobody keeps what is not
// there, or leaves a hole.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	s := shared.Find(t)
	url := s.Database(t)
	var run atomic.Int64
	type node struct {
		proxy *mongotest.Proxy
		log   *mongodb.Log
	}
	start := func() node {
		p := mongotest.NewProxy(t, s)
		e, err := mongodb.Open(t.Context(), mongodb.Config{
			URL: p.URL + url[strings.LastIndex(url, "/"):], Durability: engine.Fsync,
			Run: func() string { return fmt.Sprint("run ", run.Load()) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		l, err := e.Log(t.Context(), "main", engine.Async)
		if err != nil {
			t.Fatal(err)
		}
		return node{p, l.(*mongodb.Log)}
	}
	a, b := start(), start()
	for i := range 5 {
		if _, err := a.log.Append(t.Context(), one("a", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if got := all(t, b.log); len(got) != 5 {
		t.Fatal(got)
	}
	messages := database(t, url).Collection("messages")
	for _, first := range []int64{4, 5} {
		if r, err := messages.DeleteOne(t.Context(), bson.D{{Key: "first", Value: first}}); err != nil || r.DeletedCount != 1 {
			t.Fatal(r, err)
		}
	}
	run.Add(1)
	for _, n := range []node{a, b} { // the connection goes, as all do at such a moment
		n.proxy.Lose(1, "find\x00")
		_, err := n.log.State(t.Context())
		if !n.proxy.Lost() {
			t.Fatal("no answer was lost", err)
		}
	}
	r, err := a.log.Append(t.Context(), one("a", "new"))
	if err != nil || r.First.Seq != 4 {
		t.Errorf("an append: %+v, %v", r, err)
	}
	var states []string
	for name, l := range map[string]*mongodb.Log{"that appended": a.log, "that was there": b.log, "that was opened anew": start().log} {
		if got := strings.Join(all(t, l), ","); got != "0,1,2,new" {
			t.Errorf("the log %s has %s", name, got)
		}
		s, err := l.State(t.Context())
		if err != nil || len(s.Epochs) != 2 || s.Epochs[0].Last != 3 || s.Epochs[1].Epoch != r.First.Epoch {
			t.Errorf("the log %s: %+v, %v", name, s, err)
		}
		states = append(states, fmt.Sprintf("%+v", s))
	}
	if states[0] != states[1] || states[1] != states[2] {
		t.Error(states)
	}
	if r, err := b.log.Append(t.Context(), one("a", "more")); err != nil || r.First.Seq != 5 {
		t.Errorf("an append by the other: %+v, %v", r, err)
	}
}

// TestDroppedMeanwhile: a log that was dropped while its node was asleep is
// closed there, and not another life of the domain.
func TestDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	url := shared.Find(t).Database(t)
	clock := enginetest.NewClock()
	awake := open(t, url, clock.Now)
	asleep := logOf(t, open(t, url, clock.Now))
	if _, err := logOf(t, awake).Append(t.Context(), one("a", "x")); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)
	if err := awake.Drop(t.Context(), "main"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if s, err := asleep.State(t.Context()); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("state %+v, %v, want ErrClosed", s, err)
		}
	}
	n, err := database(t, url).Collection("messages").CountDocuments(t.Context(), bson.D{})
	if err != nil || n != 1 {
		t.Errorf("%d documents are left, want the one that says that the domain is no more (%v)", n, err)
	}
}
