package seglog_test

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// TestRemoveBefore removes whole segments only, never the last, and gives the
// space back.
func TestRemoveBefore(t *testing.T) {
	fsys, infos := sealedLog(t)
	l := mustOpen(t, fsys, seglog.Options{SegmentSize: 24 << 10})
	used := fsys.Used()
	for _, tt := range []struct {
		seq   uint64
		first int // the segment that is the oldest afterwards
	}{
		{0, 0}, {infos[0].Last - 1, 0}, {infos[0].Last, 1}, {infos[2].First, 2}, {1 << 60, 3},
	} {
		if err := l.RemoveBefore(tt.seq); err != nil {
			t.Fatal(err)
		}
		wantSpans(t, contents(t, l, 0), whole(infos[tt.first].First, infos[3].Last))
	}
	if fsys.Used() > used/3 {
		t.Errorf("%d bytes of %d left", fsys.Used(), used)
	}
	if err := l.Roll(seglog.Tag{}); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveBefore(1 << 60); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, l, 0); len(got) != 0 {
		t.Errorf("read %v", got)
	}
	// The numbers go on.
	l = mustOpen(t, fsys.Crash(faultfs.Lose), seglog.Options{})
	if b := write(t, l, 1); b.First != infos[3].Last+1 {
		t.Errorf("next record is %d", b.First)
	}
}

// TestRemoveWhileReading: a reader inside a segment finishes it, one before it
// goes on with what is left.
func TestRemoveWhileReading(t *testing.T) {
	for _, real := range []bool{false, true} {
		var fsys seglog.FS = faultfs.New(1, 4096)
		if real {
			fsys = mustDir(t)
		}
		l := mustOpen(t, fsys, seglog.Options{SegmentSize: 24 << 10})
		for len(l.Segments()) < 4 {
			write(t, l, 7)
		}
		infos := l.Segments()
		inside := l.NewReader(infos[1].First)
		defer inside.Close()
		if rec, err := inside.Next(); err != nil || rec.Seq != infos[1].First+1 {
			t.Fatal(rec, err)
		}
		hold, err := l.Acquire(infos[0].Number)
		if err != nil {
			t.Fatal(err)
		}
		first := l.NewReader(0)
		defer first.Close()
		if err := l.RemoveBefore(infos[2].Last); err != nil {
			t.Fatal(err)
		}
		wantSpans(t, drain(t, inside), whole(infos[1].First+2, infos[1].Last), whole(infos[3].First, infos[3].Last))
		wantSpans(t, drain(t, first), whole(infos[3].First, infos[3].Last))
		if rec, err := hold.ReadAt(seglog.RecordsStart, nil); err != nil || rec.Seq != 1 {
			t.Errorf("held segment: %v %v", rec.Seq, err)
		}
		hold.Release()
		if _, err := l.Acquire(infos[0].Number); !errors.Is(err, seglog.ErrRemoved) {
			t.Errorf("acquired a removed segment: %v", err)
		}
		if _, err := l.ReadSegment(infos[1].Number); !errors.Is(err, seglog.ErrRemoved) {
			t.Errorf("reads a removed segment: %v", err)
		}
	}
}

// TestRemoveFails: a segment that cannot be removed stays readable.
func TestRemoveFails(t *testing.T) {
	fsys, infos := sealedLog(t)
	l := mustOpen(t, fsys, seglog.Options{})
	fsys.SetFault(failing(faultfs.Remove, 0, broken))
	if err := l.RemoveBefore(infos[1].Last); err == nil {
		t.Fatal("no error")
	}
	wantSpans(t, contents(t, l, 0), whole(1, infos[3].Last))
	if err := l.RemoveBefore(infos[1].Last); err != nil {
		t.Fatal(err)
	}
	wantSpans(t, contents(t, l, 0), whole(infos[2].First, infos[3].Last))
}

// TestRemoveIsSettled: while it is not known whether the removal of a segment
// is on disk the next one stays, or a crash could leave a hole.
func TestRemoveIsSettled(t *testing.T) {
	for _, loss := range faultfs.Losses {
		fsys, infos := sealedLog(t)
		l := mustOpen(t, fsys, seglog.Options{})
		fsys.SetFault(func(op faultfs.Op) faultfs.Fault {
			if op.Kind == faultfs.SyncDir {
				return broken
			}
			return faultfs.Fault{}
		})
		for range 3 {
			if err := l.RemoveBefore(infos[2].Last); err == nil {
				t.Fatal("no error")
			}
		}
		fsys.SetFault(nil)
		if n := len(l.Segments()); n < 3 {
			t.Errorf("%d segments are left of %d after removals that may not be on disk", n, len(infos))
		}
		l = mustOpen(t, fsys.Crash(loss), seglog.Options{})
		if rec := l.Recovery(); len(rec.Damage) > 0 {
			t.Errorf("loss %v: %+v", loss, rec)
		}
		if err := l.RemoveBefore(infos[2].Last); err != nil {
			t.Fatal(err)
		}
		wantSpans(t, contents(t, l, 0), whole(infos[3].First, infos[3].Last))
	}
}

