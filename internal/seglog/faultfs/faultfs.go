// Package faultfs is a file system in memory for tests, on which everything
// goes wrong that can: writes that fail or are short, syncs that fail, a full
// disk, a process that is killed, a machine that loses its power.
//
// It keeps apart what the process sees (the cache) and what is on disk, page
// by page. Until a file is synced, each of its pages may reach the disk at any
// time or not at all, whatever its neighbours do, as it was after any of the
// writes, or torn between two of them; the same for the file's size. Names
// that were made, changed or removed may be lost until their directory is
// synced. [FS.Crash] decides, by a seed, what a power loss leaves.
//
// After a sync that failed the cache counts as clean, as on Linux: the next
// sync reports success although what the failed one should have written may
// never reach the disk.
package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"sync"
	"syscall"

	"crier/internal/seglog"
)

// ErrCrashed is what everything of a file system returns after its Crash.
var ErrCrashed = errors.New("machine crashed")

// Kind is a kind of operation.
type Kind string

// The kinds of operations.
const (
	Open     Kind = "open"
	Create   Kind = "create"
	Remove   Kind = "remove"
	Rename   Kind = "rename"
	ReadDir  Kind = "readdir"
	MkdirAll Kind = "mkdirall"
	SyncDir  Kind = "syncdir"
	Read     Kind = "read"
	Write    Kind = "write"
	Truncate Kind = "truncate"
	Allocate Kind = "allocate"
	Datasync Kind = "datasync"
)

// Op is an operation that is about to be done.
type Op struct {
	Kind Kind
	Name string
	Off  int64
	Len  int64
}

// Fault makes an operation fail. The zero Fault lets it go on.
type Fault struct {
	Err   error
	Short int // of a read or write: so many bytes are read or written before it fails
}

// FS is the file system. All methods may be called concurrently.
type FS struct {
	mu       sync.Mutex
	page     int64
	rand     *rand.Rand
	dirs     map[string]bool
	names    map[string]*inode // as the process sees them
	onDisk   map[string]*inode // as a power loss would find them
	pending  []change          // of names, not synced
	capacity int64
	fault    func(Op) Fault
	crashed  bool
}

var _ seglog.FS = (*FS)(nil)

// change is a change of a name: from now on it means this inode, or nothing.
type change struct {
	dir   string
	name  string
	inode *inode
	old   string // of a rename: the name that goes
}

func (c change) apply(names map[string]*inode) {
	if c.old != "" {
		delete(names, c.old)
	}
	if c.inode == nil {
		delete(names, c.name)
		return
	}
	names[c.name] = c.inode
}

// New makes an empty file system whose pages have the given size (the unit in
// which unsynced writes reach the disk), and whose accidents the seed decides.
func New(seed uint64, page int) *FS {
	return &FS{
		page: int64(page), rand: rand.New(rand.NewPCG(seed, 0)),
		dirs:  map[string]bool{".": true},
		names: map[string]*inode{}, onDisk: map[string]*inode{},
	}
}

// SetFault has a function asked before each operation; nil: none. It is
// called with the file system locked and must not use it.
func (f *FS) SetFault(fault func(Op) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// SetCapacity bounds the bytes of all files together; what would go beyond
// fails with ENOSPC. 0 is no bound.
func (f *FS) SetCapacity(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = n
}

// Used gives the bytes of all files that have a name.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used()
}

func (f *FS) used() int64 {
	var n int64
	for _, i := range f.names {
		n += int64(len(i.cache))
	}
	return n
}

// Bytes gives the content of a file as the process sees it.
func (f *FS) Bytes(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.names[name]
	if i == nil {
		return nil
	}
	return append([]byte(nil), i.cache...)
}

// SetBytes makes a file with a content, both on disk at once.
func (f *FS) SetBytes(name string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := newInode(b)
	f.names[name], f.onDisk[name] = i, i
	f.dirs[path.Dir(name)] = true
}

// Names lists all files.
func (f *FS) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var names []string
	for name := range f.names {
		names = append(names, name)
	}
	return names
}

// Loss says what a crash takes away.
type Loss int

// The losses.
const (
	Kill  Loss = iota // the process only: the cache stays, unsynced as it is
	Keep              // the power, after everything had reached the disk
	Lose              // the power, before anything unsynced had
	Mixed             // the power; each page and each name on its own
)

// Losses are all of them.
var Losses = []Loss{Kill, Keep, Lose, Mixed}

// Crash ends this file system, for which every call fails from now on, and
// gives the one that the next start finds, without faults and bounds.
func (f *FS) Crash(loss Loss) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	after := &FS{
		page: f.page, rand: f.rand, dirs: maps.Clone(f.dirs),
		names: map[string]*inode{}, onDisk: map[string]*inode{},
	}
	copies := map[*inode]*inode{}
	copied := func(i *inode) *inode {
		if i == nil {
			return nil
		}
		if copies[i] == nil {
			copies[i] = i.after(loss, f)
		}
		return copies[i]
	}
	if loss == Kill {
		for name, i := range f.names {
			after.names[name] = copied(i)
		}
		for name, i := range f.onDisk {
			after.onDisk[name] = copied(i)
		}
		for _, c := range f.pending {
			c.inode = copied(c.inode)
			after.pending = append(after.pending, c)
		}
		return after
	}
	for name, i := range f.onDisk {
		after.onDisk[name] = copied(i)
	}
	for _, c := range f.surviving(loss) {
		c.inode = copied(c.inode)
		c.apply(after.onDisk)
	}
	after.names = maps.Clone(after.onDisk)
	return after
}

