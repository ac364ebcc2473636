package wire

import (
	"fmt"
	"net"
)

// Release gives the connection to whoever serves it in another way, and closes
// the socket: the handler is not called again. What is read of the net.Conn
// begins with read, which was read of the socket already and is the net.Conn's
// from then on. After an error the connection is closed.
func (s *Socket) Release(read []byte) (net.Conn, error) {
	if s.fd < 0 {
		return nil, ErrClosed
	}
	fd := int(s.fd)
	s.leave()
	nc, err := s.loop.kernel.Release(fd)
	if err != nil {
		return nil, fmt.Errorf("give a connection back: %w", err)
	}
	if len(read) == 0 {
		return nc, nil
	}
	return &returned{Conn: nc, rest: read}, nil
}

// returned is a connection of which something was read before.
type returned struct {
	net.Conn
	rest []byte
}

// Read implements [net.Conn]; it is called by one goroutine at a time.
func (r *returned) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil
	}
	return n, nil
}

// whole gives the connection alone, if nothing is left of what was read.
func (r *returned) whole() (net.Conn, bool) { return r.Conn, len(r.rest) == 0 }
