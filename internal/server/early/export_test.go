package early

import (
	"net"
	"net/http"
	"time"
)

// For tests of what is taken.
var (
	Shape = shape
	Plain = plain
)

// Workers is how many requests are served at a time.
var Workers = workers

// Peek shows what has come of a connection.
func Peek(c net.Conn) string {
	var p [2 * maxHead]byte
	return string(p[:peek(c.(*net.TCPConn), p[:])])
}

// Await waits until so many bytes have come of a connection, and shows them.
func Await(c net.Conn, n int, patience time.Duration) (p string) {
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err.Error()
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	defer func() { _ = c.SetReadDeadline(time.Time{}) }()
	_ = rc.Read(func(uintptr) bool {
		p = Peek(c)
		return len(p) >= n
	})
	return p
}

// Prefix is what [Shape] is asked with.
const Prefix = "/t/"

var _ http.Hijacker = (*response)(nil)
