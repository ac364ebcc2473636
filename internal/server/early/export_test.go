package early

import (
	"net"
	"net/http"
)

// For tests of what is taken.
var (
	Shape = shape
	Plain = plain
)

// Peek shows what has come of a connection.
func Peek(c net.Conn) string {
	var p [2 * maxHead]byte
	return string(p[:peek(c.(*net.TCPConn), p[:])])
}

// Prefix is what [Shape] is asked with.
const Prefix = "/t/"

var _ http.Hijacker = (*response)(nil)
