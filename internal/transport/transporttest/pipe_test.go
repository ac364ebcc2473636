package transporttest

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// The connections in memory behave as sockets do, or the scenarios say
// nothing.
func TestConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		defer func() { _ = n.Close() }()
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := n.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- c
		}()
		client, err := n.dial(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		server := <-accepted

		// It takes a buffer without a reader, then waits until its deadline.
		_ = server.SetWriteDeadline(time.Now().Add(time.Minute))
		began := time.Now()
		wrote, err := server.Write(make([]byte, 100_000))
		if took := time.Since(began); wrote != socketBuffer || !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Minute {
			t.Fatalf("wrote %d, %v after %v", wrote, err, took)
		}
		// A deadline that moves while a write waits counts.
		_ = server.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = server.SetWriteDeadline(time.Now().Add(time.Second)) })
		if _, err = server.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		_ = server.SetWriteDeadline(time.Time{})

		var got bytes.Buffer
		go func() {
			_, _ = server.Write(bytes.Repeat([]byte{2}, 200_000))
			_ = server.Close()
		}()
		if _, err := io.Copy(&got, client); err != nil || got.Len() != socketBuffer+200_000 {
			t.Fatalf("read %d, %v", got.Len(), err)
		}
		if !bytes.Equal(got.Bytes()[socketBuffer:], bytes.Repeat([]byte{2}, 200_000)) {
			t.Fatal("other bytes than were written")
		}
		if _, err := client.Write([]byte{1}); err == nil {
			t.Fatal("the peer is gone")
		}
		_ = client.SetReadDeadline(time.Now().Add(-time.Second))
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

func TestConnRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		defer func() { _ = n.Close() }()
		go func() {
			c, _ := n.Accept()
			_, _ = c.Write(make([]byte, 10_000))
			_ = c.Close()
		}()
		client, err := n.dial(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if got, err := io.ReadAll(client); err != nil || len(got) != 10_000 {
			t.Fatal(len(got), err)
		}
		if took := time.Since(began).Round(time.Second); took != 10*time.Second {
			t.Errorf("10,000 bytes at 1,000 a second took %v", took)
		}
	})
}
