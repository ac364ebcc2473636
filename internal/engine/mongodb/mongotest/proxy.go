package mongotest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Proxy stands before a MongoDB, and loses answers: what was asked for is
// done, and nobody is told. It can do something before a request comes in.
type Proxy struct {
	URL string // without a database

	to    string
	tasks sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	closed bool
	conns  map[net.Conn]bool
	lose   int
	mark   string
	before func(request []byte)
}

// NewProxy begins to stand before a server.
func NewProxy(t testing.TB, s *Server) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{URL: "mongodb://" + l.Addr().String(), to: strings.TrimPrefix(s.URL, "mongodb://"), conns: map[net.Conn]bool{}}
	if strings.ContainsAny(p.to, "/?,@") {
		t.Skipf("a proxy cannot stand before %s", s.URL)
	}
	p.tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.tasks.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		p.closed = true
		for c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.tasks.Wait()
	})
	return p
}

// Lose has the answers to the next n requests that contain a mark lost.
func (p *Proxy) Lose(n int, mark string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose, p.mark = n, mark
}

// Before has fn called with each request before it is passed on, by several
// goroutines; nil: nothing any more.
func (p *Proxy) Before(fn func(request []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = fn
}

// Lost reports whether all answers that were to be lost are.
func (p *Proxy) Lost() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lose == 0
}

// comes has done what is to be done before a request, and reports whether its
// answer is to be lost.
func (p *Proxy) comes(request []byte) (lost bool) {
	p.mu.Lock()
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(request)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lose == 0 || !bytes.Contains(request, []byte(p.mark)) {
		return false
	}
	p.lose--
	return true
}

func (p *Proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
}

// serve passes requests and answers on, one after the other.
func (p *Proxy) serve(c net.Conn) {
	if !p.enter(c) {
		return
	}
	defer p.leave(c)
	s, err := net.Dial("tcp", p.to)
	if err != nil || !p.enter(s) {
		return
	}
	defer p.leave(s)
	for {
		request, err := readMessage(c)
		if err != nil {
			return
		}
		lost := p.comes(request)
		if _, err := s.Write(request); err != nil {
			return
		}
		answer, err := readMessage(s)
		if err != nil || lost {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// readMessage reads a message of MongoDB's wire protocol.
func readMessage(r io.Reader) ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint32(head)
	if n < 16 || n > 64<<20 {
		return nil, io.ErrUnexpectedEOF
	}
	m := append(head, make([]byte, n-4)...)
	_, err := io.ReadFull(r, m[4:])
	return m, err
}
