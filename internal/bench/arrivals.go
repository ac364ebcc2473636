package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// arrivalSlots is how many messages of a sender may be on their way at once
// for their last arrival to be known.
const arrivalSlots = 1 << 14

// arrivals notes when each message came to the last of those who get it.
type arrivals struct {
	bySender [][]atomic.Uint64 // number<<24 | how many have it, plus one for a slot in use
}

func newArrivals(senders int) *arrivals {
	a := &arrivals{bySender: make([][]atomic.Uint64, senders)}
	slots := arrivalSlots
	for slots > 64 && slots*senders > 1<<20 { // 8 MiB altogether
		slots /= 2
	}
	for i := range a.bySender {
		a.bySender[i] = make([]atomic.Uint64, slots)
	}
	return a
}

// came notes an arrival of a sender's message, and reports whether it is the
// last of so many. Who gets a message twice counts twice.
func (a *arrivals) came(m stamped, fellows int) bool {
	if fellows == 1 {
		return true
	}
	slots := a.bySender[m.sender]
	slot := &slots[m.number%uint64(len(slots))]
	for {
		old := slot.Load()
		next := m.number<<24 | 1
		switch {
		case old>>24 == m.number && old&(1<<24-1) > 0:
			next = old + 1
		case old>>24 > m.number: // too many are on their way: it is not known
			return false
		}
		if slot.CompareAndSwap(old, next) {
			return int(next&(1<<24-1)) == fellows
		}
	}
}

// window holds publishers back, so that what is on its way stays within
// bounds and the server is measured, not a backlog that grows.
type window struct {
	size      float64 // messages
	perOne    float64 // deliveries of a message
	sent      atomic.Int64
	delivered atomic.Int64
	waiting   atomic.Int64

	mu   sync.Mutex
	news chan struct{} // closed when there may be room
}

func newWindow(size int, perOne float64) *window {
	return &window{size: float64(size), perOne: perOne, news: make(chan struct{})}
}

func (w *window) room() bool {
	return float64(w.sent.Load())-float64(w.delivered.Load())/w.perOne < w.size
}

// admit waits until there is room, and takes it for n messages. Several who
// wait may be admitted at once: they exceed the window by one request each.
func (w *window) admit(ctx context.Context, n int) error {
	for !w.room() {
		w.mu.Lock()
		news := w.news
		w.waiting.Add(1)
		w.mu.Unlock()
		var err error
		if !w.room() { // or the news came before it was waited for
			select {
			case <-news:
			case <-ctx.Done():
				err = context.Cause(ctx)
			case <-time.After(patience): // what is lost makes no room
				w.sent.Store(int64(float64(w.delivered.Load()) / w.perOne))
			}
		}
		w.waiting.Add(-1)
		if err != nil {
			return err
		}
	}
	w.sent.Add(int64(n))
	return nil
}

// patience is how long nothing may come before what is missing is given up.
const patience = 5 * time.Second

// look lets those go on who wait, if there is room.
func (w *window) look() {
	if w.waiting.Load() > 0 && w.room() {
		w.mu.Lock()
		close(w.news)
		w.news = make(chan struct{})
		w.mu.Unlock()
	}
}
