package embedded_test

import (
	"bytes"
	"context"
	"path"
	"strings"
	"syscall"
	"testing"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/message"
	"crier/internal/seglog/faultfs"
	"crier/internal/topic"
)

// What was acknowledged as fsync and is in the journal survives an epoch that
// begins when the domain's own file can be synced no more.
func TestEpochKeepsWhatTheJournalHas(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	journaled := func(c *embedded.Config) { c.JournalFrom = 1 }
	e := openOn(t, dir, fs, journaled)
	l := openLog(t, e, engine.Fsync)
	publish(t, l, "a", "one")
	publish(t, l, "a", "two")
	once := false
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if !once && op.Kind == faultfs.Datasync && strings.HasPrefix(op.Name, "domains/") {
			once = true
			return faultfs.Fault{Err: syscall.EIO}
		}
		return faultfs.Fault{}
	})
	if _, err := l.BeginEpoch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !once {
		t.Fatal("nothing was synced")
	}
	fs.SetFault(nil)
	if got := readAll(t, l); got != "one two" {
		t.Errorf("there is %q", got)
	}
	publish(t, l, "a", "three")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openOn(t, dir, fs, journaled)
	defer e.Close()
	if got := readAll(t, openLog(t, e, engine.Fsync)); got != "one two three" {
		t.Errorf("after opening again there is %q", got)
	}
}

// A log that could not be opened when the journal was replayed gets what the
// journal has when it is opened after all.
func TestJournalWaitsForALogThatCannotBeOpened(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	journaled := func(c *embedded.Config) { c.JournalFrom = 1 }
	e := openOn(t, dir, fs, journaled)
	l := openLog(t, e, engine.Fsync)
	publish(t, l, "a", "one")
	was := publish(t, l, "a", "two")
	fs = fs.Crash(faultfs.Lose)
	e.Abandon()

	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if op.Kind == faultfs.Open && strings.HasPrefix(op.Name, "domains/") && strings.HasSuffix(op.Name, ".log") {
			return faultfs.Fault{Err: syscall.EMFILE}
		}
		return faultfs.Fault{}
	})
	e = openOn(t, dir, fs, journaled)
	fs.SetFault(nil)
	l = openLog(t, e, engine.Fsync)
	if got := readAll(t, l); got != "one two" {
		t.Errorf("there is %q", got)
	}
	if is := publish(t, l, "a", "three"); is.Seq != was.Seq+1 {
		t.Errorf("%s comes after %s", is, was)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openOn(t, dir, fs, journaled)
	defer e.Close()
	if got := readAll(t, openLog(t, e, engine.Fsync)); got != "one two three" {
		t.Errorf("after opening again there is %q", got)
	}
}

// A block that was queued as fsync and comes to be written when its log is async
// is on the disk with all before it when it is acknowledged.
func TestQueuedWhenDurabilityFalls(t *testing.T) {
	fs := faultfs.New(1, 512)
	dir := t.TempDir()
	journaled := func(c *embedded.Config) { c.JournalFrom = 1 }
	e := openOn(t, dir, fs, journaled)
	l := openLog(t, e, engine.Fsync)
	if err := l.SetDurability(t.Context(), engine.Async); err != nil {
		t.Fatal(err)
	}
	publish(t, l, "a", "one")
	r, err := embedded.AppendQueued(t.Context(), l, engine.Block{Drafts: []message.Draft{{Topic: "a", Data: []byte("two")}}})
	if err != nil || r.Durability != engine.Fsync {
		t.Fatal(r, err)
	}
	fs = fs.Crash(faultfs.Lose)
	e.Abandon()
	e = openOn(t, dir, fs, journaled)
	defer e.Close()
	if got := readAll(t, openLog(t, e, engine.Async)); got != "one two" {
		t.Errorf("of what was acknowledged as %s there is %q", r.Durability, got)
	}
}

// An engine that could not replay its journal when it was opened leaves it as it
// is.
func TestJournalOutlivesAFailedOpen(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		fault func(faultfs.Op) faultfs.Fault
	}{
		{"stopped", stopped, nil},
		{"failed sync", t.Context(), failSyncs(firstSegment)},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := faultfs.New(1, 512)
			cfg := embedded.Config{Dir: t.TempDir(), FS: fs, JournalFrom: 1}
			e := openOn(t, cfg.Dir, fs, func(to *embedded.Config) { *to = cfg })
			l := openLog(t, e, engine.Fsync)
			publish(t, l, "a", "one")
			fs = fs.Crash(faultfs.Lose)
			e.Abandon()

			cfg.FS = fs
			written := false
			fs.SetFault(func(op faultfs.Op) faultfs.Fault {
				// What Open itself syncs before it replays is spared.
				ok, _ := path.Match(firstSegment, op.Name)
				written = written || ok && op.Kind == faultfs.Write && op.Off > 4096
				if c.fault != nil && written {
					return c.fault(op)
				}
				return faultfs.Fault{}
			})
			if _, err := embedded.Open(c.ctx, cfg); err == nil {
				t.Fatal("it opens")
			}
			fs = fs.Crash(faultfs.Lose)
			e = openOn(t, cfg.Dir, fs, nil)
			defer e.Close()
			if got := readAll(t, openLog(t, e, engine.Fsync)); got != "one" {
				t.Errorf("there is %q", got)
			}
		})
	}
}

