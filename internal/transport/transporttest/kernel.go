package transporttest

import (
	"fmt"
	"io"
	"net"
	"sync"

	"crier/internal/wire"
)

// kernel is a [wire.Kernel] of connections in memory, so that the wire can be
// tested in a bubble: it waits on a condition, which fake time knows.
type kernel struct {
	mu      sync.Mutex // guards the fields below; taken after a half's
	changed *sync.Cond
	conns   map[int]*adopted
	last    int
	pending map[uint64]wire.Event
	closed  bool
}

type adopted struct{ *conn }

// NewKernel makes a kernel of connections made by [Pair], or of an [Env].
func NewKernel() (wire.Kernel, error) {
	k := &kernel{conns: map[int]*adopted{}, pending: map[uint64]wire.Event{}}
	k.changed = sync.NewCond(&k.mu)
	return k, nil
}

// Adopt implements [wire.Kernel].
func (k *kernel) Adopt(nc net.Conn) (int, error) {
	c, ok := nc.(*conn)
	if !ok {
		return 0, fmt.Errorf("%w: %T", wire.ErrUnsupported, nc)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last++
	k.conns[k.last] = &adopted{newConn(c.in, c.out, 0)}
	c.adopted.Store(true)
	return k.last, nil
}

// Watch implements [wire.Kernel].
func (k *kernel) Watch(fd int, data uint64) error {
	c := k.get(fd)
	watch := func(h *half, readable bool) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.watch = func() {
			k.tell(wire.Event{Data: data, Readable: readable, Ended: readable && (h.ended || h.refused), Writable: !readable})
		}
		h.watch()
	}
	watch(c.in, true)
	watch(c.out, false)
	return nil
}

func (k *kernel) get(fd int) *adopted {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.conns[fd]
}

func (k *kernel) tell(ev wire.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.pending[ev.Data]
	ev.Readable = ev.Readable || was.Readable
	ev.Ended = ev.Ended || was.Ended
	ev.Writable = ev.Writable || was.Writable
	k.pending[ev.Data] = ev
	k.changed.Broadcast()
}

// Wait implements [wire.Kernel].
func (k *kernel) Wait(events []wire.Event) (n int, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.pending) == 0 && !k.closed {
		k.changed.Wait()
	}
	if k.closed {
		return 0, wire.ErrClosed
	}
	for data, ev := range k.pending {
		if n == len(events) {
			break
		}
		events[n] = ev
		n++
		delete(k.pending, data)
	}
	return n, nil
}

// Read implements [wire.Kernel].
func (k *kernel) Read(fd int, p []byte) (int, error) {
	h := k.get(fd).in
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.data) == h.from && !h.ended && !h.refused {
		return 0, wire.ErrAgain
	}
	if h.refused || len(h.data) == h.from {
		return 0, io.EOF
	}
	n := copy(p, h.data[h.from:])
	if h.from += n; h.from == len(h.data) {
		h.data, h.from = h.data[:0], 0
	}
	h.changed.Broadcast()
	return n, nil
}

// Write implements [wire.Kernel].
func (k *kernel) Write(fd int, p []byte) (int, error) {
	h := k.get(fd).out
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refused || h.ended {
		return 0, io.ErrClosedPipe
	}
	n := min(len(p), h.room-(len(h.data)-h.from))
	if n == 0 {
		return 0, wire.ErrAgain
	}
	if h.from >= h.room {
		h.data, h.from = h.data[:copy(h.data, h.data[h.from:])], 0
	}
	h.data = append(h.data, p[:n]...)
	h.changed.Broadcast()
	return n, nil
}

// CloseWrite implements [wire.Kernel].
func (k *kernel) CloseWrite(fd int) error {
	h := k.get(fd).out
	h.close(&h.ended)
	return nil
}

// Release implements [wire.Kernel].
func (k *kernel) Release(fd int) (net.Conn, error) {
	c := k.get(fd)
	for _, h := range []*half{c.in, c.out} {
		h.mu.Lock()
		h.watch = nil
		h.mu.Unlock()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, fd)
	return newConn(c.in, c.out, 0), nil
}

// CloseFD implements [wire.Kernel].
func (k *kernel) CloseFD(fd int) {
	c := k.get(fd)
	_ = c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, fd)
}

// Close implements [wire.Kernel].
func (k *kernel) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.changed.Broadcast()
	return nil
}
