package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// epoll is a Kernel. Its descriptor, which is readable when one that it
// watches is, is in Go's own epoll set: a goroutine that waits is parked
// there, no thread is locked up in epoll_wait and no processor held, so that
// the collector is never kept waiting.
//
// Calls that cannot block are made raw, without telling Go's scheduler. The
// race detector sees neither them nor that adding a descriptor happens before
// the first event on it: sockets have locks of their own for that.
type epoll struct {
	fd     int // its lowest descriptor; valid while file is open
	file   *os.File
	conn   syscall.RawConn
	raw    []unix.EpollEvent
	closed atomic.Bool
}

func newKernel() (Kernel, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that os.NewFile puts it in the poller
		_ = unix.Close(fd)
		return nil, fmt.Errorf("epoll: %w", err)
	}
	k := &epoll{fd: fd, file: os.NewFile(uintptr(fd), "epoll"), raw: make([]unix.EpollEvent, waitEvents)}
	if k.conn, err = k.file.SyscallConn(); err != nil {
		_ = k.file.Close()
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return k, nil
}

// Adopt implements [Kernel]. Closing a net.Conn does not shut the connection
// down while a duplicate of its descriptor lives.
func (k *epoll) Adopt(nc net.Conn) (int, error) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return 0, fmt.Errorf("%w: %T", ErrUnsupported, nc)
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	fd, dupErr := -1, error(nil)
	if err := rc.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return 0, err
	}
	if dupErr != nil {
		return 0, fmt.Errorf("duplicate the descriptor: %w", dupErr)
	}
	_ = tcp.Close()
	return fd, nil
}

// Watch implements [Kernel].
func (k *epoll) Watch(fd int, data uint64) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff, Fd: int32(uint32(data)), Pad: int32(uint32(data >> 32))}
	if err := unix.EpollCtl(k.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Wait implements [Kernel].
func (k *epoll) Wait(events []Event) (n int, err error) {
	raw := k.raw[:min(len(events), len(k.raw))]
	var errno syscall.Errno
	err = k.conn.Read(func(fd uintptr) bool {
		for {
			r, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&raw[0])), uintptr(len(raw)), 0, 0, 0)
			if e == unix.EINTR {
				continue
			}
			n, errno = int(r), e
			return e != 0 || n > 0
		}
	})
	switch {
	case err != nil && (k.closed.Load() || errors.Is(err, os.ErrClosed)):
		return 0, ErrClosed
	case err != nil:
		return 0, fmt.Errorf("wait for sockets: %w", err)
	case errno != 0:
		return 0, fmt.Errorf("epoll_wait: %w", errno)
	}
	for i, ev := range raw[:n] {
		events[i] = Event{
			Data:     uint64(uint32(ev.Fd)) | uint64(uint32(ev.Pad))<<32,
			Readable: ev.Events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
			Ended:    ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0,
			Writable: ev.Events&unix.EPOLLOUT != 0,
		}
	}
	return n, nil
}

// Read implements [Kernel].
func (k *epoll) Read(fd int, p []byte) (int, error) {
	n, err := rawIO(unix.SYS_READ, fd, p)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// Write implements [Kernel].
func (k *epoll) Write(fd int, p []byte) (int, error) { return rawIO(unix.SYS_WRITE, fd, p) }

// rawIO makes a call on a descriptor that does not block; p is not empty. Go
// ignores SIGPIPE on descriptors other than standard output and error.
func rawIO(call uintptr, fd int, p []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, ErrAgain
		default:
			return 0, errno
		}
	}
}

// CloseWrite implements [Kernel].
func (k *epoll) CloseWrite(fd int) error { return unix.Shutdown(fd, unix.SHUT_WR) }

// Release implements [Kernel].
func (k *epoll) Release(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	// It may not be watched yet.
	if err := unix.EpollCtl(k.fd, unix.EPOLL_CTL_DEL, fd, nil); err != nil && err != unix.ENOENT {
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	return net.FileConn(f) // has a duplicate
}

// CloseFD implements [Kernel]; the descriptor leaves the set by itself.
func (k *epoll) CloseFD(fd int) { _ = unix.Close(fd) }

// Close implements [Kernel].
func (k *epoll) Close() error {
	k.closed.Store(true)
	return k.file.Close()
}
