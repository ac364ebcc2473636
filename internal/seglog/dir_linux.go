package seglog

import (
	"errors"
	"os"
	"syscall"
)

// Allocate is fallocate(2), which also grows the file. File systems without
// it (and kernels that forbid it) leave the file as it is.
func (f dirFile) Allocate(off, n int64) error {
	err := f.control("fallocate", func(fd int) error { return syscall.Fallocate(fd, 0, off, n) })
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return nil
	}
	return err
}

// Datasync is fdatasync(2): data, and the size if it changed, but not times.
func (f dirFile) Datasync() error {
	defer f.background.over()
	return f.control("fdatasync", func(fd int) error {
		if done, err := f.background.sync(fd); done {
			return err
		}
		return syscall.Fdatasync(fd)
	})
}

// control runs a call on the descriptor, which stays open meanwhile, again as
// long as a signal interrupts it.
func (f dirFile) control(op string, call func(fd int) error) error {
	var inner error
	err := f.raw.Control(func(fd uintptr) {
		for {
			if inner = call(int(fd)); inner != syscall.EINTR {
				return
			}
		}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return &os.PathError{Op: op, Path: f.Name(), Err: err}
	}
	return nil
}
