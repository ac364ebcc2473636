package seglog

import "io"

// FS is the little that the log needs of a file system. Names are relative,
// with forward slashes. Errors wrap those of io/fs (ErrNotExist, ErrExist)
// and, for a full disk, what [IsFull] knows. Implementations may be used
// concurrently.
type FS interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// OpenWrite opens a file that exists, for reading and writing.
	OpenWrite(name string) (File, error)
	// Create makes a file, for reading and writing; one that exists is an
	// error. It is there after a crash once Datasync of it and SyncDir of
	// its directory returned.
	Create(name string) (File, error)
	// Remove takes a name away; files that are open stay readable.
	Remove(name string) error
	// Rename replaces what has the new name.
	Rename(oldName, newName string) error
	// ReadDir gives the names in a directory, in any order.
	ReadDir(name string) ([]string, error)
	// MkdirAll makes a directory and those above it, durably.
	MkdirAll(name string) error
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(name string) error
}

// File is an open file. All methods may be called concurrently.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Truncate sets the size; growing fills with zeros.
	Truncate(size int64) error
	// Allocate reserves space for [off, off+n) and grows the file to cover it
	// with zeros. Where the system has no such call it does nothing.
	Allocate(off, n int64) error
	// Datasync makes data and size durable.
	Datasync() error
	Size() (int64, error)
	Close() error
}
