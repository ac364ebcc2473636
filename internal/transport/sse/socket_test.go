package sse_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
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

// taking is a kernel of sockets that take so many bytes at first, and more only
// once they are watched; it keeps what it was given to write.
type taking struct {
	wire.Kernel
	first int

	mu      sync.Mutex
	written [][]byte
	watched bool
}

func (k *taking) Write(fd int, p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.watched && len(k.written) > 0 {
		return 0, wire.ErrAgain
	}
	k.written = append(k.written, bytes.Clone(p))
	if k.watched {
		return k.Kernel.Write(fd, p)
	}
	return k.Kernel.Write(fd, p[:min(k.first, len(p))])
}

func (k *taking) Watch(fd int, data uint64) error {
	k.mu.Lock()
	k.watched = true
	k.mu.Unlock()
	return k.Kernel.Watch(fd, data)
}

type onTaking struct {
	driver
	kernel *taking
}

func (d onTaking) Handler(e *transporttest.Env) transporttest.Handler {
	engine, err := wire.New(wire.Config{Loops: 1, Kernel: func() (k wire.Kernel, err error) {
		d.kernel.Kernel, err = transporttest.NewKernel()
		return d.kernel, err
	}})
	if err != nil {
		e.T.Fatal(err)
	}
	e.T.Cleanup(func() { _ = engine.Close() })
	return sse.New(sse.Config{Hub: e.Hub, Wire: engine, Metrics: e.Metrics}).Serve
}

// Who comes back gets the head, the preamble and what it missed in one write;
// wherever the socket takes no more, the stream is the same.
func TestFirstWrite(t *testing.T) {
	comeBack := func(t *testing.T, first int) (whole int) {
		synctest.Test(t, func(t *testing.T) {
			k := &taking{first: first}
			e := transporttest.NewEnv(t, onTaking{kernel: k}, 0)
			e.Publish("a", "one", "two")
			conn, err := e.Dial(transporttest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, "GET /?topic=a&since=earliest HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(resp, err)
			}
			synctest.Wait()
			e.Publish("a", "three")
			var said strings.Builder
			for !strings.Contains(said.String(), "data: three\n") {
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatalf("%v after %q", err, said.String())
				}
				said.WriteString(line)
			}
			data := slices.DeleteFunc(strings.Split(said.String(), "\n"), func(line string) bool { return !strings.HasPrefix(line, "data: ") })
			if want := []string{"data: one", "data: two", "data: three"}; !slices.Equal(data, want) || strings.Count(said.String(), "retry: ") != 1 {
				t.Errorf("first %d bytes: got %q", first, said.String())
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			whole = len(k.written[0])
			if first >= whole && len(k.written) != 2 {
				t.Errorf("%d writes for what was missed and a message: %q", len(k.written), k.written)
			}
		})
		return whole
	}
	whole := comeBack(t, 1<<20)
	for first := 1; first < whole; first += 7 {
		comeBack(t, first)
	}
}
