package wire

import (
	"sync"
	"time"
)

const (
	// tick is how exact a wheel is.
	tick = 100 * time.Millisecond
	// wheelSlots is how many ticks a wheel has; what is due later is looked
	// at again after a turn of the wheel.
	wheelSlots = 512
)

// wheel has the sockets that want a turn at a time, by ticks. A socket is
// filed once: if its time is put off, that is seen when the tick comes; if it
// is brought forward it is filed anew, and what was filed before means
// nothing.
type wheel struct {
	loop *loop

	mu    sync.Mutex // guards the fields below
	slots [wheelSlots][]uint64
	at    uint32 // all ticks up to here have been fired
	filed int
	until uint32 // the tick for which deliver sleeps; 0: it does not
}

// tickOf is the first tick at or after a time.
func tickOf(at int64) uint32 { return uint32((at + int64(tick) - 1) / int64(tick)) }

// file files a socket for its due time. The caller holds the socket's lock.
func (h *wheel) file(s *Socket) {
	h.mu.Lock()
	at := max(tickOf(s.due), h.at+1)
	at = min(at, h.at+wheelSlots-1)
	if s.filed > h.at && s.filed <= at {
		h.mu.Unlock()
		return // it is looked at in time
	}
	s.filed = at
	slot := &h.slots[at%wheelSlots]
	*slot = append(*slot, s.loop.dataOf(s))
	h.filed++
	wake := h.until > at
	h.mu.Unlock()
	if wake {
		h.loop.wake()
	}
}

func (l *loop) dataOf(s *Socket) uint64 {
	l.slotsMu.RLock()
	defer l.slotsMu.RUnlock()
	return l.at(s.slot).data(s.slot)
}

// fire gives turns to the sockets whose time has come, and returns when it
// should be called again.
func (h *wheel) fire(w *Worker) time.Duration {
	now := h.loop.now()
	current := uint32(now / int64(tick))
	for {
		h.mu.Lock()
		h.until = 0
		if h.filed == 0 {
			h.at = max(h.at, current)
		}
		if h.at >= current {
			next := h.next()
			h.until = next
			h.mu.Unlock()
			return time.Duration(int64(next)*int64(tick) - now)
		}
		h.at++
		at := h.at
		due := h.slots[at%wheelSlots]
		h.slots[at%wheelSlots] = nil
		h.filed -= len(due)
		h.mu.Unlock()
		for _, data := range due {
			if s := h.loop.find(data); s != nil {
				s.fire(w, at, now)
			}
		}
	}
}

// next is the next tick for which something is filed. The caller holds mu.
func (h *wheel) next() uint32 {
	if h.filed == 0 {
		return h.at + 600*60 // nothing is: an hour
	}
	for i := uint32(1); i < wheelSlots; i++ {
		if len(h.slots[(h.at+i)%wheelSlots]) > 0 {
			return h.at + i
		}
	}
	return h.at + 1
}

// fire gives the socket its turn if it is due.
func (s *Socket) fire(w *Worker, at uint32, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filed != at {
		return // it was filed anew
	}
	s.filed = 0
	switch {
	case s.fd < 0 || s.due == 0:
	case s.due > now:
		s.loop.wheel.file(s)
	default:
		s.due = 0
		s.flags |= fired
		if !s.is(away) { // else a turn comes with back
			s.handler.Turn(w)
		}
	}
}
