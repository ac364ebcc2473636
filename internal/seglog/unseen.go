package seglog

import (
	"sync/atomic"
	"time"
)

// unseen decides which writes are made without telling Go's scheduler.
//
// Telling it wakes the runtime's monitor thread, which then looks around every
// 20 µs: at a moderate rate that costs more than the write, which only copies
// into the system's memory. But a write may have to wait too, for a disk that
// is behind, and then an unseen one keeps a processor from other goroutines and
// the collector. So only small ones are, and after a slow one none is for a
// while. It may be used concurrently.
type unseen struct {
	now   func() time.Time
	again atomic.Int64 // when the next may be, in Unix nanoseconds
}

const (
	maxUnseen   = 64 << 10 // bytes
	slowUnseen  = 2 * time.Millisecond
	unseenPause = time.Minute
)

// begin reports whether a write of so many bytes may be unseen, and when it
// began.
func (u *unseen) begin(size int) (began time.Time, ok bool) {
	if u == nil || size > maxUnseen {
		return time.Time{}, false
	}
	began = u.now()
	return began, began.UnixNano() >= u.again.Load()
}

// end takes note of how long it took.
func (u *unseen) end(began time.Time) {
	if now := u.now(); now.Sub(began) > slowUnseen {
		u.again.Store(now.Add(unseenPause).UnixNano())
	}
}
