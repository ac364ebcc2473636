package seglog_test

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// failing makes the n-th operation of a kind (from 0) on a file that ends in
// .log fail.
func failing(kind faultfs.Kind, n int, f faultfs.Fault) func(faultfs.Op) faultfs.Fault {
	return func(op faultfs.Op) faultfs.Fault {
		if op.Kind != kind || op.Kind != faultfs.SyncDir && !strings.HasSuffix(op.Name, ".log") {
			return faultfs.Fault{}
		}
		n--
		if n == -1 {
			return f
		}
		return faultfs.Fault{}
	}
}

var broken = faultfs.Fault{Err: syscall.EIO}

// TestFailedSync: the file is given up, what was not synced is taken back, and
// the log waits for a Roll. The failed sync is never made up for by another of
// the same file.
func TestFailedSync(t *testing.T) {
	fs := faultfs.New(3, 512)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 10)
	mustSync(t, l)
	write(t, l, 5)
	r := l.NewReader(12)
	defer r.Close()
	if rec, err := r.Next(); err != nil || rec.Seq != 13 {
		t.Fatal(rec.Seq, err)
	}

	fs.SetFault(failing(faultfs.Datasync, 0, broken))
	err := l.Sync()
	rolled, ok := errors.AsType[*seglog.RollbackError](err)
	if !ok || rolled.To != 10 || !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync: %v", err)
	}
	if l.Written() != 10 || l.Synced() != 10 || l.Err() == nil {
		t.Errorf("written %d, synced %d, err %v", l.Written(), l.Synced(), l.Err())
	}
	if _, err := tryWrite(l, 1); !errors.Is(err, rolled) {
		t.Errorf("write before Roll: %v", err)
	}
	if err := l.Sync(); err != nil {
		t.Errorf("sync of nothing: %v", err)
	}

	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		if op.Kind == faultfs.Datasync && op.Name == segmentFile(1) {
			t.Error("the file that failed is synced again")
		}
		return faultfs.Fault{}
	})
	if err := l.Roll(seglog.Tag{7}); err != nil {
		t.Fatal(err)
	}
	if b := write(t, l, 3); b.First != 11 || b.Segment != 2 {
		t.Errorf("batch %+v", b)
	}
	mustSync(t, l)
	if _, err := r.Next(); !errors.Is(err, seglog.ErrRolledBack) && err != nil {
		t.Errorf("reader behind the rollback: %v", err)
	}
	r.Seek(10)
	wantSpans(t, drain(t, r), whole(11, 13))
	if l.Err() != nil {
		t.Errorf("err %v", l.Err())
	}
	l = mustOpen(t, fs.Crash(faultfs.Mixed), seglog.Options{})
	wantSpans(t, contents(t, l, 0), whole(1, 13))
	if l.Tag() != (seglog.Tag{7}) {
		t.Errorf("tag %v", l.Tag())
	}
}

// TestFailedSyncKeepsFailing: a disk on which nothing can be synced fills with
// nothing, and the log recovers when it can.
func TestFailedSyncKeepsFailing(t *testing.T) {
	fs := faultfs.New(3, 512)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 10)
	mustSync(t, l)
	for i := range 20 {
		fs.SetFault(nil)
		if i%2 == 1 { // let a new segment come about, then fail
			if err := l.Roll(seglog.Tag{}); err != nil {
				t.Fatal(err)
			}
			write(t, l, 1)
		}
		fs.SetFault(func(op faultfs.Op) faultfs.Fault {
			if op.Kind == faultfs.Datasync {
				return broken
			}
			return faultfs.Fault{}
		})
		if i%2 == 1 {
			if err := l.Sync(); err == nil {
				t.Fatal("sync did not fail")
			}
		} else if err := l.Roll(seglog.Tag{}); err == nil {
			t.Fatal("roll did not fail")
		}
	}
	if n := len(fs.Names()); n > 3 {
		t.Errorf("%d files: %v", n, fs.Names())
	}
	fs.SetFault(nil)
	if err := l.Roll(seglog.Tag{}); err != nil {
		t.Fatal(err)
	}
	write(t, l, 1)
	mustSync(t, l)
	wantSpans(t, contents(t, l, 0), whole(1, 11))
}

