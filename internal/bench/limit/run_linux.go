package limit

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Run serves on a free port of the loopback address, which ready is told of,
// until the context ends.
func Run(ctx context.Context, cfg Config, ready func(address string)) error {
	l := &loop{cfg: cfg, in: make([]byte, 1<<20), topics: map[string]*topic{}}
	address, err := l.listen()
	if err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	defer l.release()
	ended := make(chan struct{})
	ring := context.AfterFunc(ctx, func() {
		_, _ = unix.Write(l.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it is written once
		close(ended)
	})
	ready(address)
	err = l.run()
	if !ring() {
		<-ended // the bell is to be open until it was rung
	}
	if err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	return nil
}

// loop is all there is of the process: one thread that waits and writes.
type loop struct {
	cfg      Config
	epoll    int
	listener int
	bell     int // an eventfd: the end
	in       []byte
	conns    []*conn // by descriptor; nil: none, or one who only listens
	places   []place // by descriptor
	topics   map[string]*topic
	block    [encodings][]byte
	frame    []byte
	news     []*topic // with something to write together
	ended    bool
}

// topic is who listens to a path.
type topic struct {
	listeners [encodings][]int32
	together  [encodings][]byte // what waits for them
}

// place says where a descriptor stands among those who listen.
type place struct {
	topic    *topic
	at       int32
	encoding encoding
}

func (l *loop) listen() (address string, err error) {
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return "", fmt.Errorf("epoll: %w", err)
	}
	if l.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return "", errors.Join(fmt.Errorf("eventfd: %w", err), unix.Close(l.epoll))
	}
	if l.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return "", errors.Join(fmt.Errorf("socket: %w", err), unix.Close(l.epoll), unix.Close(l.bell))
	}
	err = errors.Join(
		unix.Bind(l.listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}),
		unix.Listen(l.listener, 4096), l.watch(l.listener, unix.EPOLLIN), l.watch(l.bell, unix.EPOLLIN))
	var name unix.Sockaddr
	if err == nil {
		name, err = unix.Getsockname(l.listener)
	}
	if err != nil {
		l.release()
		return "", err
	}
	return fmt.Sprintf("http://127.0.0.1:%d", name.(*unix.SockaddrInet4).Port), nil
}

func (l *loop) release() {
	for fd, c := range l.conns {
		if c != nil || l.places[fd].topic != nil {
			_ = unix.Close(fd)
		}
	}
	_ = unix.Close(l.listener)
	_ = unix.Close(l.bell)
	_ = unix.Close(l.epoll)
}

func (l *loop) watch(fd int, events uint32) error {
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

func (l *loop) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 256)
	for !l.ended {
		n, err := unix.EpollWait(l.epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range events[:max(n, 0)] {
			switch fd := int(ev.Fd); fd {
			case l.bell:
				l.ended = true
			case l.listener:
				l.accept()
			default:
				l.event(fd, ev.Events)
			}
		}
		l.tell()
	}
	return nil
}

// accept takes all connections that wait.
func (l *loop) accept() {
	for {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return // EAGAIN, or one that is gone again; a lack of descriptors shows at the generator
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // slower without, and right
		for len(l.conns) <= fd {
			l.conns = append(l.conns, nil)
			l.places = append(l.places, place{})
		}
		l.conns[fd] = &conn{}
		if l.watch(fd, unix.EPOLLIN|unix.EPOLLRDHUP) != nil {
			l.close(fd)
		}
	}
}

func (l *loop) close(fd int) {
	if p := l.places[fd]; p.topic != nil {
		list := p.topic.listeners[p.encoding]
		last := list[len(list)-1]
		list[p.at] = last
		l.places[last].at = p.at
		p.topic.listeners[p.encoding] = list[:len(list)-1]
	}
	l.conns[fd], l.places[fd] = nil, place{}
	_ = unix.Close(fd)
}