// Closing an engine with a log that could not be mended leaves in the journal
// what only that has.
func TestJournalOutlivesALogThatIsNotMended(t *testing.T) {
	fs := faultfs.New(1, 512)
	cfg := embedded.Config{Dir: t.TempDir(), FS: fs, JournalFrom: 1}
	e := openOn(t, cfg.Dir, fs, func(to *embedded.Config) { *to = cfg })
	l := openLog(t, e, engine.Fsync)
	publish(t, l, "a", "one")
	fails := failSyncs(firstSegment)
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if op.Kind == faultfs.Create && strings.HasPrefix(op.Name, "domains/") {
			return faultfs.Fault{Err: syscall.ENOSPC}
		}
		return fails(op)
	})
	if _, err := l.BeginEpoch(t.Context()); err == nil {
		t.Fatal("an epoch began")
	}
	if err := e.Close(); err == nil {
		t.Error("it is closed in good order")
	}
	fs.SetFault(nil)
	e = openOn(t, cfg.Dir, fs, nil)
	defer e.Close()
	if got := readAll(t, openLog(t, e, engine.Fsync)); got != "one" {
		t.Errorf("there is %q", got)
	}
}

// While a log cannot be mended the journal keeps what only it has of it, however
// often it looks for what it can give up.
func TestJournalKeepsWhatALogLacks(t *testing.T) {
	fs := faultfs.New(1, 512)
	e := openOn(t, t.TempDir(), fs, func(c *embedded.Config) { c.JournalFrom = 1 })
	defer e.Close()
	l := openLog(t, e, engine.Fsync)
	publish(t, l, "a", "one")
	other, err := e.Log(t.Context(), "other", engine.Fsync)
	if err != nil {
		t.Fatal(err)
	}
	fails := failSyncs("domains/d-main@*/*")
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if op.Kind == faultfs.Create && strings.HasPrefix(op.Name, "domains/d-main@") {
			return faultfs.Fault{Err: syscall.ENOSPC}
		}
		return fails(op)
	})
	for range 3 {
		publish(t, other, "a", "more to give up")
		if err := e.PassJournal(); err != nil {
			t.Log(err)
		}
	}
	fs.SetFault(nil)
	publish(t, l, "a", "two")
	if got := readAll(t, l); got != "one two" {
		t.Errorf("there is %q", got)
	}
}

// What a damaged journal has lost is told, and its numbers are not given again
// under the same ids.
func TestDamagedJournalBeginsAnEpoch(t *testing.T) {
	for _, c := range []struct {
		name    string
		damaged string // the message whose entry is
		rest    string // what is left
	}{
		{"before an entry", "m-one", ""},
		{"after an entry", "m-two", "m-one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := faultfs.New(1, 512)
			dir := t.TempDir()
			journaled := func(cfg *embedded.Config) { cfg.JournalFrom = 1 }
			e := openOn(t, dir, fs, journaled)
			l := openLog(t, e, engine.Fsync)
			other, err := e.Log(t.Context(), "other", engine.Fsync)
			if err != nil {
				t.Fatal(err)
			}
			publish(t, l, "a", "m-one")
			was := publish(t, l, "a", "m-two")
			publish(t, other, "a", "follows")
			fs = fs.Crash(faultfs.Lose)
			e.Abandon()
			for _, name := range fs.Names() {
				if b := fs.Bytes(name); strings.HasPrefix(name, "journal/") && bytes.Contains(b, []byte(c.damaged)) {
					b[bytes.Index(b, []byte(c.damaged))] ^= 1
					fs.SetBytes(name, b)
				}
			}
			e = openOn(t, dir, fs, journaled)
			defer e.Close()
			l = openLog(t, e, engine.Fsync)
			if got := readAll(t, l); got != c.rest {
				t.Fatalf("there is %q", got)
			}
			publish(t, l, "a", "m-three")
			if is := publish(t, l, "a", "m-four"); is.Epoch == was.Epoch {
				t.Errorf("%s names what was %s", is, was)
			}
			p, err := l.Read(t.Context(), engine.Query{Filter: topic.NewFilter(topic.All())})
			if err != nil || p.Lost == 0 {
				t.Errorf("lost is %d, %v; want that something is", p.Lost, err)
			}
		})
	}
}
