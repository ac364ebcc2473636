package engineio

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"crier/internal/hub"
	"crier/internal/transport"
	"crier/internal/transport/engineio/packet"
	"crier/internal/transport/websocket/frame"
)

const (
	readBuffer = 4096     // what a socket is read into at a time
	writePiece = 16 << 10 // what is written at a time: each has as long as a peer may stall
)

// Close codes of our own: those that the WebSocket transport has too.
const (
	codeCredential frame.Code = 4002
	codeKicked     frame.Code = 4003
	codeDomain     frame.Code = 4004
)

// socket is one WebSocket of a session: a probe, or its transport. One
// goroutine reads; the handler's writes.
type socket struct {
	session *Session
	srv     *Server
	nc      net.Conn
	nudge   hub.Signal      // for the probe: something below mu is new
	read    chan struct{}   // closed when nothing more is carried out
	drained chan struct{}   // closed when the peer has closed, or the connection is
	chosen  chan struct{}   // closed when the socket is the transport
	after   []chan struct{} // set before that: closed when the requests under way have ended
	gone    chan struct{}   // closed when nothing more is written

	mu      sync.Mutex // guards the fields below, and the deadline for writing
	hurried bool       // what is written has little time
	pong    []byte     // what the last ping of the WebSocket said; nil: none is open
	probes  int        // that are not answered
	switchs bool       // the peer asks for the upgrade
	code    frame.Code // to close with, if the peer broke the rules of frames
}

func (s *Session) newSocket() *socket {
	return &socket{
		session: s, srv: s.srv, nudge: hub.NewSignal(),
		read: make(chan struct{}), drained: make(chan struct{}), chosen: make(chan struct{}), gone: make(chan struct{}), code: frame.NoStatus,
	}
}

// beginSocket serves a WebSocket with which the session begins.
func (s *Session) beginSocket(w http.ResponseWriter, _ *http.Request, key string) {
	c := s.newSocket()
	s.mu.Lock()
	s.socket, s.upgraded = c, true
	s.mu.Unlock()
	close(c.chosen)
	if !c.run(w, key, false) {
		s.end(transport.ErrGone)
	}
	s.finish()
}

// probeSocket serves a WebSocket that a polling session may move to. A second
// one is closed at once.
func (s *Session) probeSocket(w http.ResponseWriter, _ *http.Request, key string) {
	c := s.newSocket()
	s.mu.Lock()
	second := s.socket != nil || s.over()
	if !second {
		s.socket = c
	}
	s.mu.Unlock()
	if second {
		c.turnAway(w, key)
		return
	}
	c.run(w, key, true)
	s.mu.Lock()
	carried := s.upgraded
	if !carried {
		s.socket, s.probed = nil, false // another may try
	}
	s.mu.Unlock()
	if carried {
		s.finish()
	}
}

// turnAway closes a WebSocket that was not to be.
func (c *socket) turnAway(w http.ResponseWriter, key string) {
	nc, _, err := c.srv.hijack(w, key)
	if err != nil {
		return
	}
	_, _ = nc.Write(frame.AppendClose(nil, frame.NoStatus, ""))
	_ = nc.Close()
}

// run serves the connection until it ends. false: there was none.
func (c *socket) run(w http.ResponseWriter, key string, probe bool) bool {
	c.srv.mu.Lock()
	if c.srv.closed { // nobody would wait for us
		c.srv.mu.Unlock()
		return false
	}
	c.srv.serve.Add(1)
	c.srv.mu.Unlock()
	defer c.srv.serve.Done()
	nc, initial, err := c.srv.hijack(w, key)
	if err != nil {
		return false
	}
	c.mu.Lock()
	c.nc = nc
	c.mu.Unlock()
	if c.session.over() {
		c.hurry()
	}
	go c.readAll(initial, probe)
	if !probe || c.probe() {
		c.write()
	}
	close(c.gone)
	c.goodbye()
	_ = nc.Close()
	<-c.drained
	return true
}

// hurry bounds all that is yet to be written: the session has ended.
func (c *socket) hurry() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurried = true
	if c.nc != nil {
		_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.CloseWait))
	}
}