// TestWriteFails has one operation after the other fail during a Write that
// begins a new segment, and once more within a segment. Nothing of the batch
// is in the log, and the next Write works.
func TestWriteFails(t *testing.T) {
	kinds := []faultfs.Kind{
		faultfs.Create, faultfs.Allocate, faultfs.Write, faultfs.Truncate,
		faultfs.Datasync, faultfs.SyncDir,
	}
	for _, kind := range kinds {
		for n := range 4 {
			for _, full := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %d %v", kind, n, full), func(t *testing.T) { writeFails(t, kind, n, full) })
			}
		}
	}
}

func writeFails(t *testing.T, kind faultfs.Kind, n int, full bool) {
	fs := faultfs.New(uint64(n), 512)
	o := seglog.Options{SegmentSize: 70 << 10}
	l := mustOpen(t, fs, o)
	write(t, l, 30)
	mustSync(t, l)
	big := 1
	if full {
		for len(l.Segments()) == 1 && l.Segments()[0].Size < o.SegmentSize-3000 {
			write(t, l, 20)
		}
		big = 60 // does not fit any more
	}
	mustSync(t, l)
	before := l.Written()
	fs.SetFault(failing(kind, n, faultfs.Fault{Err: syscall.EIO, Short: 33}))
	_, err := tryWrite(l, big)
	if rolled, ok := errors.AsType[*seglog.RollbackError](err); ok {
		t.Fatalf("something synced was taken back: %v", rolled)
	}
	fs.SetFault(nil)
	if err != nil {
		if l.Written() != before || l.Err() == nil {
			t.Errorf("written %d, was %d, err %v", l.Written(), before, l.Err())
		}
		wantSpans(t, contents(t, l, 0), whole(1, before))
	}
	write(t, l, 2)
	mustSync(t, l)
	last := l.Written()
	wantSpans(t, contents(t, l, 0), whole(1, last))
	l = mustOpen(t, fs.Crash(faultfs.Lose), o)
	if d := l.Recovery().Damage; len(d) > 0 {
		t.Errorf("damage %v", d)
	}
	wantSpans(t, contents(t, l, 0), whole(1, last))
}

// TestShortWriteKeepsUnsynced: what was written before a write that failed is
// synced on the way and not taken back.
func TestShortWriteKeepsUnsynced(t *testing.T) {
	fs := faultfs.New(1, 512)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 3)
	fs.SetFault(failing(faultfs.Write, 0, faultfs.Fault{Err: syscall.EIO, Short: 150}))
	if _, err := tryWrite(l, 5); err == nil || errors.As(err, new(*seglog.RollbackError)) {
		t.Fatalf("write: %v", err)
	}
	if l.Written() != 3 || l.Synced() != 3 {
		t.Errorf("written %d, synced %d", l.Written(), l.Synced())
	}
	if b := write(t, l, 1); b.First != 4 || b.Segment != 2 {
		t.Errorf("batch %+v", b)
	}
	mustSync(t, l)
	l = mustOpen(t, fs.Crash(faultfs.Lose), seglog.Options{})
	wantSpans(t, contents(t, l, 0), whole(1, 4))
}

// TestDiskFull fills the disk, reads and reopens the log meanwhile, and makes
// room again.
func TestDiskFull(t *testing.T) {
	for _, size := range []int64{0, 16 << 10} {
		fs := faultfs.New(1, 4096)
		o := seglog.Options{SegmentSize: size}
		l := mustOpen(t, fs, o)
		fs.SetCapacity(200 << 10)
		var err error
		for err == nil {
			if _, err = tryWrite(l, 10); err == nil {
				err = l.Sync()
			}
		}
		if !seglog.IsFull(err) || !seglog.IsFull(l.Err()) {
			t.Fatalf("error %v, %v", err, l.Err())
		}
		last := l.Written()
		if last < 800 {
			t.Errorf("full after %d records", last)
		}
		for range 50 {
			if _, err := tryWrite(l, 10); !seglog.IsFull(err) {
				t.Fatalf("write: %v", err)
			}
		}
		wantSpans(t, contents(t, l, 0), whole(1, last))

		fs = fs.Crash(faultfs.Keep)
		fs.SetCapacity(1)
		l = mustOpen(t, fs, o)
		wantSpans(t, contents(t, l, 0), whole(1, last))
		if _, err := tryWrite(l, 1000); !seglog.IsFull(err) {
			t.Fatalf("write: %v", err)
		}
		fs.SetCapacity(0)
		write(t, l, 1)
		mustSync(t, l)
		wantSpans(t, contents(t, l, 0), whole(1, last+1))
	}
}

