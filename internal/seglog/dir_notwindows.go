//go:build !windows

package seglog

import (
	"errors"
	"os"
	"syscall"
)

func syncDir(f *os.File) error { return f.Sync() }

// errnoIO is what reading a bad sector gives.
const errnoIO = syscall.EIO

// IsFull reports whether an error means that there is no room: disk full or
// quota exceeded.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
