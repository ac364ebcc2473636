package faultfs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"testing"

	"crier/internal/seglog"
	"crier/internal/seglog/faultfs"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// written makes a file whose first page is synced as "a…" and then three pages
// are written as "b…".
func written(t *testing.T, f *faultfs.FS) seglog.File {
	t.Helper()
	file := must(f.Create("file"))
	must(file.WriteAt(bytes.Repeat([]byte("a"), 512), 0))
	check(t, file.Datasync())
	check(t, f.SyncDir("."))
	must(file.WriteAt(bytes.Repeat([]byte("b"), 3*512), 0))
	return file
}

// TestCrash checks what each kind of crash leaves.
func TestCrash(t *testing.T) {
	all := bytes.Repeat([]byte("b"), 3*512)
	synced := bytes.Repeat([]byte("a"), 512)
	for _, tt := range []struct {
		loss faultfs.Loss
		want []byte
	}{{faultfs.Kill, all}, {faultfs.Keep, all}, {faultfs.Lose, synced}} {
		f := faultfs.New(1, 512)
		file := written(t, f)
		after := f.Crash(tt.loss)
		if got := after.Bytes("file"); !bytes.Equal(got, tt.want) {
			t.Errorf("crash %d leaves %d bytes, %.3q…", tt.loss, len(got), got)
		}
		if err := file.Datasync(); !errors.Is(err, faultfs.ErrCrashed) {
			t.Errorf("sync of a file of before the crash: %v", err)
		}
		if tt.loss == faultfs.Kill { // still not on disk
			if got := after.Crash(faultfs.Lose).Bytes("file"); !bytes.Equal(got, synced) {
				t.Errorf("power loss after a kill leaves %d bytes", len(got))
			}
		}
	}
}

// TestMixedCrash: over many seeds all combinations of pages come, and tears.
func TestMixedCrash(t *testing.T) {
	seen := map[string]bool{}
	torn := false
	for seed := range uint64(500) {
		f := faultfs.New(seed, 512)
		written(t, f)
		b := f.Crash(faultfs.Mixed).Bytes("file")
		kind := ""
		for page := range slices.Chunk(b, 512) {
			kind += string(page[:1])
			torn = torn || len(bytes.TrimLeft(page, string(page[:1]))) > 0
		}
		seen[kind] = true
	}
	for _, kind := range []string{"a", "b", "a\x00\x00", "abb", "b\x00b", "bbb"} {
		if !seen[kind] {
			t.Errorf("pages %q never came: %v", kind, seen)
		}
	}
	if !torn {
		t.Error("no page was torn")
	}
}

// TestNames: a name is safe once its directory is synced, not before.
func TestNames(t *testing.T) {
	f := faultfs.New(1, 512)
	check(t, f.MkdirAll("d/e"))
	check(t, must(f.Create("d/e/kept")).Datasync())
	check(t, f.SyncDir("d/e"))
	must(f.Create("d/e/lost"))
	check(t, f.Remove("d/e/kept"))
	if got := f.Crash(faultfs.Lose).Names(); !slices.Equal(got, []string{"d/e/kept"}) {
		t.Errorf("left: %v", got)
	}
	f = faultfs.New(1, 512)
	must(f.Create("old"))
	check(t, f.SyncDir("."))
	check(t, f.Rename("old", "new"))
	for _, loss := range []faultfs.Loss{faultfs.Kill, faultfs.Keep} {
		g := f.Crash(loss)
		if got := g.Names(); !slices.Equal(got, []string{"new"}) {
			t.Errorf("left: %v", got)
		}
		f = g
	}
	if _, err := f.Open("old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("renamed file: %v", err)
	}
}

// TestFailedSyncDropsPages: after a sync that failed, a second one says all is
// well, and what the first should have written is lost now and then.
func TestFailedSyncDropsPages(t *testing.T) {
	lost := false
	for seed := range uint64(50) {
		f := faultfs.New(seed, 512)
		file := written(t, f)
		f.SetFault(func(op faultfs.Op) faultfs.Fault {
			if op.Kind == faultfs.Datasync {
				return faultfs.Fault{Err: syscall.EIO}
			}
			return faultfs.Fault{}
		})
		if err := file.Datasync(); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		f.SetFault(nil)
		check(t, file.Datasync())
		lost = lost || !bytes.Equal(f.Crash(faultfs.Keep).Bytes("file"), bytes.Repeat([]byte("b"), 3*512))
	}
	if !lost {
		t.Error("nothing was lost")
	}
}

// TestCapacity: what fits is written, the rest is refused.
func TestCapacity(t *testing.T) {
	f := faultfs.New(1, 512)
	f.SetCapacity(100)
	file := must(f.Create("file"))
	if n, err := file.WriteAt(make([]byte, 150), 0); n != 100 || !seglog.IsFull(err) {
		t.Errorf("wrote %d: %v", n, err)
	}
	if err := file.Allocate(0, 101); !seglog.IsFull(err) {
		t.Errorf("allocate: %v", err)
	}
	check(t, file.Truncate(10))
	if f.Used() != 10 {
		t.Errorf("used %d", f.Used())
	}
}
