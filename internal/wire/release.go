package wire

import (
	"fmt"
	"net"
)

// Release gives the connection to whoever serves it in another way, and closes
// the socket: the handler is not called again. What is read of the connection
// begins with read, which was read of the socket already and is the
// connection's from then on. After an error the connection is closed.
func (s *Socket) Release(read []byte) (*Released, error) {
	if s.fd < 0 {
		return nil, ErrClosed
	}
	fd := int(s.fd)
	s.leave()
	nc, err := s.loop.kernel.Release(fd)
	if err != nil {
		return nil, fmt.Errorf("give a connection back: %w", err)
	}
	return &Released{Conn: nc, read: read}, nil
}

// Released is a connection that was on the wire. It can come back: Adopt takes
// it, also as a part of another net.Conn.
type Released struct {
	net.Conn
	read []byte // of it already
}

// Read implements [net.Conn]; it is called by one goroutine at a time.
func (r *Released) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}

// inside gives the connection without what was read of it.
func (r *Released) inside() (nc net.Conn, read []byte) { return r.Conn, r.read }
