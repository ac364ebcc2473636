package faultfs

import (
	"cmp"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"syscall"
)

// inode is the content of a file, in the cache and on disk.
type inode struct {
	cache []byte
	disk  []byte
	dirty map[int64][][]byte // page number: what the page was after each write since the last sync
	sizes []int64            // the same for the size
}

func newInode(b []byte) *inode {
	return &inode{cache: slices.Clone(b), disk: slices.Clone(b), dirty: map[int64][][]byte{}}
}

// page gives a copy of a page, filled up with zeros.
func page(b []byte, number, size int64) []byte {
	p := make([]byte, size)
	if from := number * size; from < int64(len(b)) {
		copy(p, b[from:])
	}
	return p
}

// touch notes what the pages of [off, end) are now.
func (i *inode) touch(off, end, size int64) {
	for n := off / size; n*size < end; n++ {
		i.dirty[n] = append(i.dirty[n], page(i.cache, n, size))
	}
	i.sizes = append(i.sizes, int64(len(i.cache)))
}

func (i *inode) resize(n, size int64) {
	old := int64(len(i.cache))
	if n <= old {
		i.cache = slices.Clone(i.cache[:n])
		i.touch(n, old, size)
		return
	}
	i.cache = append(i.cache, make([]byte, n-old)...)
	i.touch(old, n, size)
}

// flushed is what is on disk once some of the unsynced pages have got there.
// pick chooses one of several states of a page or size, the oldest (on disk
// already) first.
func (i *inode) flushed(size int64, pick func(n int) int, tear func(a, b []byte)) []byte {
	sizes := append([]int64{int64(len(i.disk))}, i.sizes...)
	b := make([]byte, sizes[pick(len(sizes))])
	for n := int64(0); n*size < int64(len(b)); n++ {
		states := append([][]byte{page(i.disk, n, size)}, i.dirty[n]...)
		chosen := states[pick(len(states))]
		if other := states[pick(len(states))]; tear != nil {
			tear(chosen, other)
		}
		copy(b[n*size:], chosen)
	}
	return b
}

// after is the inode as the next start finds it.
func (i *inode) after(loss Loss, f *FS) *inode {
	switch loss {
	case Kill:
		c := &inode{
			cache: slices.Clone(i.cache), disk: slices.Clone(i.disk),
			dirty: map[int64][][]byte{}, sizes: slices.Clone(i.sizes),
		}
		for n, states := range i.dirty {
			c.dirty[n] = slices.Clone(states)
		}
		return c
	case Keep:
		return newInode(i.flushed(f.page, func(n int) int { return n - 1 }, nil))
	case Lose:
		return newInode(i.disk)
	}
	return newInode(i.flushed(f.page, f.rand.IntN, tearer(f.rand)))
}

// tearer overwrites, now and then, the end of a page with that of another of
// its states, from any byte on.
func tearer(r *rand.Rand) func(a, b []byte) {
	return func(a, b []byte) {
		if r.IntN(4) == 0 {
			k := r.IntN(len(a))
			copy(a[k:], b[k:])
		}
	}
}

// file is an open inode.
type file struct {
	fs    *FS
	name  string
	inode *inode
	write bool
}

func (h *file) begin(kind Kind, off, n int64) Fault {
	fault := h.fs.begin(Op{Kind: kind, Name: h.name, Off: off, Len: n})
	if fault.Err == nil && kind != Read && !h.write {
		fault.Err = &fs.PathError{Op: string(kind), Path: h.name, Err: fs.ErrPermission}
	}
	return fault
}

func (h *file) ReadAt(b []byte, off int64) (int, error) {
	fault := h.begin(Read, off, int64(len(b)))
	defer h.fs.mu.Unlock()
	if fault.Err != nil {
		b = b[:min(fault.Short, len(b))]
	}
	if off >= int64(len(h.inode.cache)) {
		return 0, cmp.Or(fault.Err, io.EOF)
	}
	n := copy(b, h.inode.cache[off:])
	if fault.Err != nil {
		return n, fault.Err
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(b []byte, off int64) (int, error) {
	fault := h.begin(Write, off, int64(len(b)))
	defer h.fs.mu.Unlock()
	if fault.Err != nil {
		b = b[:min(fault.Short, len(b))]
	}
	grow := off + int64(len(b)) - int64(len(h.inode.cache))
	if room := h.fs.room(max(0, grow)); room < grow {
		b = b[:max(0, int64(len(b))-(grow-room))]
		if fault.Err == nil {
			fault.Err = &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
		}
	}
	if len(b) > 0 {
		end := off + int64(len(b))
		if end > int64(len(h.inode.cache)) {
			h.inode.cache = append(h.inode.cache, make([]byte, end-int64(len(h.inode.cache)))...)
		}
		copy(h.inode.cache[off:], b)
		h.inode.touch(off, end, h.fs.page)
	}
	return len(b), fault.Err
}

func (h *file) Truncate(n int64) error {
	fault := h.begin(Truncate, n, 0)
	defer h.fs.mu.Unlock()
	if fault.Err != nil {
		return fault.Err
	}
	if grow := n - int64(len(h.inode.cache)); h.fs.room(max(0, grow)) < grow {
		return &fs.PathError{Op: "truncate", Path: h.name, Err: syscall.ENOSPC}
	}
	h.inode.resize(n, h.fs.page)
	return nil
}

func (h *file) Allocate(off, n int64) error {
	fault := h.begin(Allocate, off, n)
	defer h.fs.mu.Unlock()
	if fault.Err != nil {
		return fault.Err
	}
	grow := off + n - int64(len(h.inode.cache))
	if grow <= 0 {
		return nil
	}
	if h.fs.room(grow) < grow {
		return &fs.PathError{Op: "allocate", Path: h.name, Err: syscall.ENOSPC}
	}
	h.inode.resize(off+n, h.fs.page)
	return nil
}

func (h *file) Datasync() error {
	fault := h.begin(Datasync, 0, 0)
	defer h.fs.mu.Unlock()
	i := h.inode
	switch {
	case h.fs.crashed:
		return fault.Err
	case fault.Err != nil:
		i.disk = i.flushed(h.fs.page, h.fs.rand.IntN, tearer(h.fs.rand))
	default:
		i.disk = i.flushed(h.fs.page, func(n int) int { return n - 1 }, nil)
	}
	clear(i.dirty)
	i.sizes = nil
	return fault.Err
}

func (h *file) Size() (int64, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.fs.crashed {
		return 0, ErrCrashed
	}
	return int64(len(h.inode.cache)), nil
}

func (h *file) Close() error { return nil }
