package server

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What package net sets on every connection that it accepts.
const (
	keepAliveIdle     = 15 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveCount    = 9
)

// listenTCP opens a listener whose connections have keep-alive as package net
// sets it: here they inherit it from the listener, which spares four calls of
// the system for each. A system that does not let a listener have it (one of
// MPTCP on an older kernel) leaves it to package net.
//
// With whole, the system tells of a connection when its first bytes are there,
// or after about a second without (TCP_DEFER_ACCEPT, tcp(7)); where it can't, as
// soon as it is open.
func listenTCP(ctx context.Context, addr string, whole bool) (net.Listener, error) {
	var refused error
	cfg := net.ListenConfig{
		KeepAlive: -1, // by package net, for each
		Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				refused = errors.Join(refused, keepAlive(int(fd)))
				if whole {
					_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1)
				}
			})
		},
	}
	l, err := cfg.Listen(ctx, "tcp", addr)
	if err != nil || refused == nil {
		return l, err
	}
	_ = l.Close() // nobody was let in
	return new(net.ListenConfig).Listen(ctx, "tcp", addr)
}

func keepAlive(fd int) error {
	for _, o := range []struct{ level, option, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAliveIdle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAliveInterval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveCount},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.option, o.value); err != nil {
			return err
		}
	}
	return nil
}
