package limit_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"crier/internal/bench/limit"
)

// start runs the limit for a test and gives its address.
func start(t *testing.T, cfg limit.Config) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- limit.Run(ctx, cfg, func(a string) { address <- strings.TrimPrefix(a, "http://") }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return <-address
}

// talk is a connection to the limit.
type talk struct {
	net.Conn
	in *bufio.Reader
	t  *testing.T
}

func dial(t *testing.T, address string) talk {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return talk{c, bufio.NewReader(c), t}
}

func (c talk) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

// hear reads up to and with a text and returns what stands before it.
func (c talk) hear(until string) string {
	c.t.Helper()
	var got []byte
	for !strings.HasSuffix(string(got), until) {
		b, err := c.in.ReadSlice(until[len(until)-1])
		if got = append(got, b...); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			c.t.Fatalf("after %.100q: %v", got, err)
		}
	}
	return strings.TrimSuffix(string(got), until)
}

func (c talk) post(path, body string) {
	c.t.Helper()
	c.say("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	if head := c.hear(`"durability":""}`); !strings.HasPrefix(head, "HTTP/1.1 201 ") {
		c.t.Fatalf("answered %q", head)
	}
}

func TestWrites(t *testing.T) {
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprint("together ", together), func(t *testing.T) {
			address := start(t, limit.Config{Together: together})
			events, lines, socket, other := dial(t, address), dial(t, address), dial(t, address), dial(t, address)
			events.say("GET /t/main/a HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n")
			lines.say("GET /t/main/a HTTP/1.1\r\nAccept: application/x-ndjson\r\n\r\n")
			socket.say("GET /t/main/a HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
			other.say("GET /t/main/b HTTP/1.1\r\n\r\n")
			gone := dial(t, address)
			gone.say("GET /t/main/a HTTP/1.1\r\n\r\n")
			for _, c := range []talk{events, lines, other, gone} {
				if head := c.hear("\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
					t.Errorf("answered %q", head)
				}
			}
			if head := socket.hear("\r\n\r\n"); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
				t.Errorf("answered %q", head)
			}
			_ = gone.Close()
			from := dial(t, address)
			from.post("/t/main/a", "hello")
			from.post("/t/main/b", "there")
			from.post("/t/main/a?batch", "\"one\"\n\"two\"\n")
			for _, want := range []string{"hello", `"one"`, `"two"`} {
				if got := events.hear("\n\n"); !strings.HasSuffix(got, "\ndata: "+want) {
					t.Errorf("an event %q, want %s", got, want)
				}
				if got := lines.hear("}\n"); !strings.HasSuffix(got, `"data":"`+strings.Trim(want, `"`)+`"`) {
					t.Errorf("a line %q, want %s", got, want)
				}
				if got := socket.hear(want); got != fmt.Sprintf("\x81%c", len(want)) {
					t.Errorf("a frame begins with %q", got)
				}
			}
			if got := other.hear("\n\n"); !strings.HasSuffix(got, "\ndata: there") {
				t.Errorf("on the other topic %q", got)
			}
		})
	}
}

// A block comes as often as it was asked for, and then what is new.
func TestBlock(t *testing.T) {
	address := start(t, limit.Config{})
	from, to := dial(t, address), dial(t, address)
	text := strings.Repeat("x", 100_000)
	from.say("PUT /block HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s\nend\n", len(text)+5, text)
	from.hear(`"durability":""}`)
	to.say("GET /t/main/a?times=50 HTTP/1.1\r\n\r\n") // far more than a socket holds
	to.hear("\r\n\r\n")
	for i := range 50 {
		if got := to.hear("\n\n"); !strings.HasSuffix(got, "data: "+text) {
			t.Fatalf("block %d begins %.60q", i, got)
		}
		if got := to.hear("\n\n"); !strings.HasSuffix(got, "data: end") {
			t.Fatalf("block %d ends %.60q", i, got)
		}
	}
	from.post("/t/main/a", "new")
	if got := to.hear("\n\n"); !strings.HasSuffix(got, "data: new") {
		t.Errorf("then %.60q", got)
	}
}

// Each frame of a WebSocket that asks for a protocol is answered.
func TestFrames(t *testing.T) {
	c := dial(t, start(t, limit.Config{}))
	c.say("GET /t/main HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: crier.v1.json\r\n\r\n")
	c.hear("\r\n\r\n")
	c.say("\x81\x82\x00\x00\x00\x00hi\x81\xfe\x00\x82\x00\x00\x00\x00%130s\x81", "")
	for range 2 {
		c.hear(`{"type":"published"`)
	}
	c.say("\x80\x00\x00\x00\x00")
	c.hear(`{"type":"published"`)
	other := dial(t, c.RemoteAddr().String())
	other.say("no request\r\n\r\n")
	if b, err := io.ReadAll(other); err != nil && !strings.Contains(err.Error(), "reset") || len(b) > 0 {
		t.Errorf("to what is no request it said %q, %v", b, err)
	}
}
