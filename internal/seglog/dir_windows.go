package seglog

import (
	"errors"
	"os"
	"syscall"
)

// syncDir does nothing: the system has no such call, and NTFS keeps names in
// its journal in order.
func syncDir(*os.File) error { return nil }

// errnoIO is ERROR_IO_DEVICE.
const errnoIO = syscall.Errno(1117)

// IsFull reports whether an error means that there is no room: disk full or
// quota exceeded.
func IsFull(err error) bool {
	const (
		handleDiskFull = syscall.Errno(39)
		diskFull       = syscall.Errno(112)
		quota          = syscall.Errno(1295)
	)
	return errors.Is(err, diskFull) || errors.Is(err, handleDiskFull) || errors.Is(err, quota) || errors.Is(err, syscall.ENOSPC)
}
