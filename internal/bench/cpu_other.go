//go:build !linux

package bench

import "time"

// cpuClock is known for Linux only.
func cpuClock(int) (time.Duration, bool) { return 0, false }
