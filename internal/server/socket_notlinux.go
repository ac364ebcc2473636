//go:build !linux

package server

import (
	"context"
	"net"
)

// listenTCP leaves all to package net.
func listenTCP(ctx context.Context, addr string, _ bool) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", addr)
}
