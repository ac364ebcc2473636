package seglog

import (
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"
)

// Modes of what the log makes: for its owner only.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// Dir is the real file system below one directory; names cannot lead out of
// it.
type Dir struct {
	root       *os.Root
	unseen     *unseen     // nil: no write is
	background *background // nil: no sync is made there
}

var _ FS = (*Dir)(nil)

// OpenDir opens a directory, which must exist.
func OpenDir(name string) (*Dir, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	u := newUnseen(root)
	return &Dir{root: root, unseen: u, background: newBackground(u)}, nil
}

// Close closes the directory. Files that are open stay so.
func (d *Dir) Close() error { return errors.Join(d.background.close(), d.root.Close()) }

// Open opens a file for reading.
func (d *Dir) Open(name string) (File, error) { return d.open(name, os.O_RDONLY) }

// OpenWrite opens a file that exists for reading and writing.
func (d *Dir) OpenWrite(name string) (File, error) { return d.open(name, os.O_RDWR) }

// Create makes a file that does not exist.
func (d *Dir) Create(name string) (File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (d *Dir) open(name string, flag int) (File, error) {
	f, err := d.root.OpenFile(name, flag, fileMode)
	if err != nil {
		return nil, err
	}
	raw, err := f.SyscallConn()
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return dirFile{f, raw, d.unseen, d.background}, nil
}

// Remove removes a file or an empty directory.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// Rename replaces what has the new name.
func (d *Dir) Rename(oldName, newName string) error { return d.root.Rename(oldName, newName) }

// ReadDir gives the names in a directory.
func (d *Dir) ReadDir(name string) ([]string, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// MkdirAll makes a directory and those above it, and syncs the directories
// that hold a new one.
func (d *Dir) MkdirAll(name string) error {
	name = path.Clean(name)
	if info, err := d.root.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := d.root.MkdirAll(name, dirMode); err != nil {
		return err
	}
	for name != "." {
		name = path.Dir(name)
		if err := d.SyncDir(name); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory durable, where the system lets one.
func (d *Dir) SyncDir(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	err = syncDir(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// dirFile is an *os.File with what [File] has beyond it; Allocate and
// Datasync are the system's.
type dirFile struct {
	*os.File
	raw        syscall.RawConn
	unseen     *unseen
	background *background
}

// WriteAt is pwrite(2), which the scheduler is told of or not.
func (f dirFile) WriteAt(p []byte, off int64) (n int, err error) {
	began, ok := f.unseen.begin(len(p))
	if !ok || off < 0 {
		return f.File.WriteAt(p, off)
	}
	defer f.unseen.end(began)
	return f.pwrite(p, off)
}

func (f dirFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
