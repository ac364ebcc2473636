package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuClock reads the clock of a process's processor time, which has the number
// that clock_getcpuclockid(3) makes of the process's: all threads, also those
// that have ended.
func cpuClock(pid int) (time.Duration, bool) {
	var ts unix.Timespec
	if pid <= 0 || unix.ClockGettime(int32(^pid)<<3|2, &ts) != nil {
		return 0, false
	}
	return time.Duration(ts.Nano()), true
}
