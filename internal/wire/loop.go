package wire

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// waitEvents is how many events a loop takes at a time.
const waitEvents = 256

// loop is a set of sockets and its two goroutines.
type loop struct {
	engine *Engine
	kernel Kernel
	wheel  wheel
	began  time.Time
	kick   chan struct{} // capacity 1: look at ready and the wheel again

	talkers atomic.Int32 // sockets that were said to talk

	readyMu sync.Mutex // guards the fields below
	ready   []*Socket  // that asked for a turn
	asleep  bool       // deliver has to be kicked
	reading bool       // read looks at ready before it waits

	slotsMu sync.RWMutex // guards the fields below
	slots   []*[slotChunk]slot
	used    uint32 // slots that were ever given out
	free    []uint32
	closing bool
}

// slot is the place of a socket. Its generation tells a socket from those
// that had the place before, of which events may still be told.
type slot struct {
	socket     *Socket
	generation uint32
}

// slotChunk is how many slots are made at a time: they never move.
const slotChunk = 256

// at returns a slot that was given out. The caller holds slotsMu.
func (l *loop) at(number uint32) *slot { return &l.slots[number/slotChunk][number%slotChunk] }

func newLoop(e *Engine, k Kernel) *loop {
	l := &loop{engine: e, kernel: k, began: time.Now(), kick: make(chan struct{}, 1)}
	l.wheel.loop = l
	return l
}

// now is the time since the loop began.
func (l *loop) now() int64 { return int64(time.Since(l.began)) }

// enter gives a socket its place, which it will leave, and reports whether the
// loop is closing.
func (l *loop) enter(s *Socket) (closing bool) {
	l.slotsMu.Lock()
	defer l.slotsMu.Unlock()
	if n := len(l.free); n > 0 {
		s.slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		s.slot = l.used
		if l.used%slotChunk == 0 {
			l.slots = append(l.slots, new([slotChunk]slot))
		}
		l.used++
	}
	l.at(s.slot).socket = s
	return l.closing
}

// watch has the kernel tell of a socket, of what is possible already too.
func (l *loop) watch(s *Socket) error { return l.kernel.Watch(int(s.fd), l.dataOf(s)) }

func (p *slot) data(number uint32) uint64 { return uint64(p.generation)<<32 | uint64(number) }

// leave gives a socket's place to others.
func (l *loop) leave(s *Socket) {
	l.slotsMu.Lock()
	defer l.slotsMu.Unlock()
	p := l.at(s.slot)
	*p = slot{generation: p.generation + 1}
	l.free = append(l.free, s.slot)
}

// find returns the socket that data was given out for, or nil if it is gone.
func (l *loop) find(data uint64) *Socket {
	l.slotsMu.RLock()
	defer l.slotsMu.RUnlock()
	number := uint32(data)
	if number >= l.used || l.at(number).generation != uint32(data>>32) {
		return nil
	}
	return l.at(number).socket
}

// fewReady is how many sockets may wait for a reader: for more, another
// goroutine is worth being woken.
const fewReady = 64

// schedule has a socket given a turn. A reader that is at work does it before
// it waits again, if need be that of another loop: waking a goroutine costs
// more than a turn does.
func (l *loop) schedule(s *Socket) {
	if l.queue(s) {
		return
	}
	for _, other := range l.engine.loops {
		if other != l && other.help(s) {
			return
		}
	}
	l.readyMu.Lock()
	l.ready = append(l.ready, s)
	kick := l.asleep
	l.asleep = false
	l.readyMu.Unlock()
	if kick {
		l.wake()
	}
}

// queue is schedule for when somebody is awake to see it.
func (l *loop) queue(s *Socket) bool {
	l.readyMu.Lock()
	defer l.readyMu.Unlock()
	if l.asleep && (!l.reading || len(l.ready) >= fewReady) {
		return false
	}
	l.ready = append(l.ready, s)
	return true
}

// help takes a socket of another loop on, if the reader is at work and has
// little to do.
func (l *loop) help(s *Socket) bool {
	l.readyMu.Lock()
	defer l.readyMu.Unlock()
	if !l.reading || len(l.ready) >= fewReady {
		return false
	}
	l.ready = append(l.ready, s)
	return true
}

func (l *loop) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// deliver gives turns until the engine is closed.
func (l *loop) deliver() {
	w := &Worker{engine: l.engine}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var round []*Socket
	for {
		l.readyMu.Lock()
		round, l.ready = l.ready, round[:0]
		l.asleep = len(round) == 0
		l.readyMu.Unlock()
		for _, s := range round {
			s.turn(w)
		}
		given := len(round)
		clear(round)
		if cap(round) > 1024 && cap(round) > 8*given { // after a storm
			round = nil
		}
		next := l.wheel.fire(w)
		w.over()
		if given > 0 {
			continue // more may have asked, who do not kick one that is awake
		}
		timer.Reset(next)
		select {
		case <-l.kick:
		case <-timer.C:
		case <-l.engine.life.Done():
			return
		}
	}
}

// read waits for the kernel until it is closed.
func (l *loop) read() {
	w := &Worker{engine: l.engine}
	events := make([]Event, waitEvents)
	var round []*Socket
	for {
		n, err := l.kernel.Wait(events)
		if err != nil {
			if !errors.Is(err, ErrClosed) {
				l.engine.log.Error("a loop of sockets has ended: its connections are not served any more", "error", err)
			}
			return
		}
		l.readyMu.Lock()
		l.reading = true
		l.readyMu.Unlock()
		for _, ev := range events[:n] {
			if s := l.find(ev.Data); s != nil {
				s.event(w, ev)
			}
		}
		w.over()
		round = l.turns(w, round)
	}
}

// turns gives the turns that were asked for while the reader was at work.
// After one round of them, what they in turn asked for is left to deliver,
// so that the kernel is heard. round is a list to use, and so is what is
// returned.
func (l *loop) turns(w *Worker, round []*Socket) []*Socket {
	l.readyMu.Lock()
	if len(l.ready) == 0 {
		l.reading = false
		l.readyMu.Unlock()
		return round
	}
	round, l.ready = l.ready, round[:0]
	l.readyMu.Unlock()
	for _, s := range round {
		s.turn(w)
	}
	clear(round)
	w.over()
	l.readyMu.Lock()
	defer l.readyMu.Unlock()
	l.reading = false
	if len(l.ready) > 0 && l.asleep {
		l.asleep = false
		l.wake()
	}
	return round
}

// close closes the sockets that are left.
func (l *loop) close() {
	l.slotsMu.Lock()
	if l.closing {
		l.slotsMu.Unlock()
		return
	}
	l.closing = true
	var left []*Socket
	for number := range l.used {
		if s := l.at(number).socket; s != nil {
			left = append(left, s)
		}
	}
	l.slotsMu.Unlock()
	w := &Worker{engine: l.engine}
	for _, s := range left {
		s.mu.Lock()
		if s.fd >= 0 {
			s.peerGone(w)
			s.Close()
		}
		s.mu.Unlock()
	}
	_ = l.kernel.Close()
}
