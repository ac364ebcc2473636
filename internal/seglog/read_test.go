package seglog_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// TestSeek begins reading everywhere in a log of several segments, open and
// reopened, so that spots come from memory and from footers.
func TestSeek(t *testing.T) {
	fs, _ := sealedLog(t)
	l := mustOpen(t, fs, seglog.Options{SegmentSize: 24 << 10, IdleFiles: 1})
	for len(l.Segments()) < 6 {
		write(t, l, 5)
	}
	last := l.Written()
	r := l.NewReader(0)
	defer r.Close()
	for after := range last {
		r.Seek(after)
		rec, err := r.Next()
		if err != nil || rec.Seq != after+1 || string(rec.Payload) != text(after+1) {
			t.Fatalf("after %d: %d, %v", after, rec.Seq, err)
		}
		hold, err := l.Acquire(rec.Segment)
		if err != nil {
			t.Fatal(err)
		}
		one, err := hold.ReadAt(rec.Offset, make([]byte, rand.IntN(300)))
		if err != nil || one.Seq != rec.Seq || string(one.Payload) != text(rec.Seq) {
			t.Fatalf("record at %d: %d, %v", rec.Offset, one.Seq, err)
		}
		if _, err := hold.ReadAt(rec.Offset+1, nil); !errors.Is(err, seglog.ErrDamaged) {
			t.Fatalf("record at a wrong offset: %v", err)
		}
		hold.Release()
	}
	for _, after := range []uint64{last, last + 1, 1 << 60} {
		r.Seek(after)
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("after %d: %v", after, err)
		}
	}
}

// TestFollow reads on after the end, over several segments.
func TestFollow(t *testing.T) {
	l := mustOpen(t, faultfs.New(1, 4096), seglog.Options{SegmentSize: 8 << 10})
	r := l.NewReader(0)
	defer r.Close()
	for range 300 {
		if got := drain(t, r); len(got) != 0 {
			t.Fatalf("read %v", got)
		}
		b := write(t, l, 3)
		wantSpans(t, drain(t, r), whole(b.First, b.First+2))
	}
	if err := l.Roll(seglog.Tag{1}); err != nil {
		t.Fatal(err)
	}
	if err := l.Roll(seglog.Tag{2}); err != nil {
		t.Fatal(err)
	}
	b := write(t, l, 1)
	wantSpans(t, drain(t, r), whole(b.First, b.First))
	mustClose(t, l)
	if _, err := r.Next(); !errors.Is(err, seglog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestTags follows tags through Rolls and reopening.
func TestTags(t *testing.T) {
	fs := faultfs.New(1, 4096)
	l := mustOpen(t, fs, seglog.Options{Tag: seglog.Tag{1}, First: 10})
	for i := range byte(3) {
		if err := l.Roll(seglog.Tag{i + 1}); err != nil { // the first changes nothing
			t.Fatal(err)
		}
		write(t, l, 2)
	}
	if err := l.Roll(seglog.Tag{9}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var got []seglog.SegmentInfo
		for _, s := range l.Segments() {
			got = append(got, seglog.SegmentInfo{Number: s.Number, First: s.First, Last: s.Last, Tag: s.Tag, Sealed: s.Sealed})
		}
		want := []seglog.SegmentInfo{
			{Number: 1, First: 10, Last: 11, Tag: seglog.Tag{1}, Sealed: true},
			{Number: 2, First: 12, Last: 13, Tag: seglog.Tag{2}, Sealed: true},
			{Number: 3, First: 14, Last: 15, Tag: seglog.Tag{3}, Sealed: true},
			{Number: 4, First: 16, Last: 15, Tag: seglog.Tag{9}},
		}
		if len(got) != len(want) {
			t.Fatalf("segments %+v", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("segment %+v, want %+v", got[i], want[i])
			}
		}
		fs = fs.Crash(faultfs.Lose)
		l = mustOpen(t, fs, seglog.Options{Tag: seglog.Tag{100}})
		if l.Tag() != (seglog.Tag{9}) || l.Written() != 15 {
			t.Errorf("tag %v, written %d", l.Tag(), l.Written())
		}
	}
}

// TestNoAllocations reads without any for a record.
func TestNoAllocations(t *testing.T) {
	l := mustOpen(t, faultfs.New(1, 4096), seglog.Options{})
	for range 20 {
		write(t, l, 1000)
	}
	r := l.NewReader(0)
	defer r.Close()
	if n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 1 {
		t.Errorf("%v allocations for 1,000 records", n)
	}
}
