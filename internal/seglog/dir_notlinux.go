//go:build !linux

package seglog

// Allocate does nothing where there is no fallocate: the file grows with each
// write.
func (f dirFile) Allocate(off, n int64) error { return nil }

// Datasync is the system's full sync (on darwin F_FULLFSYNC).
func (f dirFile) Datasync() error { return f.Sync() }
