package sse_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"crier/internal/transport/sse"
	"crier/internal/transport/transporttest"
	"crier/internal/wire"
)

// shout opens a stream whose client can say more.
func shout(t *testing.T, e *transporttest.Env) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := e.Dial(transporttest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "GET /?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	return conn, in
}

// A peer may say a little, which nobody hears; one that goes on is cut off.
func TestBabble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := transporttest.NewEnv(t, driver{wire: true}, 0)
		little, hears := shout(t, e)
		much, rest := shout(t, e)
		if _, err := io.WriteString(little, strings.Repeat("GET / HTTP/1.1\r\n\r\n", 1000)); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := much.Write(make([]byte, 10_000)); err != nil {
				break
			}
			synctest.Wait()
		}
		_, _ = io.Copy(io.Discard, rest)
		if n := e.Ended("protocol"); n != 1 || e.Table.Len() != 1 {
			t.Errorf("%d ended for what they said, %d are left; want 1 and 1", n, e.Table.Len())
		}
		e.Publish("a", "hello")
		for {
			line, err := hears.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if line == "data: hello\n" {
				return
			}
		}
	})
}

// withoutDescriptors has a wire that cannot take connections over.
type withoutDescriptors struct {
	driver
	log *strings.Builder
}

type refusing struct{ wire.Kernel }

func (refusing) Adopt(net.Conn) (int, error) {
	return 0, fmt.Errorf("duplicate the descriptor: %w", syscall.EMFILE)
}

func (d withoutDescriptors) Handler(e *transporttest.Env) transporttest.Handler {
	engine, err := wire.New(wire.Config{Kernel: func() (wire.Kernel, error) {
		k, err := transporttest.NewKernel()
		return refusing{k}, err
	}})
	if err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() { _ = engine.Close() })
	return sse.New(sse.Config{Hub: e.Hub, Wire: engine, Metrics: e.Metrics, Logger: slog.New(slog.NewTextHandler(d.log, nil))}).Serve
}

// Connections that cannot be taken over are closed, which an EventSource
// understands; they are counted, and the log has one line for all.
func TestCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		e := transporttest.NewEnv(t, withoutDescriptors{log: &log}, 0)
		for range 5 {
			conn, err := e.Dial(transporttest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "GET /?topic=a HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if said, err := io.ReadAll(conn); err != nil || len(said) > 0 {
				t.Errorf("got %q, %v", said, err)
			}
			_ = conn.Close()
		}
		synctest.Wait()
		var m dto.Metric
		if err := e.Metrics.Refused.WithLabelValues("descriptors").Write(&m); err != nil {
			t.Fatal(err)
		}
		if n := m.Counter.GetValue(); n != 5 {
			t.Errorf("%v counted", n)
		}
		if n := strings.Count(log.String(), "too many open files"); n != 1 {
			t.Errorf("%d lines: %s", n, &log)
		}
		if e.Table.Len()+e.Domain.Subscriptions() > 0 {
			t.Error("something is left of them")
		}
		time.Sleep(time.Minute)
	})
}
