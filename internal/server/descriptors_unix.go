//go:build unix

package server

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// descriptorLimit is how many descriptors the process may have open. Package
// os has raised the soft limit to the hard one at the start.
func descriptorLimit() int {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil || uint64(r.Cur) > math.MaxInt32 {
		return 0
	}
	return int(r.Cur)
}

// nextDescriptor is the lowest descriptor that is free, which is the one that
// the system gives next; -1: there is none. It is found with an open one.
func nextDescriptor(open uintptr) int {
	next, err := unix.FcntlInt(open, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	_ = unix.Close(next)
	return next
}
