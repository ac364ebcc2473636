package embedded_test

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"syscall"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
	"crier/internal/seglog/faultfs"
	"crier/internal/topic"
)

// openOn opens an engine on a file system, with its lock and registry in dir.
func openOn(t *testing.T, dir string, fs *faultfs.FS, change func(*embedded.Config)) *embedded.Engine {
	t.Helper()
	cfg := embedded.Config{Dir: dir, FS: fs}
	if change != nil {
		change(&cfg)
	}
	e, err := embedded.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// publish appends a message, which must succeed.
func publish(t *testing.T, l engine.Log, topicName, data string) message.ID {
	t.Helper()
	r, err := l.Append(t.Context(), engine.Block{Drafts: []message.Draft{{Topic: topicName, Data: []byte(data)}}})
	if err != nil {
		t.Fatal(err)
	}
	return r.First
}

// readAll gives the data of all that is there, separated by blanks.
func readAll(t *testing.T, l engine.Log) string {
	t.Helper()
	p, err := l.Read(t.Context(), engine.Query{Filter: topic.NewFilter(topic.All())})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range p.Messages {
		all = append(all, string(m.Data))
	}
	return strings.Join(all, " ")
}

func stateOf(t *testing.T, l engine.Log) engine.State {
	t.Helper()
	s, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Patterns of names of files.
const (
	firstSegment = "domains/*/0000000000000001.log"
	controlFiles = "control/*"
)

// failSyncs makes the syncs of the files fail whose names match a pattern.
func failSyncs(patterns ...string) func(faultfs.Op) faultfs.Fault {
	return func(op faultfs.Op) faultfs.Fault {
		for _, pattern := range patterns {
			if ok, _ := path.Match(pattern, op.Name); ok && op.Kind == faultfs.Datasync {
				return faultfs.Fault{Err: syscall.EIO}
			}
		}
		return faultfs.Fault{}
	}
}

// Messages of durability async that a failed sync took back take the marks of
// what was trimmed and deleted with them: what gets their numbers is there.
func TestMarksFallBackWithTheLog(t *testing.T) {
	fs := faultfs.New(1, 512)
	e := openOn(t, t.TempDir(), fs, nil)
	defer e.Close()
	l := openLog(t, e, engine.Async)
	lost := make(chan struct{})
	defer l.Listen(func(n engine.News) {
		if n.Changed && n.Head == 0 {
			select {
			case <-lost:
			default:
				close(lost)
			}
		}
	})()
	fs.SetFault(failSyncs(firstSegment))
	for i := range 5 {
		publish(t, l, "a", fmt.Sprint(i))
	}
	if err := l.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		publish(t, l, "b", fmt.Sprint(i))
	}
	if err := l.Trim(t.Context(), engine.Retention{Before: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	<-lost // the syncer was at it
	fs.SetFault(nil)
	publish(t, l, "a", "new-a")
	publish(t, l, "b", "new-b")
	if got := readAll(t, l); got != "new-a new-b" {
		t.Errorf("of the new messages there are %q", got)
	}
	if s := stateOf(t, l); s.Count != 2 || s.Bytes != 12 {
		t.Errorf("the log says it has %d messages and %d bytes, want 2 and 12", s.Count, s.Bytes)
	}
}

// When the newest segment is not to be read at all, nobody knows which numbers
// it gave: the log goes on in a new epoch.
func TestLostEndBeginsAnEpoch(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	e := openOn(t, dir, fs, nil)
	l := openLog(t, e, engine.Fsync)
	was := publish(t, l, "a", "one")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range fs.Names() {
		if strings.HasPrefix(name, "domains/") && strings.HasSuffix(name, ".log") {
			b := fs.Bytes(name)
			b[0] ^= 1
			b[4096] ^= 1
			fs.SetBytes(name, b)
			damaged++
		}
	}
	if damaged != 1 {
		t.Fatalf("%d segments, want one", damaged)
	}
	e = openOn(t, dir, fs, nil)
	defer e.Close()
	l = openLog(t, e, engine.Fsync)
	if is := publish(t, l, "a", "two"); is == was || is.Epoch.Began <= was.Epoch.Began {
		t.Errorf("%s names a message that was, %s one that is", was, is)
	}
}

// An epoch that could not begin when messages were lost begins at the next
// start, also if the log was closed in good order meanwhile.
func TestOwedEpochSurvivesClosing(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	e := openOn(t, dir, fs, nil)
	l := openLog(t, e, engine.Async)
	lost := make(chan struct{}, 10)
	stop := l.Listen(func(n engine.News) {
		if n.Changed {
			lost <- struct{}{}
		}
	})
	fs.SetFault(failSyncs(firstSegment, controlFiles))
	was := publish(t, l, "a", "one")
	<-lost
	stop()
	fs.SetFault(failSyncs(controlFiles))
	if err := e.Close(); err != nil {
		t.Log(err)
	}
	fs.SetFault(nil)
	e = openOn(t, dir, fs, nil)
	defer e.Close()
	l = openLog(t, e, engine.Async)
	if is := publish(t, l, "a", "two"); is == was || is.Epoch == was.Epoch {
		t.Errorf("%s names a message that is lost, %s another", was, is)
	}
}

// The epochs of a domain in memory are remembered, so that those of its next
// life are above.
func TestEpochsInMemoryRise(t *testing.T) {
	now := func() time.Time { return time.Unix(1_700_000_000, 0) }
	dir := t.TempDir()
	e, err := embedded.Open(t.Context(), embedded.Config{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	l := openLog(t, e, engine.Memory)
	var last message.Epoch
	for range 3 {
		if last, err = l.BeginEpoch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e, err = embedded.Open(t.Context(), embedded.Config{Dir: dir, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := stateOf(t, openLog(t, e, engine.Memory))
	if next := s.Epochs[0].Epoch; next.Began <= last.Began {
		t.Errorf("epoch %s comes after %s", next, last)
	}
}

// While a log cannot be mended, what lies behind its end is not to be had: that
// is said, and nobody looks for it again and again.
func TestReadOfALogThatIsNotMended(t *testing.T) {
	fs := faultfs.New(1, 512)
	e := openOn(t, t.TempDir(), fs, nil)
	l := openLog(t, e, engine.Async)
	broken := make(chan struct{}, 1)
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		switch {
		case op.Kind == faultfs.Datasync && strings.HasPrefix(op.Name, "domains/"):
			return faultfs.Fault{Err: syscall.EIO}
		case op.Kind == faultfs.Create && strings.HasPrefix(op.Name, "domains/"):
			select {
			case broken <- struct{}{}:
			default:
			}
			return faultfs.Fault{Err: syscall.ENOSPC}
		}
		return faultfs.Fault{}
	})
	publish(t, l, "a", "one")
	<-broken
	for _, f := range []topic.Filter{topic.NewFilter(topic.All()), topic.NewFilter(topic.Exactly("a"))} {
		ended := make(chan error, 1)
		go func() {
			_, err := l.Read(t.Context(), engine.Query{Filter: f})
			ended <- err
		}()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, engine.ErrUnavailable) {
				t.Error(err)
			}
		case <-time.After(2 * time.Second):
			t.Fatal("it looks for ever")
		}
	}
	fs.SetFault(nil)
	if err := e.Close(); err != nil {
		t.Log(err)
	}
}

// A key is forgotten after its ten minutes also if the clock went back in the
// meantime, and keys before it seem younger.
func TestKeysEndWhenTheClockGoesBack(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	fs := faultfs.New(1, 512)
	e := openOn(t, t.TempDir(), fs, func(c *embedded.Config) { c.Now = func() time.Time { return now } })
	defer e.Close()
	l := openLog(t, e, engine.Async)
	keyed := func(key, body byte) error {
		b := engine.Block{Drafts: []message.Draft{{Topic: "a"}}}
		b.Key.Hash[0], b.Key.Body[0] = key, body
		_, err := l.Append(t.Context(), b)
		return err
	}
	now = now.Add(time.Hour)
	if err := keyed(1, 1); err != nil {
		t.Fatal(err)
	}
	now = now.Add(-time.Hour)
	if err := keyed(2, 1); err != nil {
		t.Fatal(err)
	}
	if err := keyed(2, 2); !errors.Is(err, engine.ErrKeyReused) {
		t.Errorf("another body at once: %v", err)
	}
	now = now.Add(engine.KeyLife)
	if err := keyed(2, 2); err != nil {
		t.Errorf("another body after ten minutes: %v", err)
	}
}

// A log that has lost all its segments goes on above what is known of it, so
// that the marks of what was trimmed before stay true.
func TestLostLogGoesOnAboveItsMarks(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	small := func(c *embedded.Config) { c.SegmentSize = 8 << 10 }
	e := openOn(t, dir, fs, small)
	l := openLog(t, e, engine.Fsync)
	for range 20 {
		publish(t, l, "a", strings.Repeat("x", 1000))
	}
	if err := l.Trim(t.Context(), engine.Retention{Bytes: 1024}); err != nil {
		t.Fatal(err)
	}
	trimmed := stateOf(t, l).Trimmed
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range fs.Names() {
		if strings.HasPrefix(name, "domains/") && strings.HasSuffix(name, ".log") {
			b := fs.Bytes(name)
			b[0] ^= 1
			b[4096] ^= 1
			fs.SetBytes(name, b)
		}
	}
	e = openOn(t, dir, fs, small)
	l = openLog(t, e, engine.Fsync)
	last := publish(t, l, "b", "new")
	if last.Seq <= trimmed {
		t.Errorf("message %d comes after %d were trimmed", last.Seq, trimmed)
	}
	for range 20 {
		last = publish(t, l, "b", strings.Repeat("x", 1000))
	}
	if err := l.Trim(t.Context(), engine.Retention{Before: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	publish(t, l, "c", "newest")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openOn(t, dir, fs, small)
	defer e.Close()
	l = openLog(t, e, engine.Fsync)
	p, err := l.Read(t.Context(), engine.Query{After: last.Seq - 1, Filter: topic.NewFilter(topic.Exactly("b"))})
	if err != nil || p.Lost < last.Seq {
		t.Errorf("lost is %d, %v; want that message %d is", p.Lost, err, last.Seq)
	}
}

// A domain that comes back to the disk after a life in memory, whose messages
// are gone, tells so, and its ids are above those of that life.
func TestBackOnDiskAfterALifeInMemory(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	lives := []engine.Durability{engine.Fsync, engine.Memory, engine.Fsync}
	var ids []message.ID
	for i, d := range lives {
		e := openOn(t, dir, fs, nil)
		l := openLog(t, e, d)
		publish(t, l, "a", fmt.Sprint(i))
		ids = append(ids, publish(t, l, "a", "more"))
		if i == len(lives)-1 {
			if ids[i].Epoch.Began <= ids[i-1].Epoch.Began {
				t.Errorf("%s comes after %s", ids[i], ids[i-1])
			}
			p, err := l.Read(t.Context(), engine.Query{After: 1, Filter: topic.NewFilter(topic.All())})
			if err != nil || p.Lost <= 1 {
				t.Errorf("lost is %d, %v; want that something is", p.Lost, err)
			}
			if got := readAll(t, l); got != "0 more 2 more" {
				t.Errorf("there is %q", got)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A change of the control log that failed may be found after a crash all the
// same. Nothing is acknowledged beside it.
func TestChangeThatMayYetBeFound(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	e := openOn(t, dir, fs, nil)
	l := openLog(t, e, engine.Fsync)
	publish(t, l, "a", "one")
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if ok, _ := path.Match(controlFiles, op.Name); ok && (op.Kind == faultfs.Datasync || op.Kind == faultfs.Truncate || op.Kind == faultfs.Create) {
			return faultfs.Fault{Err: syscall.EIO}
		}
		return faultfs.Fault{}
	})
	if _, err := l.BeginEpoch(t.Context()); err == nil {
		t.Fatal("an epoch began")
	}
	two := engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("two")}}}
	if r, err := l.Append(t.Context(), two); !errors.Is(err, engine.ErrUnavailable) {
		t.Errorf("%s was taken beside an epoch that may have begun: %v", r.First, err)
	}
	fs.SetFault(nil)
	was := publish(t, l, "a", "two")
	fs = fs.Crash(faultfs.Keep)
	e.Abandon()
	e = openOn(t, dir, fs, nil)
	defer e.Close()
	p, err := openLog(t, e, engine.Fsync).Read(t.Context(), engine.Query{After: 1, Filter: topic.NewFilter(topic.All())})
	if err != nil || len(p.Messages) != 1 || p.Messages[0].ID != was {
		t.Errorf("there is %v, %v; want %s", p.Messages, err, was)
	}
}
