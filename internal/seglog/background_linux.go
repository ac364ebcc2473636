//go:build amd64 || arm64

package seglog

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// newBackground: where writes may be unseen, syncs may be made in the
// background.
func newBackground(u *unseen) *background {
	if u == nil {
		return nil
	}
	return &background{now: time.Now}
}

// ring is a context of the kernel's asynchronous I/O for one operation at a
// time, and a descriptor, in Go's own poller, that is readable when it has
// ended. Of none of its calls the scheduler is told; none of them waits.
type ring struct {
	context uintptr
	bell    *os.File
	conn    syscall.RawConn
	bellFD  uint32
	op      operation
	ended   event
	failed  syscall.Errno // the kernel does not say how it ended
	count   [8]byte       // what is read off the bell
}

// operation is struct iocb of linux/aio_abi.h on machines that are little
// endian.
type operation struct {
	_      uint64 // data, that the event has again
	_      uint32 // key
	_      uint32 // rw_flags
	opcode uint16
	_      int16 // priority
	fd     uint32
	_      uint64 // buf
	_      uint64 // nbytes
	_      int64  // offset
	_      uint64
	flags  uint32
	bell   uint32
}

// event is struct io_event.
type event struct {
	_, _   uint64 // data, and the operation
	result int64
	_      int64
}

// Of linux/aio_abi.h; the kernel syncs so since 4.18.
const (
	opDatasync = 3
	rings      = 1 // the bell, when the operation has ended
)

func newRing() (*ring, error) {
	r := &ring{}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	r.bellFD, r.bell = uint32(fd), os.NewFile(uintptr(fd), "bell")
	if r.conn, err = r.bell.SyscallConn(); err == nil {
		err = r.bell.SetReadDeadline(time.Time{}) // an error if it is not in the poller
	}
	if err != nil {
		return nil, errors.Join(err, r.bell.Close())
	}
	if _, _, errno := syscall.RawSyscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&r.context)), 0); errno != 0 {
		return nil, errors.Join(fmt.Errorf("io_setup: %w", errno), r.bell.Close())
	}
	return r, nil
}

// datasync is fdatasync(2) of a file, which stays open meanwhile. done is false
// if the kernel did not take it on.
func (r *ring) datasync(fd int) (done bool, err error) {
	r.op = operation{opcode: opDatasync, fd: uint32(fd), flags: rings, bell: r.bellFD}
	op := &r.op
	if _, _, errno := syscall.RawSyscall(unix.SYS_IO_SUBMIT, r.context, 1, uintptr(unsafe.Pointer(&op))); errno != 0 {
		return false, nil
	}
	r.failed = 0
	if err := r.conn.Read(func(uintptr) bool { return r.take() }); err != nil {
		// Not to be done again: a second sync would not tell what went wrong
		// with the first.
		return true, fmt.Errorf("wait for the sync: %w", err)
	}
	return true, r.outcome()
}

// outcome is how the operation ended.
func (r *ring) outcome() error {
	switch {
	case r.failed != 0:
		return fmt.Errorf("io_getevents: %w", r.failed)
	case r.ended.result < 0:
		return syscall.Errno(-r.ended.result)
	}
	return nil
}

// take takes the operation's end off the ring, and reports whether it has
// come. It is on the ring before the bell is rung.
func (r *ring) take() bool {
	// What the bell says does not matter, only that it is silent again before
	// the ring is looked at.
	_, _, _ = syscall.RawSyscall(unix.SYS_READ, uintptr(r.bellFD), uintptr(unsafe.Pointer(&r.count[0])), uintptr(len(r.count)))
	var now unix.Timespec
	n, _, errno := syscall.RawSyscall6(unix.SYS_IO_GETEVENTS, r.context, 0, 1,
		uintptr(unsafe.Pointer(&r.ended)), uintptr(unsafe.Pointer(&now)), 0)
	if errno != 0 && errno != unix.EINTR {
		r.failed = errno
		return true
	}
	return errno == 0 && n == 1
}

// close gives the context back; nothing is under way.
func (r *ring) close() error {
	var err error
	if _, _, errno := syscall.RawSyscall(unix.SYS_IO_DESTROY, r.context, 0, 0); errno != 0 {
		err = fmt.Errorf("io_destroy: %w", errno)
	}
	return errors.Join(err, r.bell.Close())
}