// put writes bytes as the peer takes them.
func (c *socket) put(b []byte) error {
	for len(b) > 0 {
		c.mu.Lock()
		if !c.hurried {
			_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.cfg.Stall))
		}
		c.mu.Unlock()
		n, err := c.nc.Write(b[:min(len(b), writePiece)])
		if err != nil {
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				return transport.ErrStalled
			}
			return transport.ErrGone
		}
		b = b[n:]
	}
	return nil
}

// write is the session's outlet until it ends.
func (c *socket) write() {
	s := c.session
	b := c.srv.batch()
	for {
		s.gather(b, false)
		b.out = c.appendPong(b.out)
		for i := range b.packets {
			b.out = appendFrame(b.out, s, b.packets[i])
		}
		if len(b.out) > 0 {
			s.busy.Store(true)
			err := c.put(b.out)
			s.busy.Store(false)
			if err != nil {
				s.end(err)
				return
			}
			s.wrote(b, len(b.out))
			s.conn.Bytes.Add(uint64(len(b.out)))
			c.srv.deliveredBytes.Add(float64(len(b.out)))
			b.reset()
			if s.over() {
				c.srv.putBatch(b)
				return
			}
			continue // there may be more
		}
		c.srv.putBatch(b) // an idle socket holds none
		select {
		case <-s.wake:
		case <-s.ended:
			return
		case <-c.read:
			s.end(transport.ErrGone)
			return
		}
		b = c.srv.batch()
	}
}

// appendFrame appends a packet as a frame.
func appendFrame(dst []byte, s *Session, p packet.Packet) []byte {
	if p.Binary && !s.base64 || !p.Binary {
		n, op := len(p.Data), frame.Binary
		switch {
		case !p.Binary:
			n, op = n+1, frame.Text
		case s.version == packet.V3:
			n++
		}
		dst = frame.AppendHeader(dst, op, true, n)
		dst, _ = packet.AppendFrame(dst, s.version, s.base64, p)
		return dst
	}
	text, _ := packet.AppendFrame(nil, s.version, s.base64, p)
	return frame.Append(dst, frame.Text, text)
}

func (c *socket) appendPong(dst []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pong != nil {
		dst = frame.Append(dst, frame.Pong, c.pong)
		c.pong = nil
	}
	return dst
}

// goodbye writes the close frame and waits a little for the peer's.
func (c *socket) goodbye() {
	c.hurry()
	code, reason := c.ending()
	if c.put(frame.AppendClose(nil, code, reason)) != nil {
		return
	}
	wait := time.NewTimer(min(time.Second, c.srv.cfg.CloseWait))
	defer wait.Stop()
	select {
	case <-c.drained:
	case <-wait.C:
	}
}

// ending is what the close frame says.
func (c *socket) ending() (frame.Code, string) {
	c.mu.Lock()
	code := c.code
	c.mu.Unlock()
	if code != frame.NoStatus || !c.session.over() {
		return code, ""
	}
	switch cause := c.session.cause; {
	case errors.Is(cause, transport.ErrDraining):
		return frame.Restart, "the server restarts; come back"
	case errors.Is(cause, transport.ErrKicked):
		return codeKicked, "closed by the operator"
	case errors.Is(cause, transport.ErrCredential):
		return codeCredential, "the credential ended"
	case errors.Is(cause, transport.ErrDomainEnded):
		return codeDomain, "the domain was deleted"
	}
	return frame.NoStatus, ""
}

// readAll takes what the peer sends. What comes after the end is known is
// thrown away, until the peer closes: else it would be answered with a reset,
// which could overtake our close frame.
func (c *socket) readAll(initial []byte, probe bool) {
	defer close(c.drained)
	in := intake{socket: c, probe: probe, decoder: frame.NewDecoder(c.srv.cfg.MaxPayload)}
	defer in.finish()
	in.take(initial)
	buf := make([]byte, readBuffer)
	for !in.closed {
		n, err := c.nc.Read(buf)
		in.take(buf[:n])
		if err != nil {
			return
		}
	}
}
