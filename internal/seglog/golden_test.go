package seglog_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

var update = flag.Bool("update", false, "write the golden files of the format anew")

// TestGoldenFormat writes the same log as ever and compares the bytes: a
// change of them needs a new format version, and this test for the old one
// stays as a test of reading it.
func TestGoldenFormat(t *testing.T) {
	fs := faultfs.New(1, 512)
	o := seglog.Options{
		First: 1000, Tag: seglog.Tag{0xe1, 0xe2}, SegmentSize: 16 << 10,
		Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}.WithSalt(0x5a17c0de)
	l := mustOpen(t, fs, o)
	payload := func(i int) string { return fmt.Sprintf("golden %d", i) }
	for at := 0; at < 400; at += 40 {
		if _, err := l.Write(40, func(i int, dst []byte) ([]byte, bool) {
			return append(dst, payload(at+i)...), i%3 == 0
		}); err != nil {
			t.Fatal(err)
		}
		mustSync(t, l)
	}
	if err := l.Roll(seglog.Tag{0xe3}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Write(1, func(_ int, dst []byte) ([]byte, bool) { return append(dst, payload(400)...), false }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)

	read := faultfs.New(1, 512)
	for number := uint64(1); number <= 2; number++ {
		name := segmentFile(number)
		golden := filepath.Join("testdata", "v1", filepath.Base(name))
		if *update {
			if err := os.WriteFile(golden, fs.Bytes(name), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := fs.Bytes(name); !bytes.Equal(got, want) {
			t.Errorf("%s: what is written differs from format version 1", golden)
		}
		read.SetBytes(name, want)
	}
	l = mustOpen(t, read, seglog.Options{})
	if rec := l.Recovery(); !rec.Clean || len(rec.Damage) > 0 {
		t.Errorf("%+v", rec)
	}
	r := l.NewReader(0)
	defer r.Close()
	for i := range 401 {
		rec, err := r.Next()
		if err != nil || rec.Seq != uint64(1000+i) || string(rec.Payload) != payload(i) {
			t.Fatalf("record %d: %d %q %v", i, rec.Seq, rec.Payload, err)
		}
	}
	infos := l.Segments()
	if len(infos) != 2 || infos[0].Tag != (seglog.Tag{0xe1, 0xe2}) || infos[1].Tag != (seglog.Tag{0xe3}) ||
		!infos[0].Created.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("segments %+v", infos)
	}
}
