package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"crier/internal/server/early"
)

// Connections have the options that they have with package net's own way.
func TestAcceptedOptions(t *testing.T) {
	options := map[string][2]int{
		"TCP_NODELAY":   {unix.IPPROTO_TCP, unix.TCP_NODELAY},
		"SO_KEEPALIVE":  {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		"TCP_KEEPIDLE":  {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		"TCP_KEEPINTVL": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
		"TCP_KEEPCNT":   {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
	}
	accepted := func(listen func(ctx context.Context, addr string) (net.Listener, error)) map[string]int {
		l, err := listen(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		rc, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		if err := rc.Control(func(fd uintptr) {
			for name, o := range options {
				v, err := unix.GetsockoptInt(int(fd), o[0], o[1])
				if err != nil {
					t.Error(name, err)
				}
				got[name] = v
			}
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := accepted(func(ctx context.Context, addr string) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", addr)
	})
	got := accepted(func(ctx context.Context, addr string) (net.Listener, error) { return listenTCP(ctx, addr, true) })
	for name := range options {
		if got[name] != want[name] || got[name] == 0 {
			t.Errorf("%s is %d, package net sets %d", name, got[name], want[name])
		}
	}
}

// A connection is told of when its request is there: then it can be taken by
// who looks at once and does not wait.
func TestListenWhole(t *testing.T) {
	l, err := listenTCP(t.Context(), "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan string, 1)
	s := early.New(early.Config{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { served <- r.URL.Path }),
		Return:  func(c net.Conn) { t.Errorf("%v was returned", c.RemoteAddr()) },
	})
	defer s.Close(context.Background())
	for range 50 {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan bool)
		go func() {
			c, err := l.Accept()
			accepted <- err == nil && s.Take(c)
		}()
		if _, err := io.WriteString(client, "GET /t/main/a HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if !<-accepted {
			t.Fatal("it was not there when its connection was accepted")
		}
		if got := <-served; got != "/t/main/a" {
			t.Fatal(got)
		}
		_ = client.Close()
	}
}
