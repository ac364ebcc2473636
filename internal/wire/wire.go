// Package wire owns sockets: many connections, few goroutines, non-blocking
// writes. A connection that a handshake is through with is adopted: its
// descriptor is duplicated and the net.Conn closed, so that its buffers and
// its goroutine are garbage. What is left is a [Socket], in whatever struct a
// transport needs beside it, and a descriptor in an epoll set.
//
// An [Engine] has a few loops. Each has a goroutine that waits for its epoll
// set, reads, and goes on with sockets that were full; and one that gives
// turns to the sockets that asked for one or whose time has come. The epoll
// descriptor is nested in Go's own poller, so that a loop that waits holds
// neither a thread nor a processor (see kernel_linux.go). What may block, such
// as reading history, is done away from the loops by a bounded number of
// goroutines.
//
// The invariant: a socket's [Handler] is called by one goroutine at a time,
// with the socket's lock held, and never after [Socket.Close].
//
// Systems other than Linux, TLS and HTTP/2 do without: [New] or [Engine.Adopt]
// return [ErrUnsupported], and the transport serves the connection with a
// goroutine of its own.
package wire

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// Errors that callers decide on.
var (
	// ErrUnsupported: the connection has to be served in the portable way.
	ErrUnsupported = errors.New("not a plain TCP connection on Linux")
	// ErrClosed: the engine was closed.
	ErrClosed = errors.New("wire closed")
	// ErrAgain is what a [Kernel] returns when a call would have to wait.
	ErrAgain = errors.New("would block")
)

// Handler is what a transport puts on a socket. Its methods must not block.
type Handler interface {
	// Turn is the time to write: Schedule asked for it, or the socket takes
	// data again, or the time that was set with At has come.
	Turn(w *Worker)
	// Data takes what the peer sent; p is valid during the call.
	Data(w *Worker, p []byte)
	// Gone says that the peer has closed its side or the connection broke. No
	// Data comes after it.
	Gone(w *Worker)
}

// Kernel is what a loop needs of the system: a set of connections, known by
// numbers, of which it tells what has become possible since it was last said
// not to be. Its methods may be called concurrently.
type Kernel interface {
	// Adopt takes a connection over. It is closed if there is no error.
	Adopt(nc net.Conn) (fd int, err error)
	// Watch has Wait tell of fd, with data, until fd is closed.
	Watch(fd int, data uint64) error
	// Wait waits until something is possible; [ErrClosed] after Close.
	Wait(events []Event) (int, error)
	// Read and Write do what can be done at once; [ErrAgain] if nothing can.
	// Read returns io.EOF when the peer has ended.
	Read(fd int, p []byte) (int, error)
	Write(fd int, p []byte) (int, error)
	// CloseWrite tells the peer that nothing more will come.
	CloseWrite(fd int) error
	// Release makes a net.Conn of a connection again, of which nothing is told
	// any more. fd is gone, also if there is an error; then it is closed.
	Release(fd int) (net.Conn, error)
	CloseFD(fd int)
	Close() error
}

// Event is what has become possible on a connection.
type Event struct {
	Data     uint64
	Readable bool // or the peer has closed
	Ended    bool // the peer has closed
	Writable bool
}

// Config is what an Engine needs; the zero value will do on Linux.
type Config struct {
	Loops   int                    // 0: one for each processor
	Workers int                    // goroutines for what may block; 0: four for each processor
	Kernel  func() (Kernel, error) // makes that of each loop; nil: the system's
	Logger  *slog.Logger           // nil: none
}

