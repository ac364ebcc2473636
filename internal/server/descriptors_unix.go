//go:build unix

package server

import (
	"math"
	"syscall"
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
