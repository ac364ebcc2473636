package server

import (
	"net"
	"sync"
)

// handback is the listener by which connections come to net/http that were on
// the wire. There are never more of them than were accepted by others.
type handback struct {
	wake chan struct{} // capacity 1
	done chan struct{}

	mu     sync.Mutex // guards the fields below
	conns  []net.Conn
	closed bool
}

func newHandback() *handback {
	return &handback{wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// put hands a connection over, without waiting.
func (h *handback) put(nc net.Conn) {
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.conns = append(h.conns, nc)
	}
	h.mu.Unlock()
	if closed {
		_ = nc.Close()
		return
	}
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Accept implements [net.Listener], for one goroutine.
func (h *handback) Accept() (net.Conn, error) {
	for {
		h.mu.Lock()
		if len(h.conns) > 0 {
			nc := h.conns[0]
			h.conns[0] = nil
			if h.conns = h.conns[1:]; len(h.conns) == 0 {
				h.conns = nil
			}
			h.mu.Unlock()
			return nc, nil
		}
		h.mu.Unlock()
		select {
		case <-h.wake:
		case <-h.done:
			return nil, net.ErrClosed
		}
	}
}

// Close implements [net.Listener].
func (h *handback) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	close(h.done)
	for _, nc := range h.conns {
		_ = nc.Close()
	}
	h.conns = nil
	return nil
}

// Addr implements [net.Listener].
func (h *handback) Addr() net.Addr { return handbackAddr{} }

type handbackAddr struct{}

func (handbackAddr) Network() string { return "wire" }
func (handbackAddr) String() string  { return "connections given back" }
