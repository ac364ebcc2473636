package seglog_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// TestCrashAtEveryByte takes a log whose last writes were not synced and has
// the crash leave it cut, zeroed or scribbled over from any byte of them on.
// What is recovered must be everything synced and then some of the rest in
// order, and the log must go on from there.
func TestCrashAtEveryByte(t *testing.T) {
	fs := faultfs.New(1, 512)
	l := mustOpen(t, fs, small)
	write(t, l, 20)
	mustSync(t, l)
	synced := l.Segments()[0].Size
	ends := map[int64]uint64{synced: 20} // where which record ends
	for _, n := range []int{1, 5, 3} {
		b := write(t, l, n)
		for i, off := range b.Offsets {
			if i > 0 {
				ends[off] = b.First + uint64(i) - 1
			}
		}
		ends[l.Segments()[0].Size] = l.Written()
	}
	end := l.Segments()[0].Size
	img, name := imageOf(fs), segmentFile(1)
	random := rand.New(rand.NewPCG(7, 7))

	damages := map[string]func(b []byte, at int64) []byte{
		"cut":    func(b []byte, at int64) []byte { return b[:at] },
		"zeroed": func(b []byte, at int64) []byte { clear(b[at:]); return b },
		"scribbled": func(b []byte, at int64) []byte {
			for i := at; i < end; i++ {
				b[i] = byte(random.Uint32())
			}
			return b
		},
		"flipped": func(b []byte, at int64) []byte { b[at] ^= 0x40; return b },
	}
	for what, damage := range damages {
		t.Run(what, func(t *testing.T) {
			for at := synced; at < end; at++ {
				var want uint64
				for off, seq := range ends {
					if off <= at {
						want = max(want, seq)
					}
				}
				checkRecovered(t, img.with(name, damage(bytes.Clone(img[name]), at)), want)
				if t.Failed() {
					t.Fatalf("at byte %d of %d to %d", at, synced, end)
				}
			}
		})
	}
}

// checkRecovered opens a torn log and writes on.
func checkRecovered(t *testing.T, fs *faultfs.FS, want uint64) {
	t.Helper()
	l := mustOpen(t, fs, small)
	defer l.Close()
	rec := l.Recovery()
	if l.Written() != want || l.Synced() != want || len(rec.Damage) > 0 || rec.Clean {
		t.Errorf("recovered to %d, synced %d, want %d; %+v", l.Written(), l.Synced(), want, rec)
		return
	}
	wantSpans(t, contents(t, l, 0), whole(1, want))
	write(t, l, 2)
	mustSync(t, l)
	again := mustOpen(t, fs.Crash(faultfs.Lose), small)
	defer again.Close()
	wantSpans(t, contents(t, again, 0), whole(1, want+2))
}

// TestGroupIsWholeOrGone crashes within a batch of groups.
func TestGroupIsWholeOrGone(t *testing.T) {
	fs := faultfs.New(1, 512)
	l := mustOpen(t, fs, small)
	groups := []int{1, 3, 1, 4, 2}
	var joined []bool
	for _, n := range groups {
		for i := range n {
			joined = append(joined, i < n-1)
		}
	}
	joined[len(joined)-1] = true // the end of a batch ends the group all the same
	if _, err := l.Write(len(joined), func(i int, dst []byte) ([]byte, bool) {
		return append(dst, text(uint64(i+1))...), joined[i]
	}); err != nil {
		t.Fatal(err)
	}
	end := l.Segments()[0].Size
	img, name := imageOf(fs), segmentFile(1)
	seen := map[uint64]bool{}
	for at := int64(seglog.RecordsStart); at <= end; at++ {
		b := bytes.Clone(img[name])
		clear(b[at:])
		l := mustOpen(t, img.with(name, b), small)
		seen[l.Written()] = true
		l.Close()
	}
	var got []uint64
	for seq := range seen {
		got = append(got, seq)
	}
	slices.Sort(got)
	if want := []uint64{0, 1, 4, 5, 9, 11}; !slices.Equal(got, want) {
		t.Errorf("recovered to %v, want %v", got, want)
	}
}

// TestUnsyncedPagesOutOfOrder loses the first of several unsynced pages: valid
// records behind it are no proof of corruption, and must not come back.
func TestUnsyncedPagesOutOfOrder(t *testing.T) {
	fs := faultfs.New(1, 512)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 3)
	mustSync(t, l)
	b := write(t, l, 40)
	img, name := imageOf(fs), segmentFile(1)
	torn := bytes.Clone(img[name])
	clear(torn[b.Offsets[2]:b.Offsets[12]])
	l = mustOpen(t, img.with(name, torn), seglog.Options{})
	rec := l.Recovery()
	if rec.CutRecords != 28 || rec.Cut == 0 || rec.CutAt != b.Offsets[2] || len(rec.Damage) != 0 {
		t.Errorf("recovery %+v", rec)
	}
	wantSpans(t, contents(t, l, 0), whole(1, 5))
}

// TestCleanClose tells a clean stop from others.
func TestCleanClose(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stop  func(*seglog.Log) error
		clean bool
	}{
		{"closed", (*seglog.Log).Close, true},
		{"killed after sync", (*seglog.Log).Sync, false},
		{"killed", func(*seglog.Log) error { return nil }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := faultfs.New(1, 4096)
			l := mustOpen(t, fs, seglog.Options{})
			if !l.Recovery().Clean {
				t.Error("a new log is not clean")
			}
			write(t, l, 5)
			if err := tt.stop(l); err != nil {
				t.Fatal(err)
			}
			fs = fs.Crash(faultfs.Keep)
			l = mustOpen(t, fs, seglog.Options{})
			if got := l.Recovery().Clean; got != tt.clean {
				t.Errorf("clean is %v, want %v", got, tt.clean)
			}
			wantSpans(t, contents(t, l, 0), whole(1, 5))
			// The mark of a clean stop is gone for good with the first write,
			// even if that is lost itself.
			write(t, l, 1)
			l = mustOpen(t, fs.Crash(faultfs.Lose), seglog.Options{})
			if l.Recovery().Clean {
				t.Error("clean after a write that was lost")
			}
			wantSpans(t, contents(t, l, 0), whole(1, 5))
		})
	}
}

// TestCloseGivesSpaceBack checks the size of a closed log's file.
func TestCloseGivesSpaceBack(t *testing.T) {
	fs := faultfs.New(1, 4096)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 1)
	size := l.Segments()[0].Size
	if fs.Used() < 64<<10 {
		t.Errorf("nothing preallocated: %d bytes", fs.Used())
	}
	mustClose(t, l)
	if got := fs.Used(); got != size+seglog.Overhead {
		t.Errorf("closed log has %d bytes, want %d and a mark", got, size)
	}
}
