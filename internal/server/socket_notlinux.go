//go:build !linux

package server

import (
	"context"
	"net"
)

// listenTCP leaves keep-alive to package net.
func listenTCP(ctx context.Context, addr string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, "tcp", addr)
}
