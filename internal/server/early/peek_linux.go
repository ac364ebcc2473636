package early

import (
	"net"

	"golang.org/x/sys/unix"
)

// peek reads what has come of a connection, which stays in it. It does not wait.
func peek(c *net.TCPConn, p []byte) (n int) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	_ = rc.Control(func(fd uintptr) {
		for {
			var err error
			if n, _, err = unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT); err != unix.EINTR {
				return
			}
		}
	})
	return max(n, 0)
}
