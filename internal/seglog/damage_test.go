package seglog_test

import (
	"bytes"
	"errors"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// TestFlipAnySyncedByte flips each byte of the records that are proven to have
// been synced. Exactly the record hit is lost, and told, by Open and by
// readers; everything else stays.
func TestFlipAnySyncedByte(t *testing.T) {
	fs := faultfs.New(1, 512)
	l := mustOpen(t, fs, small)
	var offsets []int64
	for range 6 {
		offsets = append(offsets, write(t, l, 2).Offsets...)
		mustSync(t, l)
	}
	for _, clean := range []bool{false, true} {
		proven := offsets[10] // by the last batch: all before it
		if clean {
			proven = l.Segments()[0].Size // by the mark: all
			mustClose(t, l)
			offsets = append(offsets, proven)
		}
		img, name := imageOf(fs), segmentFile(1)
		for at := int64(seglog.RecordsStart); at < proven; at++ {
			var hit uint64
			for i, off := range offsets {
				if off <= at {
					hit = uint64(i) + 1
				}
			}
			b := bytes.Clone(img[name])
			b[at] ^= 1
			l := mustOpen(t, img.with(name, b), small)
			rec := l.Recovery()
			if len(rec.Damage) != 1 || rec.Damage[0] != (seglog.DamageError{Segment: 1, First: hit, Last: hit}) ||
				rec.Cut != 0 || rec.Clean != clean || l.Written() != 12 {
				t.Fatalf("byte %d of record %d: written %d, %+v", at, hit, l.Written(), rec)
			}
			want := []span{whole(1, hit-1), gone(hit, hit), whole(hit+1, 12)}
			if hit == 1 {
				want = want[1:]
			}
			if hit == 12 {
				want = want[:2]
			}
			wantSpans(t, contents(t, l, 0), want...)
			l.Close()
		}
	}
}

// sealedLog makes a log of several sealed segments and the numbers of the
// first records of each.
func sealedLog(t *testing.T) (*faultfs.FS, []seglog.SegmentInfo) {
	t.Helper()
	fs := faultfs.New(1, 4096)
	l := mustOpen(t, fs, seglog.Options{SegmentSize: 24 << 10})
	for len(l.Segments()) < 4 {
		write(t, l, 7)
		mustSync(t, l)
	}
	infos := l.Segments()
	mustClose(t, l)
	return fs, infos
}

// TestDamageInSealedSegment scribbles over a stretch of a sealed segment.
func TestDamageInSealedSegment(t *testing.T) {
	fs, infos := sealedLog(t)
	img, s := imageOf(fs), infos[1]
	name := segmentFile(s.Number)
	for from := int64(seglog.RecordsStart); from < s.Size; from += 997 {
		for _, n := range []int64{1, 100, 5000} {
			b := bytes.Clone(img[name])
			stop := min(from+n, s.Size)
			for i := from; i < stop; i++ {
				b[i] ^= 0xa5
			}
			l := mustOpen(t, img.with(name, b), seglog.Options{})
			if rec := l.Recovery(); len(rec.Damage) > 0 {
				t.Fatalf("sealed segments are not read at Open: %+v", rec)
			}
			got := contents(t, l, 0)
			end := infos[3].Last
			if len(got) != 3 && !(len(got) == 2 && got[1].Last == end) {
				t.Fatalf("bytes %d to %d: read %+v", from, stop, got)
			}
			lost := got[1]
			if !lost.Lost || lost.First < s.First || lost.Last > s.Last || got[0] != whole(1, lost.First-1) ||
				got[len(got)-1].Last != end || int64(lost.Last-lost.First) > n/20+2 {
				t.Fatalf("bytes %d to %d: read %+v", from, stop, got)
			}
			// Who asks for something within gets the rest of the loss.
			middle := (lost.First + lost.Last) / 2
			wantSpans(t, contents(t, l, middle-1), gone(middle, lost.Last), whole(lost.Last+1, end))
			wantSpans(t, contents(t, l, lost.Last), whole(lost.Last+1, end))
			if lost.First > 1 {
				wantSpans(t, contents(t, l, lost.First-2)[:1], whole(lost.First-1, lost.First-1))
			}
			l.Close()
		}
	}
}

// TestDamagedFooterOrHeader: neither costs a record.
func TestDamagedFooterOrHeader(t *testing.T) {
	fs, infos := sealedLog(t)
	img, last := imageOf(fs), infos[3].Last
	for _, s := range infos {
		name := segmentFile(s.Number)
		places := map[string][2]int64{
			"first header":  {0, 4096},
			"second header": {4096, seglog.RecordsStart},
		}
		if s.Number < 4 {
			places["spots"] = [2]int64{s.Size, s.Size + 8}
			places["trailer"] = [2]int64{int64(len(img[name])) - 64, int64(len(img[name]))}
			places["footer"] = [2]int64{s.Size, int64(len(img[name]))}
		}
		for what, p := range places {
			b := bytes.Clone(img[name])
			clear(b[p[0]:p[1]])
			l := mustOpen(t, img.with(name, b), seglog.Options{})
			if rec := l.Recovery(); len(rec.Damage) > 0 || !rec.Clean {
				t.Errorf("segment %d, %s: %+v", s.Number, what, rec)
			}
			wantSpans(t, contents(t, l, 0), whole(1, last))
			wantSpans(t, contents(t, l, s.Last-1), whole(s.Last, last))
			write(t, l, 1)
			wantSpans(t, contents(t, l, 0), whole(1, last+1))
			l.Close()
		}
		// The footer cut off altogether.
		l := mustOpen(t, img.with(name, img[name][:s.Size]), seglog.Options{})
		if rec := l.Recovery(); len(rec.Damage) > 0 {
			t.Errorf("segment %d without footer: %+v", s.Number, rec)
		}
		wantSpans(t, contents(t, l, 0), whole(1, last))
	}
}

// TestMissingSegment takes a segment's file or its headers away.
func TestMissingSegment(t *testing.T) {
	fs, infos := sealedLog(t)
	img, end := imageOf(fs), infos[3].Last
	s := infos[1]
	headless := bytes.Clone(img[segmentFile(2)])
	clear(headless[:seglog.RecordsStart])
	for what, b := range map[string][]byte{"file gone": nil, "headers gone": headless} {
		t.Run(what, func(t *testing.T) {
			fs := img.with(segmentFile(2), b)
			for range 2 { // the second time the damaged file is out of the way
				l := mustOpen(t, fs, seglog.Options{})
				want := seglog.DamageError{Segment: 3, First: s.First, Last: s.Last}
				if rec := l.Recovery(); len(rec.Damage) != 1 || rec.Damage[0] != want || rec.LostEnd {
					t.Errorf("%+v, want %+v", rec, want)
				}
				wantSpans(t, contents(t, l, 0), whole(1, s.First-1), gone(s.First, s.Last), whole(s.Last+1, end))
				wantSpans(t, contents(t, l, s.Last-1), gone(s.Last, s.Last), whole(s.Last+1, end))
				wantSpans(t, contents(t, l, s.Last), whole(s.Last+1, end))
				mustClose(t, l)
			}
		})
	}
	t.Run("while open", func(t *testing.T) {
		fs := img.with("", nil)
		l := mustOpen(t, fs, seglog.Options{})
		if err := fs.Remove(segmentFile(2)); err != nil {
			t.Fatal(err)
		}
		wantSpans(t, contents(t, l, 0), whole(1, s.First-1), gone(s.First, s.Last), whole(s.Last+1, end))
	})
	t.Run("oldest", func(t *testing.T) {
		l := mustOpen(t, img.with(segmentFile(1), nil), seglog.Options{})
		if rec := l.Recovery(); len(rec.Damage) != 0 {
			t.Errorf("what may have been trimmed is called damage: %+v", rec)
		}
		wantSpans(t, contents(t, l, 0), whole(s.First, end))
	})
	t.Run("newest headless", func(t *testing.T) {
		b := bytes.Clone(img[segmentFile(4)])
		clear(b[:seglog.RecordsStart])
		l := mustOpen(t, img.with(segmentFile(4), b), seglog.Options{})
		if rec := l.Recovery(); !rec.LostEnd || rec.Clean {
			t.Errorf("%+v", rec)
		}
		wantSpans(t, contents(t, l, 0), whole(1, infos[3].First-1))
	})
}

// TestForgedRecord puts a copy of a record of another segment, and one of the
// same segment, where they do not belong.
func TestForgedRecord(t *testing.T) {
	fs, infos := sealedLog(t)
	img := imageOf(fs)
	one := img[segmentFile(1)][seglog.RecordsStart:][:1000]
	b := bytes.Clone(img[segmentFile(2)])
	copy(b[seglog.RecordsStart+3000:], one)
	l := mustOpen(t, img.with(segmentFile(2), b), seglog.Options{})
	got := contents(t, l, 0)
	if len(got) != 3 || !got[1].Lost || got[1].First <= infos[0].Last || got[2].Last != infos[3].Last {
		t.Errorf("read %+v", got)
	}
}

// TestUnknownVersion refuses to touch files of a later format.
func TestUnknownVersion(t *testing.T) {
	fs := faultfs.New(1, 512)
	l := mustOpen(t, fs, seglog.Options{})
	write(t, l, 1)
	mustClose(t, l)
	img, name := imageOf(fs), segmentFile(1)
	b := bytes.Clone(img[name])
	seglog.SetVersion(b, 2)
	later := img.with(name, b)
	if _, err := seglog.Open(later, "log", seglog.Options{}); !errors.Is(err, seglog.ErrVersion) {
		t.Errorf("opened: %v", err)
	}
	if !bytes.Equal(later.Bytes(name), b) {
		t.Error("file was changed")
	}
}

// TestUnreadableSector has the disk refuse a sector: readers pass it by and
// tell what was in it, while Open does not judge a log by such a moment.
func TestUnreadableSector(t *testing.T) {
	fs, infos := sealedLog(t)
	l := mustOpen(t, fs, seglog.Options{})
	bad := int64(12 << 10)
	fs.SetFault(badSector(segmentFile(2), bad))
	got := contents(t, l, 0)
	if len(got) != 3 || !got[1].Lost || got[1].First < infos[1].First || got[1].Last > infos[1].Last {
		t.Errorf("read %+v", got)
	}
	fs = fs.Crash(faultfs.Kill)
	fs.SetFault(badSector(segmentFile(4), 4096))
	if _, err := seglog.Open(fs, "log", seglog.Options{}); err == nil {
		t.Error("opened although the last segment cannot be read")
	}
}
