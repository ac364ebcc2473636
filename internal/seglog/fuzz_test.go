package seglog_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// fuzzLog makes a small log of two segments whose bytes are always the same.
func fuzzLog(tb testing.TB) (image, seglog.Options) {
	tb.Helper()
	fs := faultfs.New(1, 512)
	o := seglog.Options{SegmentSize: 8 << 10, Now: func() time.Time { return time.Unix(1, 0) }}.WithSalt(77)
	l := mustOpen(tb, fs, o)
	for i := range 2 {
		for range 5 {
			write(tb, l, 2)
			mustSync(tb, l)
		}
		if i == 0 {
			if err := l.Roll(seglog.Tag{}); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return imageOf(fs), o
}

// FuzzSegment opens a log one of whose files is anything: as a whole, behind a
// valid header, or a valid file with a piece replaced. Open either refuses or
// gives a log that can be read to its end, in order, and written to; and
// opening again finds the same.
func FuzzSegment(f *testing.F) {
	img, o := fuzzLog(f)
	for number := uint64(1); number <= 2; number++ {
		b := img[segmentFile(number)]
		f.Add(number, uint16(0), false, b)
		f.Add(number, uint16(seglog.RecordsStart), false, b[seglog.RecordsStart:])
		f.Add(number, uint16(seglog.RecordsStart+70), true, []byte{1, 2, 3})
		f.Add(number, uint16(len(b)-60), true, []byte("trailer"))
	}
	f.Fuzz(func(t *testing.T, number uint64, at uint16, keep bool, data []byte) {
		number = 1 + number%2
		name := segmentFile(number)
		b := append([]byte(nil), img[name]...)
		rest := int(at) + len(data)
		if int(at) > len(b) {
			b = append(b, make([]byte, int(at)-len(b))...)
		}
		tail := []byte(nil)
		if keep && rest < len(b) {
			tail = append(tail, b[rest:]...)
		}
		b = append(append(b[:at], data...), tail...)
		fs := img.with(name, b)
		l, err := seglog.Open(fs, "log", o)
		if err != nil {
			if !errors.Is(err, seglog.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		last, n := readThrough(t, l)
		if _, err := tryWrite(l, 3); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l, err = seglog.Open(fs, "log", o)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if !l.Recovery().Clean {
			t.Error("not clean after Close")
		}
		if lastAgain, nAgain := readThrough(t, l); nAgain != n+3 || lastAgain < last {
			t.Errorf("read %d records to %d, after 3 more %d to %d", n, last, nAgain, lastAgain)
		}
	})
}

// readThrough reads everything and looks at each record again by its offset.
func readThrough(t *testing.T, l *seglog.Log) (last uint64, n int) {
	r := l.NewReader(0)
	defer r.Close()
	for {
		rec, err := r.Next()
		if d, ok := errors.AsType[*seglog.DamageError](err); ok {
			if d.First <= last || d.Last < d.First {
				t.Fatalf("damage %d to %d after record %d", d.First, d.Last, last)
			}
			last = d.Last
			continue
		}
		if err == io.EOF {
			if last > l.Written() {
				t.Fatalf("read to %d, written %d", last, l.Written())
			}
			return last, n
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Seq <= last {
			t.Fatalf("record %d after %d", rec.Seq, last)
		}
		last, n = rec.Seq, n+1
		hold, err := l.Acquire(rec.Segment)
		if err != nil {
			t.Fatal(err)
		}
		if one, err := hold.ReadAt(rec.Offset, nil); err != nil || one.Seq != rec.Seq {
			t.Fatalf("record %d again: %d, %v", rec.Seq, one.Seq, err)
		}
		hold.Release()
	}
}
