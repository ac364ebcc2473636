package bench

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start begins to connect and to read.
func (c *crowd) start() error {
	if c.server.url.Scheme != "http" || len(c.members) == 1 {
		c.startEach()
		return nil
	}
	addr, err := net.ResolveTCPAddr("tcp", c.server.addr)
	if err != nil {
		return err
	}
	n := min(c.loops, len(c.members))
	loops := make([]*crowdLoop, 0, n)
	for i := range n {
		l, err := newCrowdLoop(c, addr)
		if err != nil {
			for _, l := range loops {
				l.release()
			}
			return err
		}
		for j := i; j < len(c.members); j += n {
			l.conns = append(l.conns, crowdConn{member: c.members[j], fd: -1})
		}
		l.atOnce = max(c.atOnce/n, 1)
		loops = append(loops, l)
	}
	c.stop = func() {
		for _, l := range loops {
			l.end()
		}
	}
	for _, l := range loops {
		c.reading.Go(l.run)
	}
	return nil
}

// crowdLoop is a goroutine that reads its share of a crowd.
type crowdLoop struct {
	crowd   *crowd
	to      unix.Sockaddr
	family  int
	conns   []crowdConn
	begun   int // of the conns
	pending int // begun and not answered
	atOnce  int
	ep      int
	wake    int // an eventfd: the end
	ending  atomic.Bool
	buf     []byte
}

type crowdConn struct {
	member *member
	fd     int // -1: none, or no more
	made   bool
}

func newCrowdLoop(c *crowd, addr *net.TCPAddr) (*crowdLoop, error) {
	l := &crowdLoop{crowd: c, buf: make([]byte, readBuffer)}
	if ip := addr.IP.To4(); ip != nil || addr.IP == nil {
		to := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte{127, 0, 0, 1}}
		copy(to.Addr[:], ip)
		l.to, l.family = to, unix.AF_INET
	} else {
		to := &unix.SockaddrInet6{Port: addr.Port}
		copy(to.Addr[:], addr.IP.To16())
		l.to, l.family = to, unix.AF_INET6
	}
	var err error
	if l.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if l.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		_ = unix.Close(l.ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, l.wake, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}); err != nil {
		l.release()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return l, nil
}

func (l *crowdLoop) release() {
	_ = unix.Close(l.ep)
	_ = unix.Close(l.wake)
}

// end has run return.
func (l *crowdLoop) end() {
	l.ending.Store(true)
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it is written once
}

func (l *crowdLoop) run() {
	events := make([]unix.EpollEvent, 1024)
	for {
		for l.begun < len(l.conns) && l.pending < l.atOnce {
			l.begin(l.begun)
			l.begun++
		}
		n, err := unix.EpollWait(l.ep, events, -1)
		if l.ending.Load() || err != nil && !errors.Is(err, unix.EINTR) {
			break
		}
		for _, ev := range events[:max(n, 0)] {
			if ev.Fd >= 0 && l.conns[ev.Fd].fd >= 0 {
				l.event(int(ev.Fd), ev.Events)
			}
		}
		l.crowd.over()
	}
	for i := range l.conns {
		l.drop(i, net.ErrClosed)
	}
	l.release()
}

// begin begins to connect.
func (l *crowdLoop) begin(i int) {
	c := &l.conns[i]
	l.pending++
	fd, err := unix.Socket(l.family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		l.refused(i, fmt.Errorf("socket: %w", err))
		return
	}
	c.fd = fd
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // slower without, and right
	if err := unix.Connect(fd, l.to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		l.refused(i, fmt.Errorf("connect: %w", err))
		return
	}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: crowdEvents, Fd: int32(i)}); err != nil {
		l.refused(i, fmt.Errorf("epoll: %w", err))
	}
}

func (l *crowdLoop) refused(i int, err error) {
	if l.conns[i].fd < 0 {
		l.pending--
		l.crowd.left(l.conns[i].member, err)
		return
	}
	l.drop(i, err)
}

// drop ends a connection.
func (l *crowdLoop) drop(i int, err error) {
	c := &l.conns[i]
	if c.fd < 0 {
		if i >= l.begun {
			l.crowd.left(c.member, err)
		}
		return
	}
	if c.member.stream == nil {
		l.pending--
	}
	_ = unix.Close(c.fd)
	c.fd = -1
	l.crowd.left(c.member, err)
}

// crowdEvents are told when they come, not as long as they hold: so a socket
// that was read to its end is not looked at again.
const crowdEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff

func (l *crowdLoop) event(i int, events uint32) {
	if !l.conns[i].made {
		if err := l.made(i); err != nil {
			l.drop(i, err)
		}
		return
	}
	over := events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	for l.read(i, over) {
	}
}

// read reads what is there, and reports whether there may be more: what comes
// after a read that did not fill the buffer is told anew, but for the end.
func (l *crowdLoop) read(i int, over bool) (more bool) {
	c := &l.conns[i]
	n, err := unix.Read(c.fd, l.buf)
	switch {
	case errors.Is(err, unix.EINTR):
		return true
	case errors.Is(err, unix.EAGAIN):
		return false
	case err != nil:
		l.drop(i, fmt.Errorf("read: %w", err))
		return false
	case n == 0:
		l.drop(i, c.member.ended())
		return false
	}
	c.member.at = time.Now()
	answered, reply, err := c.member.feed(l.buf[:n])
	if answered {
		l.pending--
		l.crowd.heard()
	}
	if err == nil && reply != nil {
		_, err = unix.Write(c.fd, reply) // a few bytes, on a socket on which nothing else is written
	}
	if err != nil {
		l.drop(i, err)
		return false
	}
	return over || n == len(l.buf)
}

// made sends the request on a connection that is made.
func (l *crowdLoop) made(i int) error {
	c := &l.conns[i]
	errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = syscall.Errno(errno)
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	n, err := unix.Write(c.fd, c.member.request)
	if err != nil || n < len(c.member.request) {
		return fmt.Errorf("write the request: %d of %d bytes: %w", n, len(c.member.request), err)
	}
	c.made = true
	return nil
}
