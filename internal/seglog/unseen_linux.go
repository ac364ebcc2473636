//go:build amd64 || arm64

package seglog

import (
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newUnseen lets writes be unseen where the directory is on a file system of
// this machine: on others, such as NFS, each may take long.
func newUnseen(root *os.Root) *unseen {
	dir, err := root.Open(".")
	if err != nil {
		return nil
	}
	defer dir.Close()
	var fs unix.Statfs_t
	if unix.Fstatfs(int(dir.Fd()), &fs) != nil {
		return nil
	}
	switch fs.Type {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return &unseen{now: time.Now}
	}
	return nil
}

// pwrite is pwrite(2), of which the scheduler is not told.
func (f dirFile) pwrite(p []byte, off int64) (n int, err error) {
	var inner error
	err = f.raw.Control(func(fd uintptr) {
		for n < len(p) {
			m, _, errno := syscall.RawSyscall6(unix.SYS_PWRITE64, fd, uintptr(unsafe.Pointer(&p[n])), uintptr(len(p)-n), uintptr(off+int64(n)), 0, 0)
			switch {
			case errno == unix.EINTR:
			case errno != 0:
				inner = errno
				return
			case m == 0:
				inner = io.ErrUnexpectedEOF
				return
			default:
				n += int(m)
			}
		}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return n, &os.PathError{Op: "write", Path: f.Name(), Err: err}
	}
	return n, nil
}