// TestSideFiles follows a side file from the sealing of its segment to its
// removal.
func TestSideFiles(t *testing.T) {
	fsys := faultfs.New(1, 4096)
	var sealed []uint64
	var l *seglog.Log
	o := seglog.Options{SegmentSize: 24 << 10, OnSeal: func(s seglog.SegmentInfo) {
		sealed = append(sealed, s.Number)
		if !s.Sealed || s.Last < s.First {
			t.Errorf("sealed %+v", s)
		}
		if s.Number != 2 {
			if err := l.WriteSide(s.Number, []byte{byte(s.Number)}); err != nil {
				t.Error(err)
			}
		}
	}}
	l = mustOpen(t, fsys, o)
	for len(l.Segments()) < 4 {
		write(t, l, 7)
	}
	if !slices.Equal(sealed, []uint64{1, 2, 3}) {
		t.Errorf("sealed %v", sealed)
	}
	missing, err := l.Unindexed()
	if err != nil || len(missing) != 1 || missing[0].Number != 2 {
		t.Errorf("without side file: %v %v", missing, err)
	}
	hold, err := l.Acquire(1)
	if err != nil {
		t.Fatal(err)
	}
	side, err := hold.Side()
	if err != nil {
		t.Fatal(err)
	}
	var b [2]byte
	if n, err := side.ReadAt(b[:], 0); n != 1 || !errors.Is(err, io.EOF) || b[0] != 1 {
		t.Errorf("side file: %d bytes %v, %v", n, b, err)
	}
	two, _ := l.Acquire(2)
	if _, err := two.Side(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("side file that is not there: %v", err)
	}
	two.Release()
	if err := l.RemoveBefore(l.Segments()[1].Last); err != nil {
		t.Fatal(err)
	}
	if n, _ := side.ReadAt(b[:], 0); n != 1 {
		t.Error("side file of a held segment is gone")
	}
	hold.Release()
	if err := l.WriteSide(1, nil); !errors.Is(err, seglog.ErrRemoved) {
		t.Errorf("side file of a removed segment: %v", err)
	}
	// A crash at the wrong moments leaves these; Open clears them away.
	fsys.SetBytes("log/0000000000000001.idx", []byte("orphan"))
	fsys.SetBytes("log/0000000000000003.idx.tmp", []byte("unfinished"))
	fsys.SetBytes("log/notes.txt", []byte("somebody else's"))
	mustClose(t, l)
	o.OnSeal = nil
	l = mustOpen(t, fsys, o)
	names := fsys.Names()
	slices.Sort(names)
	want := []string{
		"log/0000000000000003.idx", "log/0000000000000003.log",
		"log/0000000000000004.log", "log/notes.txt",
	}
	if !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
}

// TestReadSegment reads one segment and no other.
func TestReadSegment(t *testing.T) {
	fsys, infos := sealedLog(t)
	l := mustOpen(t, fsys, seglog.Options{})
	for _, s := range infos {
		r, err := l.ReadSegment(s.Number)
		if err != nil {
			t.Fatal(err)
		}
		wantSpans(t, drain(t, r), whole(s.First, s.Last))
		r.Seek(s.Last - 1)
		wantSpans(t, drain(t, r), whole(s.Last, s.Last))
		r.Close()
	}
}

// TestDestroy removes a log and nothing else.
func TestDestroy(t *testing.T) {
	fsys, _ := sealedLog(t)
	fsys.SetBytes("other/file", nil)
	if err := seglog.Destroy(fsys, "log"); err != nil {
		t.Fatal(err)
	}
	if names := fsys.Names(); !slices.Equal(names, []string{"other/file"}) {
		t.Errorf("left: %v", names)
	}
	if err := seglog.Destroy(fsys, "log"); err != nil {
		t.Errorf("again: %v", err)
	}
	l := mustOpen(t, fsys, seglog.Options{First: 100})
	if b := write(t, l, 1); b.First != 100 {
		t.Errorf("first record is %d", b.First)
	}
}
