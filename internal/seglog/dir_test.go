package seglog_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"crier/internal/seglog"
)

// TestDir goes through the real file system's operations.
func TestDir(t *testing.T) {
	root := t.TempDir()
	d, err := seglog.OpenDir(root)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(d.MkdirAll("a/b"))
	check(d.MkdirAll("a/b"))
	f, err := d.Create("a/b/one")
	check(err)
	check(f.Allocate(0, 1<<16))
	_, err = f.WriteAt([]byte("text"), 100)
	check(err)
	check(f.Datasync())
	check(f.Truncate(104))
	if n, err := f.Size(); n != 104 || err != nil {
		t.Errorf("size %d, %v", n, err)
	}
	check(f.Close())
	if _, err := d.Create("a/b/one"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made again: %v", err)
	}
	check(d.Rename("a/b/one", "a/b/two"))
	check(d.SyncDir("a/b"))
	f, err = d.Open("a/b/two")
	check(err)
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	check(d.Remove("a/b/two"))
	b := make([]byte, 4)
	if _, err := f.ReadAt(b, 100); err != nil || string(b) != "text" {
		t.Errorf("removed file reads %q, %v", b, err)
	}
	check(f.Close())
	if _, err := d.OpenWrite("a/b/two"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed file opens: %v", err)
	}
	check(os.WriteFile(filepath.Join(root, "a", "three"), nil, 0o600))
	names, err := d.ReadDir("a")
	check(err)
	slices.Sort(names)
	if !slices.Equal(names, []string{"b", "three"}) {
		t.Errorf("names %v", names)
	}
	for _, name := range []string{"../outside", "/etc/passwd"} {
		if _, err := d.Open(name); err == nil {
			t.Errorf("%s opens", name)
		}
	}
	if _, err := seglog.OpenDir(filepath.Join(root, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing directory: %v", err)
	}
}