// Engine owns sockets. All methods may be called concurrently.
type Engine struct {
	log     *slog.Logger
	loops   []*loop
	next    atomic.Uint32
	open    atomic.Int64
	workers sync.Pool // of *Worker, for goroutines that are not the engine's
	away    *pool

	kindsMu sync.RWMutex
	kinds   []func() Local

	life context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New starts the loops. The error is [ErrUnsupported] where there can be none.
func New(cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Kernel == nil {
		cfg.Kernel = newKernel
	}
	if cfg.Loops <= 0 {
		cfg.Loops = runtime.GOMAXPROCS(0)
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 4 * runtime.GOMAXPROCS(0)
	}
	e := &Engine{log: cfg.Logger}
	e.workers.New = func() any { return &Worker{engine: e} }
	for range cfg.Loops {
		k, err := cfg.Kernel()
		if err != nil {
			for _, l := range e.loops {
				_ = l.kernel.Close()
			}
			return nil, fmt.Errorf("start a loop: %w", err)
		}
		e.loops = append(e.loops, newLoop(e, k))
	}
	e.life, e.stop = context.WithCancel(context.Background())
	e.away = newPool(e, cfg.Workers)
	for _, l := range e.loops {
		e.wg.Go(l.read)
		e.wg.Go(l.deliver)
	}
	return e, nil
}

// Close closes every socket without a word and waits for all that the engine
// started; twice is no harm. Whoever wants the peers to be told ends the
// connections before.
func (e *Engine) Close() error {
	e.stop()
	e.away.close()
	for _, l := range e.loops {
		l.close()
	}
	e.wg.Wait()
	return nil
}

// Context ends with Close: for work that is done away from the loops.
func (e *Engine) Context() context.Context { return e.life }

// Go runs work of a socket's on a goroutine of its own, for which Close waits.
// The work ends with Context.
func (e *Engine) Go(work func()) { e.wg.Go(work) }

// Open counts the sockets that are open.
func (e *Engine) Open() int { return int(e.open.Load()) }

// Adopt takes a connection over for a handler, of which s is a part. start is
// called first, with the socket's lock held, to write what comes first; then
// the handler is given initial, which was read of the connection already, and
// its first turn. After an error the connection is the caller's as before, and
// nothing was called.
//
// The first turn is given here, and the kernel told of the socket after it,
// so that a connection that comes back is not handed to a loop twice: once
// because it can be written to, and once for its turn.
func (e *Engine) Adopt(nc net.Conn, s *Socket, h Handler, initial []byte, start func(w *Worker)) error {
	if e.life.Err() != nil {
		return ErrClosed
	}
	if back, ok := nc.(interface{ inside() (net.Conn, []byte) }); ok {
		inside, read := back.inside()
		nc, initial = inside, slices.Concat(initial, read)
	}
	l := e.choose(s.is(talks))
	fd, err := l.kernel.Adopt(nc)
	if err != nil {
		return fmt.Errorf("adopt a connection: %w", err)
	}
	if s.is(talks) {
		l.talkers.Add(1)
	}
	e.open.Add(1)
	w := e.workers.Get().(*Worker)
	defer e.workers.Put(w)
	defer w.over()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loop, s.handler, s.fd = l, h, int32(fd)
	closing := l.enter(s)
	if closing {
		s.peerGone(w)
		return nil
	}
	start(w)
	if len(initial) > 0 && !s.closed() {
		h.Data(w, initial)
	}
	s.scheduled.Store(false) // whoever asks from now on gets another turn
	if !s.closed() && !s.is(away) {
		h.Turn(w)
	}
	if s.closed() {
		return nil
	}
	if err := l.watch(s); err != nil {
		e.log.Warn("a connection cannot be watched and is closed", "error", err)
		s.lose(w)
	}
	return nil
}

// fewTalkers is how many sockets with peers that say something all the time
// share a loop, while there are loops with fewer.
const fewTalkers = 16

// choose returns the loop for the next socket.
func (e *Engine) choose(talks bool) *loop {
	if !talks {
		return e.loops[int(e.next.Add(1))%len(e.loops)]
	}
	least := e.loops[0]
	for _, l := range e.loops {
		switch n := l.talkers.Load(); {
		case n < fewTalkers:
			return l
		case n < least.talkers.Load():
			least = l
		}
	}
	return least
}

// Worker is a goroutine that calls handlers, and what these keep while it
// does.
type Worker struct {
	engine *Engine
	locals []Local
	buf    []byte // what is read goes through it
}

// Local is what the handlers of one kind share on a worker.
type Local interface {
	// Over ends a round: what refers to messages is let go of.
	Over()
}

// Kind is a kind of handlers.
type Kind int

// NewKind registers a kind of handlers, and how a worker makes what it keeps
// for them.
func (e *Engine) NewKind(local func() Local) Kind {
	e.kindsMu.Lock()
	defer e.kindsMu.Unlock()
	e.kinds = append(e.kinds, local)
	return Kind(len(e.kinds) - 1)
}

// Local returns what the worker keeps for a kind.
func (w *Worker) Local(k Kind) Local {
	if int(k) < len(w.locals) && w.locals[k] != nil {
		return w.locals[k]
	}
	w.engine.kindsMu.RLock()
	defer w.engine.kindsMu.RUnlock()
	for len(w.locals) <= int(k) {
		w.locals = append(w.locals, nil)
	}
	w.locals[k] = w.engine.kinds[k]()
	return w.locals[k]
}

// over ends a round.
func (w *Worker) over() {
	for _, l := range w.locals {
		if l != nil {
			l.Over()
		}
	}
}
