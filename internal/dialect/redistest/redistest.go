// Package redistest gives tests a real Redis, and a way to take it away. It is
// for tests only.
package redistest

import (
	"cmp"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// usual is where a Redis is, unless CRIER_REDIS says otherwise.
const usual = "redis://127.0.0.1:6379"

// patience is for a Redis that is being started.
const patience = 20 * time.Second

// Addr gives the address of a Redis, HOST:PORT: the one of the environment,
// the usual one of this machine, or one that is started for the time of the
// test. Others may use it too. If there is none the test is skipped, or fails
// where there has to be one.
func Addr(t *testing.T) string {
	t.Helper()
	addr := strings.TrimPrefix(cmp.Or(os.Getenv("CRIER_REDIS"), usual), "redis://")
	if answers(addr) {
		return addr
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("no Redis answers at " + addr + ", and there is no redis-server to start")
		}
		t.Skip("no Redis answers at " + addr + ", and there is no redis-server to start")
	}
	for range 5 { // somebody else may take the port that was free
		if addr := start(t, program); addr != "" {
			return addr
		}
	}
	t.Fatal("redis-server did not start")
	return ""
}

// start runs a Redis of the test's own; empty: it ended at once.
func start(t *testing.T, program string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	late := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !answers(addr) {
		select {
		case <-tick.C:
		case <-ended:
			return ""
		case <-late:
			t.Fatalf("redis-server does not answer within %v", patience)
		}
	}
	return addr
}

func answers(addr string) bool {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(nc, "PING\r\n")
	b := make([]byte, len("+PONG\r\n"))
	_, err = io.ReadFull(nc, b)
	return err == nil && string(b) == "+PONG\r\n"
}
