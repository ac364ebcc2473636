package seglog

import (
	"sync"
	"time"
)

// background decides which syncs the kernel is asked to make in the background,
// so that a goroutine waits for them, and no thread.
//
// A thread in fdatasync(2) is one that Go's scheduler was told of, and that
// wakes its monitor thread (see unseen), which looks around every 20 µs for the
// millisecond or more in which what was synced is delivered: at moderate rates
// that is a tenth of all work. Where one sync follows the other the monitor is
// awake anyway, and calling directly is faster. So only one that comes after a
// rest is made so, and only one at a time. It may be used concurrently.
type background struct {
	now func() time.Time

	mu     sync.Mutex // held while one is under way; guards the fields below
	ring   *ring      // nil: not made yet
	closed bool

	restMu sync.Mutex
	ended  time.Time // when the last sync of either kind ended
}

// restedSync is how long nothing was synced before a sync is made in the
// background.
const restedSync = 2 * time.Millisecond

// sync makes a file's data durable. done says that it did so, or failed to; if
// not it is to be done directly.
func (b *background) sync(fd int) (done bool, err error) {
	if b == nil || !b.rested() || !b.mu.TryLock() {
		return false, nil
	}
	defer b.mu.Unlock()
	if b.closed {
		return false, nil
	}
	if b.ring == nil {
		if b.ring, err = newRing(); err != nil {
			b.closed = true // the kernel has none, forbids it, or has no more
			return false, nil
		}
	}
	return b.ring.datasync(fd)
}

func (b *background) rested() bool {
	b.restMu.Lock()
	defer b.restMu.Unlock()
	return b.now().Sub(b.ended) >= restedSync
}

// over notes that a sync has ended.
func (b *background) over() {
	if b == nil {
		return
	}
	b.restMu.Lock()
	defer b.restMu.Unlock()
	b.ended = b.now()
}

// close waits for what is under way. From then on syncs are made directly.
func (b *background) close() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	if b.ring == nil {
		return nil
	}
	r := b.ring
	b.ring = nil
	return r.close()
}
