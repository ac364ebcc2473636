package seglog_test

import (
	"errors"
	"io"
	"sync"
	"testing"

	"crier/internal/seglog"
)

// TestEverythingAtOnce writes, syncs, rolls, trims, seeks, follows and looks up
// at the same time, and closes in the middle of it. Run it with -race.
func TestEverythingAtOnce(t *testing.T) {
	const total = 8_000
	d := mustDir(t)
	var l *seglog.Log
	o := seglog.Options{SegmentSize: 128 << 10, OnSeal: func(s seglog.SegmentInfo) {
		if err := l.WriteSide(s.Number, []byte("side")); err != nil && !errors.Is(err, seglog.ErrRemoved) && !errors.Is(err, seglog.ErrClosed) {
			t.Error(err)
		}
	}}
	l = mustOpen(t, d, o)
	done := make(chan struct{})
	var all sync.WaitGroup

	all.Go(func() { // the appender
		defer close(done)
		for l.Written() < total {
			if _, err := tryWrite(l, 16); err != nil {
				t.Error(err)
				return
			}
		}
		if err := l.Sync(); err != nil {
			t.Error(err)
		}
	})
	until := func(f func()) {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					f()
				}
			}
		})
	}
	until(func() {
		if err := l.Sync(); err != nil {
			t.Error(err)
		}
		if l.Synced() > l.Written() {
			t.Error("synced is above written")
		}
	})
	var rolls byte
	until(func() {
		rolls++
		if err := l.Roll(seglog.Tag{rolls}); err != nil {
			t.Error(err)
		}
	})
	until(func() {
		if n := l.Written(); n > total/2 {
			if err := l.RemoveBefore(n - total/2); err != nil {
				t.Error(err)
			}
		}
	})
	until(func() { lookUp(t, l) })
	for range 2 {
		all.Go(func() { follow(t, l, total) })
	}
	all.Wait()
	wantSpans(t, contents(t, l, total-100), whole(total-99, total))
	mustClose(t, l)
	l = mustOpen(t, d, seglog.Options{})
	if rec := l.Recovery(); !rec.Clean || len(rec.Damage) > 0 || l.Written() != total {
		t.Errorf("written %d, %+v", l.Written(), rec)
	}
}

// lookUp reads something in the middle, which may be trimmed meanwhile.
func lookUp(t *testing.T, l *seglog.Log) {
	infos := l.Segments()
	s := infos[len(infos)/2]
	hold, err := l.Acquire(s.Number)
	if errors.Is(err, seglog.ErrRemoved) {
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer hold.Release()
	if s.Last < s.First {
		return
	}
	if rec, err := hold.ReadAt(seglog.RecordsStart, nil); err != nil || rec.Seq != s.First || string(rec.Payload) != text(s.First) {
		t.Errorf("segment %d: record %d, want %d: %v", s.Number, rec.Seq, s.First, err)
	}
}

// follow reads to the last record; what is trimmed before it came may be
// missing, nothing else.
func follow(t *testing.T, l *seglog.Log, last uint64) {
	r := l.NewReader(0)
	defer r.Close()
	for seq := uint64(0); seq < last; {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		oldest := l.Segments()[0].First
		if rec.Seq != seq+1 && rec.Seq > oldest || rec.Seq <= seq || string(rec.Payload) != text(rec.Seq) {
			t.Errorf("record %d after %d, oldest %d: %.30q", rec.Seq, seq, oldest, rec.Payload)
			return
		}
		seq = rec.Seq
	}
}

// TestCloseWhileBusy closes under everybody's feet: they get ErrClosed, and
// what was synced is there.
func TestCloseWhileBusy(t *testing.T) {
	d := mustDir(t)
	for range 6 {
		l := mustOpen(t, d, seglog.Options{SegmentSize: 64 << 10})
		start := l.Written()
		var all sync.WaitGroup
		busy := make(chan struct{})
		again := func(f func() error) {
			all.Go(func() {
				for {
					if err := f(); err != nil {
						if !errors.Is(err, seglog.ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		var once sync.Once
		again(func() error {
			_, err := tryWrite(l, 4)
			if l.Written() > start+100 {
				once.Do(func() { close(busy) })
			}
			return err
		})
		again(l.Sync)
		again(func() error { return l.Roll(l.Tag()) })
		again(func() error { return l.RemoveBefore(start) })
		again(func() error {
			hold, err := l.Acquire(l.Segments()[0].Number)
			if errors.Is(err, seglog.ErrRemoved) {
				return nil
			}
			if err == nil {
				hold.Release()
			}
			return err
		})
		r := l.NewReader(start)
		again(func() error {
			_, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		})
		<-busy
		for range 2 {
			all.Go(func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		r.Close()
		written := l.Written()
		l = mustOpen(t, d, seglog.Options{})
		if !l.Recovery().Clean || l.Written() != written {
			t.Fatalf("reopened at %d, closed at %d: %+v", l.Written(), written, l.Recovery())
		}
		mustClose(t, l)
	}
}