// TestReadOnly opens a log on a file system that refuses every change.
func TestReadOnly(t *testing.T) {
	fs := faultfs.New(1, 4096)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 10)
	mustSync(t, l)
	write(t, l, 5)
	fs = fs.Crash(faultfs.Keep)
	fs.SetFault(func(op faultfs.Op) faultfs.Fault {
		switch op.Kind {
		case faultfs.Open, faultfs.Read, faultfs.ReadDir, faultfs.MkdirAll:
			return faultfs.Fault{}
		}
		return faultfs.Fault{Err: syscall.EROFS}
	})
	l = mustOpen(t, fs, seglog.Options{})
	wantSpans(t, contents(t, l, 0), whole(1, 15))
	if !errors.Is(l.Err(), syscall.EROFS) {
		t.Errorf("err %v", l.Err())
	}
	// What the last batch says is synced is; of that batch itself nothing is known.
	if l.Written() != 15 || l.Synced() != 10 {
		t.Errorf("written %d, synced %d", l.Written(), l.Synced())
	}
	if _, err := tryWrite(l, 1); !errors.Is(err, syscall.EROFS) {
		t.Errorf("write: %v", err)
	}
	fs.SetFault(nil)
	mustSync(t, l)
	if l.Synced() != 15 || l.Err() != nil {
		t.Errorf("synced %d, err %v", l.Synced(), l.Err())
	}
	write(t, l, 1)

	fs = faultfs.New(1, 4096)
	fs.SetFault(failing(faultfs.Create, 0, faultfs.Fault{Err: syscall.EROFS}))
	if _, err := seglog.Open(fs, "log", seglog.Options{}); !errors.Is(err, syscall.EROFS) {
		t.Errorf("new log: %v", err)
	}
}

// TestLimits refuses what is too large and leaves the log as it was.
func TestLimits(t *testing.T) {
	l := mustOpen(t, faultfs.New(1, 4096), seglog.Options{SegmentSize: 8 << 10})
	sized := func(n int) error {
		_, err := l.Write(1, func(_ int, dst []byte) ([]byte, bool) { return append(dst, make([]byte, n)...), false })
		return err
	}
	if err := sized(seglog.MaxPayload + 1); !errors.Is(err, seglog.ErrTooLarge) {
		t.Errorf("payload above the limit: %v", err)
	}
	for _, n := range []int{0, 1, 8 << 10, 300 << 10, seglog.MaxPayload} {
		if err := sized(n); err != nil {
			t.Errorf("payload of %d: %v", n, err)
		}
	}
	if _, err := l.Write(0, nil); err != nil {
		t.Errorf("empty batch: %v", err)
	}
	mustSync(t, l)
	r := l.NewReader(0)
	defer r.Close()
	for _, n := range []int{0, 1, 8 << 10, 300 << 10, seglog.MaxPayload} {
		rec, err := r.Next()
		if err != nil || len(rec.Payload) != n {
			t.Fatalf("read %d bytes, want %d: %v", len(rec.Payload), n, err)
		}
		s, err := l.Acquire(rec.Segment)
		if err != nil {
			t.Fatal(err)
		}
		if one, err := s.ReadAt(rec.Offset, nil); err != nil || len(one.Payload) != n || one.Seq != rec.Seq {
			t.Errorf("ReadAt: %d bytes of %d, %v", len(one.Payload), n, err)
		}
		s.Release()
	}
	if _, err := seglog.Open(faultfs.New(1, 512), "log", seglog.Options{SegmentSize: seglog.MaxSegmentSize + 1}); err == nil {
		t.Error("segment size above the limit is taken")
	}
}
