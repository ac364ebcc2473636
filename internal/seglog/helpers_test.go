package seglog_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

// small has little preallocated, for tests that open a log very often.
var small = seglog.Options{SegmentSize: 8 << 10}

// mustOpen opens a log that is closed with the test.
func mustOpen(tb testing.TB, fs seglog.FS, o seglog.Options) *seglog.Log {
	tb.Helper()
	l, err := seglog.Open(fs, "log", o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	return l
}

func mustDir(tb testing.TB) *seglog.Dir {
	tb.Helper()
	d, err := seglog.OpenDir(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d
}

func text(seq uint64) string {
	return fmt.Sprintf("record %d %s", seq, strings.Repeat(".", int(seq%7)*11))
}

// write appends n records with the text of their numbers.
func write(tb testing.TB, l *seglog.Log, n int) seglog.Batch {
	tb.Helper()
	b, err := tryWrite(l, n)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func tryWrite(l *seglog.Log, n int) (seglog.Batch, error) {
	next := l.Written() + 1
	return l.Write(n, func(i int, dst []byte) ([]byte, bool) {
		return append(dst, text(next+uint64(i))...), false
	})
}

func mustSync(tb testing.TB, l *seglog.Log) {
	tb.Helper()
	if err := l.Sync(); err != nil {
		tb.Fatal(err)
	}
}

func mustClose(tb testing.TB, l *seglog.Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatal(err)
	}
}

// span is what was read or reported, in order.
type span struct {
	First, Last uint64
	Lost        bool
}

// contents reads everything above after and checks each record's text.
func contents(tb testing.TB, l *seglog.Log, after uint64) []span {
	tb.Helper()
	r := l.NewReader(after)
	defer r.Close()
	return drain(tb, r)
}

func drain(tb testing.TB, r *seglog.Reader) []span {
	tb.Helper()
	var spans []span
	for {
		rec, err := r.Next()
		if d, ok := errors.AsType[*seglog.DamageError](err); ok {
			spans = append(spans, span{d.First, d.Last, true})
			continue
		}
		if errors.Is(err, io.EOF) {
			return spans
		}
		if err != nil {
			tb.Fatal(err)
		}
		if string(rec.Payload) != text(rec.Seq) {
			tb.Fatalf("record %d is %q", rec.Seq, rec.Payload)
		}
		if n := len(spans); n > 0 && !spans[n-1].Lost && spans[n-1].Last+1 == rec.Seq {
			spans[n-1].Last = rec.Seq
		} else {
			spans = append(spans, span{rec.Seq, rec.Seq, false})
		}
	}
}

func wantSpans(tb testing.TB, got []span, want ...span) {
	tb.Helper()
	if !slices.Equal(got, want) {
		tb.Fatalf("read %+v, want %+v", got, want)
	}
}

// whole is everything from first to last, nothing lost.
func whole(first, last uint64) span { return span{first, last, false} }
func gone(first, last uint64) span  { return span{first, last, true} }

// image is a log's directory as a map, so that it can be changed and opened
// again and again.
type image map[string][]byte

func imageOf(fs *faultfs.FS) image {
	m := image{}
	for _, name := range fs.Names() {
		m[name] = fs.Bytes(name)
	}
	return m
}

// with gives a file system that holds the image, one file changed (nil: gone).
func (m image) with(name string, b []byte) *faultfs.FS {
	fs := faultfs.New(1, 512)
	for n, content := range m {
		if n != name {
			fs.SetBytes(n, content)
		}
	}
	if b != nil {
		fs.SetBytes(name, b)
	}
	return fs
}

func segmentFile(number uint64) string { return fmt.Sprintf("log/%016x.log", number) }

// badSector makes reads of a file that touch 4096 bytes at off fail from there
// on.
func badSector(name string, off int64) func(faultfs.Op) faultfs.Fault {
	return func(op faultfs.Op) faultfs.Fault {
		if op.Kind == faultfs.Read && op.Name == name && op.Off < off+4096 && op.Off+op.Len > off {
			return faultfs.Fault{Err: syscall.EIO, Short: int(max(0, off-op.Off))}
		}
		return faultfs.Fault{}
	}
}
