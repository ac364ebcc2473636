package websocket

// readBuffer is what a socket is read into at a time.
const readBuffer = 4096

// reader is the reading goroutine of a socket, which waits for room itself.
type reader struct {
	*socket
	mode mode
}

func (r reader) submit(req request) bool { return r.socket.submit(r.mode, req) }

// read takes what the peer sends until the connection is closed. What comes
// after the end is known is thrown away, so that the peer's close frame is
// not answered with a reset that could overtake ours.
func (c *socket) read(m mode, initial []byte) {
	defer c.peerFinished()
	in := newIntake(c.srv, reader{c, m}, m)
	in.take(initial)
	buf := make([]byte, readBuffer)
	for {
		n, err := c.nc.Read(buf)
		if n > 0 {
			c.heard.Store(int64(c.age()))
			in.take(buf[:n])
		}
		if err != nil {
			c.end(lost)
			_ = c.nc.Close() // the writer ends
			return
		}
	}
}

// pongCame implements [hearer].
func (c *socket) pongCame() { c.ponged.Store(int64(c.age())) }

// pinged leaves the answer to a ping with the writer. Of several that it has
// not come to, the last is answered (RFC 6455, section 5.5.3).
func (c *socket) pinged(payload []byte) {
	pong := append(make([]byte, 0, len(payload)), payload...)
	c.mu.Lock()
	c.pong = pong
	c.mu.Unlock()
	c.waker.Wake()
}
