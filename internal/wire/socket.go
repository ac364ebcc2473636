package wire

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of what is done for one socket before others have their turn.
const (
	readBuffer = 16 << 10
	readBudget = 16 // buffers
)

// Socket is an adopted connection: the part of a handler that the engine
// needs. Schedule may be called by anybody; all else belongs to the handler's
// calls, and to work that it has put away.
type Socket struct {
	loop    *loop
	handler Handler
	mu      sync.Mutex // held while the handler is called; guards the fields below
	due     int64      // when the handler wants a turn, in nanoseconds of the loop's time; 0: it doesn't
	fd      int32      // -1: closed
	slot    uint32
	filed   uint32 // the tick under which the wheel has it; 0: none
	flags   flags

	scheduled atomic.Bool
	full      atomic.Bool // the last write was not taken wholly
}

type flags uint8

const (
	held     flags = 1 << iota // the handler takes no data now
	readable                   // there may be something to read
	away                       // work is done away from the loop
	ending                     // the peer has ended, but not all it said is read
	ended                      // the peer has ended
	fired                      // the time that was set with At has come
	lost                       // the kernel does not watch it: to its handler the peer is gone
	talks                      // its peer says something all the time
)

func (s *Socket) is(f flags) bool { return s.flags&f != 0 }

func (s *Socket) closed() bool { return s.fd < 0 }

// Prepare is called before the socket is shared: until it is adopted Schedule
// does nothing, and it is a socket that is closed. Then a turn comes in any
// case.
func (s *Socket) Prepare() {
	s.fd = -1
	s.scheduled.Store(true)
}

// Talks is called before the socket is shared, if its peer is about to say
// something all the time. A few of those share a loop: one that is at work takes
// what comes from the others too, and no second goroutine is woken for it.
func (s *Socket) Talks() { s.flags |= talks }

// Schedule asks for a turn. It may be called from any goroutine, also after
// Close; several asks may be one turn.
func (s *Socket) Schedule() {
	if !s.scheduled.Swap(true) {
		s.loop.schedule(s)
	}
}

// Write writes what the socket takes at once, n bytes of p. If that is not
// all, a turn comes when it takes more. After an error the peer is gone.
func (s *Socket) Write(p []byte) (n int, err error) {
	if s.fd < 0 {
		return 0, ErrClosed
	}
	for n < len(p) {
		m, err := s.loop.kernel.Write(int(s.fd), p[n:])
		n += m
		if errors.Is(err, ErrAgain) {
			// Away from the loop, the socket may have taken data again
			// between the write and the note, which was not told then.
			if !s.full.Swap(true) {
				continue
			}
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	s.full.Store(false)
	return n, nil
}

// Full reports whether the last write was not taken wholly, and the socket
// has not taken data again since.
func (s *Socket) Full() bool { return s.full.Load() }

// CloseWrite tells the peer that nothing more will come.
func (s *Socket) CloseWrite() {
	if s.fd >= 0 {
		_ = s.loop.kernel.CloseWrite(int(s.fd)) // a connection that is gone is told by reading
	}
}

// Close ends the socket; twice is no harm. What was written is on its way to
// the peer.
func (s *Socket) Close() {
	if s.fd < 0 {
		return
	}
	fd := int(s.fd)
	s.leave()
	s.loop.kernel.CloseFD(fd)
}

// leave makes of it a socket that is closed, but for the descriptor.
func (s *Socket) leave() {
	s.loop.leave(s)
	if s.is(talks) {
		s.loop.talkers.Add(-1)
	}
	s.fd = -1
	s.loop.engine.open.Add(-1)
}

// At asks for a turn at a time from now, instead of the one that was asked
// for before; give or take a tenth of a second. 0: for none.
func (s *Socket) At(in time.Duration) {
	if s.fd < 0 {
		return
	}
	if in <= 0 {
		s.due = 0
		return
	}
	s.due = s.loop.now() + int64(in)
	s.loop.wheel.file(s)
}

// TimeCame reports, once, that the time that was set with At has come.
func (s *Socket) TimeCame() bool {
	came := s.is(fired)
	s.flags &^= fired
	return came
}

// Hold stops reading: the peer is not heard until Resume.
func (s *Socket) Hold() { s.flags |= held }

// Resume reads on, with the next turn.
func (s *Socket) Resume() {
	if s.is(held) {
		s.flags &^= held
		s.flags |= readable
		s.Schedule()
	}
}

// Away has work done that may block, by one of a bounded number of goroutines.
// Until it is done the handler is not called, and the socket is the work's to
// write to. work returns whether it wants to be called again, after others;
// when it is done, a turn comes. The socket's lock is not held by it.
func (s *Socket) Away(work func(w *Worker) (again bool)) {
	s.flags |= away
	s.loop.engine.away.submit(task{s, work})
}

// left waits for the handler's call that put work away to be over.
func (s *Socket) left() {
	s.mu.Lock()
	defer s.mu.Unlock()
}

// back ends being away.
func (s *Socket) back(w *Worker) {
	s.mu.Lock()
	s.flags &^= away
	if s.is(lost) && s.fd >= 0 {
		s.peerGone(w)
	}
	s.mu.Unlock()
	s.Schedule()
}

// lose tells the handler of a socket that cannot be watched that its peer is
// gone, once it may be called. The caller holds mu.
func (s *Socket) lose(w *Worker) {
	if s.is(away) {
		s.flags |= lost
		return
	}
	s.peerGone(w)
}

// turn gives a turn that was asked for.
func (s *Socket) turn(w *Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scheduled.Store(false) // whoever asks from now on gets another one
	if s.fd < 0 || s.is(away) {
		return // a turn comes with back
	}
	if s.is(readable) {
		s.read(w)
	}
	if s.fd >= 0 && !s.is(away) {
		s.handler.Turn(w)
	}
}

// event takes what has become possible.
func (s *Socket) event(w *Worker, ev Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fd < 0 {
		return
	}
	if ev.Readable {
		s.flags |= readable
		if ev.Ended {
			s.flags |= ending
		}
		s.read(w)
	}
	if ev.Writable && s.full.Swap(false) && s.fd >= 0 && !s.is(away) {
		s.handler.Turn(w)
	}
}

// read reads what there is, as far as the handler takes it.
func (s *Socket) read(w *Worker) {
	if w.buf == nil {
		w.buf = make([]byte, readBuffer)
	}
	for range readBudget {
		if s.fd < 0 || s.is(held) || s.is(away) || s.is(ended) {
			return
		}
		n, err := s.loop.kernel.Read(int(s.fd), w.buf)
		switch {
		case errors.Is(err, ErrAgain):
			s.flags &^= readable
			return
		case err != nil:
			s.peerGone(w)
			return
		}
		if n < len(w.buf) && !s.is(ending) {
			// That was all. What comes later is told anew.
			s.flags &^= readable
			s.handler.Data(w, w.buf[:n])
			return
		}
		s.handler.Data(w, w.buf[:n])
	}
	s.Schedule() // others first
}

func (s *Socket) peerGone(w *Worker) {
	s.flags |= ended
	s.flags &^= readable
	s.handler.Gone(w)
}