// surviving chooses the changes of names that reached the disk: half the time
// the first ones, as a journal does it, else any.
func (f *FS) surviving(loss Loss) []change {
	switch {
	case loss == Keep:
		return f.pending
	case loss == Lose:
		return nil
	case f.rand.IntN(2) == 0:
		return f.pending[:f.rand.IntN(len(f.pending)+1)]
	}
	var kept []change
	for _, c := range f.pending {
		if f.rand.IntN(2) == 0 {
			kept = append(kept, c)
		}
	}
	return kept
}

// begin locks, and asks whether the operation may be done. The caller unlocks.
func (f *FS) begin(op Op) Fault {
	f.mu.Lock()
	return f.ask(op)
}

func (f *FS) ask(op Op) Fault {
	if f.crashed {
		return Fault{Err: ErrCrashed}
	}
	if f.fault == nil {
		return Fault{}
	}
	fault := f.fault(op)
	if fault.Err != nil {
		fault.Err = &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: fault.Err}
	}
	return fault
}

// room reports whether files may grow by n bytes.
func (f *FS) room(n int64) int64 {
	if f.capacity == 0 {
		return n
	}
	return max(0, min(n, f.capacity-f.used()))
}

// Open opens a file for reading.
func (f *FS) Open(name string) (seglog.File, error) { return f.open(name, false) }

// OpenWrite opens a file for reading and writing.
func (f *FS) OpenWrite(name string) (seglog.File, error) { return f.open(name, true) }

func (f *FS) open(name string, write bool) (seglog.File, error) {
	fault := f.begin(Op{Kind: Open, Name: name})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return nil, fault.Err
	}
	i := f.names[name]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{fs: f, name: name, inode: i, write: write}, nil
}

// Create makes a file that does not exist.
func (f *FS) Create(name string) (seglog.File, error) {
	fault := f.begin(Op{Kind: Create, Name: name})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return nil, fault.Err
	}
	if f.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !f.dirs[path.Dir(name)] {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrNotExist}
	}
	i := newInode(nil)
	f.change(change{dir: path.Dir(name), name: name, inode: i})
	return &file{fs: f, name: name, inode: i, write: true}, nil
}

func (f *FS) change(c change) {
	c.apply(f.names)
	f.pending = append(f.pending, c)
}

// Remove takes a name away. Directories are gone at once and for good.
func (f *FS) Remove(name string) error {
	fault := f.begin(Op{Kind: Remove, Name: name})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return fault.Err
	}
	if f.dirs[name] {
		for other := range f.names {
			if path.Dir(other) == name {
				return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
			}
		}
		delete(f.dirs, name)
		return nil
	}
	if f.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	f.change(change{dir: path.Dir(name), name: name})
	return nil
}

// Rename replaces what has the new name, all or nothing.
func (f *FS) Rename(oldName, newName string) error {
	fault := f.begin(Op{Kind: Rename, Name: oldName})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return fault.Err
	}
	i := f.names[oldName]
	if i == nil {
		return &fs.PathError{Op: "rename", Path: oldName, Err: fs.ErrNotExist}
	}
	f.change(change{dir: path.Dir(newName), name: newName, inode: i, old: oldName})
	return nil
}

// ReadDir gives the names in a directory.
func (f *FS) ReadDir(name string) ([]string, error) {
	fault := f.begin(Op{Kind: ReadDir, Name: name})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return nil, fault.Err
	}
	if !f.dirs[name] {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var names []string
	for other := range f.names {
		if path.Dir(other) == name {
			names = append(names, path.Base(other))
		}
	}
	for other := range f.dirs {
		if other != "." && path.Dir(other) == name {
			names = append(names, path.Base(other))
		}
	}
	return names, nil
}

// MkdirAll makes a directory, durably.
func (f *FS) MkdirAll(name string) error {
	fault := f.begin(Op{Kind: MkdirAll, Name: name})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return fault.Err
	}
	for ; !f.dirs[name]; name = path.Dir(name) {
		f.dirs[name] = true
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func (f *FS) SyncDir(name string) error {
	fault := f.begin(Op{Kind: SyncDir, Name: name})
	defer f.mu.Unlock()
	if fault.Err != nil {
		return fault.Err
	}
	if !f.dirs[name] {
		return fmt.Errorf("sync directory %s: %w", name, fs.ErrNotExist)
	}
	var rest []change
	for _, c := range f.pending {
		if c.dir == name {
			c.apply(f.onDisk)
		} else {
			rest = append(rest, c)
		}
	}
	f.pending = rest
	return nil
}
