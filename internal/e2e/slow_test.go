package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crier/client"
)

// drip is a connection that can be read a byte a second.
type drip struct {
	net.Conn
	*tap
}

// tap opens and closes drips.
type tap struct {
	slow  atomic.Bool
	quick chan struct{} // closed when they are quick again, for good
	drops atomic.Int64  // bytes that were read slowly
}

func (d drip) Read(p []byte) (int, error) {
	if !d.slow.Load() {
		return d.Conn.Read(p)
	}
	select {
	case <-d.quick:
		return d.Conn.Read(p)
	case <-time.After(time.Second):
	}
	n, err := d.Conn.Read(p[:1])
	d.drops.Add(int64(n))
	return n, err
}

// client makes a client with connections of which little is under way.
func (t *tap) client() *http.Client {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
		return drip{conn, t}, nil
	}
	return &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
}

// Subscribers that read a byte a second have everybody else get thousands of
// messages, and get them too, all and in order, when they read on.
func TestSlowReaderSlowsNobody(t *testing.T) {
	t.Parallel()
	const batches, each, size = 6, 1000, 1500 // more than sockets hold
	s := startServer(t, "--drain", "0s")
	address := s.api + "/t/main/news"
	slow := &tap{quick: make(chan struct{})}
	slowStream := listen(t, slow.client(), address)
	slowSocket := open(t, slow.client(), address)
	first, _ := slowStream.next(t) // the preamble
	if first.Retry == "" {
		t.Fatalf("the stream begins with %+v", first)
	}
	slow.slow.Store(true)

	stream, socket := listen(t, web(), address), open(t, web(), address)
	c := s.dial(t)
	lines := make(chan error, 1)
	go func() {
		lines <- readLines(t.Context(), c, batches*each)
	}()
	// Not the connections: one of them may not have its place in the log yet.
	eventually(t, "five subscriptions", func() bool { return s.metric(t, "crier_subscriptions") == 5 })
	published := make(chan error, 1)
	go func() {
		published <- publishNumbers(t.Context(), c, batches, each, size)
	}()

	checkStream(t, stream, batches*each)
	checkSocket(t, socket, batches*each)
	for what, err := range map[string]error{"publishing": first2(receive(t, published)), "reading lines": first2(receive(t, lines))} {
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	if dripped := slow.drops.Load(); dripped > batches*each {
		t.Errorf("the slow readers took %d bytes: they were not slow", dripped)
	}
	behind := 0
	for _, conn := range s.connections(t) {
		if conn.Lag > 0 {
			behind++
		}
	}
	if behind != 2 {
		t.Errorf("%d connections are behind, want the two slow ones: %+v", behind, s.connections(t))
	}

	close(slow.quick)
	checkStream(t, slowStream, batches*each)
	checkSocket(t, slowSocket, batches*each)
}

func first2(err error, _ bool) error { return err }

// number is a message of this test: its number, and padding.
func numberOf(data string) (n int) {
	_, _ = fmt.Sscanf(data, `"%d `, &n) // 0 is none
	return n
}

func publishNumbers(ctx context.Context, c *client.Client, batches, each, size int) error {
	padding := strings.Repeat("x", size)
	for b := range batches {
		messages := make([]json.RawMessage, each)
		for i := range messages {
			messages[i] = fmt.Appendf(nil, `"%d %s"`, b*each+i+1, padding)
		}
		if _, err := c.PublishBatch(ctx, client.Batch{Topic: "news", Messages: messages}); err != nil {
			return err
		}
	}
	return nil
}

func readLines(ctx context.Context, c *client.Client, n int) error {
	want := 0
	for m, err := range c.Subscribe(ctx, client.SubscribeOptions{Topics: []string{"news"}}) {
		if err != nil {
			return err
		}
		if want++; numberOf(string(m.Data)) != want {
			return fmt.Errorf("message %s is number %d, want %d", m.ID, numberOf(string(m.Data)), want)
		}
		if want == n {
			return nil
		}
	}
	return ctx.Err()
}

func checkStream(t *testing.T, s *sse, n int) {
	t.Helper()
	for want := 1; want <= n; want++ {
		if b := s.event(t); numberOf(b.Data) != want {
			t.Fatalf("event %.60q (%s), want number %d", b.Data, b.Event, want)
		}
	}
}

func checkSocket(t *testing.T, s *socket, n int) {
	t.Helper()
	for want := 1; want <= n; want++ {
		if f := s.next(t); numberOf(f.data) != want {
			t.Fatalf("frame %.60q (%d %s), want number %d", f.data, f.code, f.reason, want)
		}
	}
}
