package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Mode is what a [Proxy] does.
type Mode int

// The modes. A mute one takes connections, and what is said to Redis gets
// there, but no answer comes back.
const (
	Through Mode = iota
	Away
	Mute
)

// Proxy stands before a Redis and takes it away.
type Proxy struct {
	Addr string // HOST:PORT
	to   string

	mu    sync.Mutex // guards the fields below
	mode  Mode
	conns map[net.Conn]struct{}
}

// NewProxy begins to stand before the Redis at an address.
func NewProxy(t *testing.T, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, conns: map[net.Conn]struct{}{}}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.Set(Away)
		running.Wait()
	})
	return p
}

// Set changes what it does. Connections that there are end, unless it falls
// mute: who was not answered is not answered later either.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode = m; m == Mute {
		return
	}
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) is() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

// enter lets a connection in, so that Set can end it.
func (p *Proxy) enter(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == Away {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *Proxy) leave(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

func (p *Proxy) serve(c net.Conn) {
	defer c.Close()
	r, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer r.Close()
	if !p.enter(c, r) {
		return
	}
	defer p.leave(c, r)
	var both sync.WaitGroup
	both.Go(func() {
		_, _ = io.Copy(r, c)
		_ = r.Close()
	})
	p.answer(c, r)
	_ = c.Close()
	both.Wait()
}

// answer copies what Redis says, unless that is not to be heard.
func (p *Proxy) answer(c, r net.Conn) {
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		if err != nil {
			return
		}
		if p.is() == Mute {
			continue
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
