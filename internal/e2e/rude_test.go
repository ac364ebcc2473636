package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// rude is a peer of which the test writes every byte.
type rude struct {
	*net.TCPConn
	in *bufio.Reader
}

func (s *server) rude(t *testing.T) *rude {
	t.Helper()
	conn, err := net.Dial("tcp", hostPort(s.api))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &rude{conn.(*net.TCPConn), bufio.NewReader(conn)}
}

// says writes something.
func (r *rude) says(t *testing.T, what string) {
	t.Helper()
	if _, err := io.WriteString(r, what); err != nil {
		t.Fatal(err)
	}
}

// spells writes something, a byte at a time.
func (r *rude) spells(t *testing.T, what string) {
	t.Helper()
	_ = r.SetNoDelay(true)
	for i, b := range []byte(what) {
		r.says(t, string([]byte{b}))
		if i%10 == 0 { // all the pauses together are far below --head-timeout
			pause(t.Context(), time.Millisecond)
		}
	}
}

func (r *rude) response(t *testing.T) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(r.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// reset goes without a word.
func (r *rude) reset(t *testing.T) {
	t.Helper()
	if err := errors.Join(r.SetLinger(0), r.Close()); err != nil {
		t.Fatal(err)
	}
}

// endsSoon reads to the end, and gives what came before.
func (r *rude) endsSoon(t *testing.T) string {
	t.Helper()
	b, err := io.ReadAll(r.in)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Fatalf("the connection was not ended within %v", patience)
	}
	return string(b)
}

// code is that of the close frame at the end of what a WebSocket got.
func (r *rude) code(t *testing.T) ws.StatusCode {
	t.Helper()
	for {
		f, err := readFrame(r.in)
		if err != nil {
			t.Fatalf("no close frame: %v", err)
		}
		if f.Header.OpCode == ws.OpClose {
			code, _ := ws.ParseCloseFrameData(f.Payload)
			return code
		}
	}
}

const (
	asStream = "GET /t/main/news HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"
	asSocket = "GET /t/main/news HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

// begins makes a stream or a socket of the connection.
func (r *rude) begins(t *testing.T, request string) {
	t.Helper()
	r.says(t, request)
	want := http.StatusOK
	if request == asSocket {
		want = http.StatusSwitchingProtocols
	}
	if resp := r.response(t); resp.StatusCode != want {
		t.Fatalf("status %d, want %d", resp.StatusCode, want)
	}
}

func clientFrame(f ws.Frame) string {
	return string(ws.MustCompileFrame(ws.MaskFrameInPlace(f)))
}

// Peers that do what none should. Each is told or cut off as it has to be,
// and counted; whoever else listens does not notice.
func TestRudePeers(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--head-timeout", "1500ms", "--drain", "0s")
	topic := s.api + "/t/main/news"
	streams := []*sse{listen(t, web(), topic), listen(t, web(), topic)}
	sockets := []*socket{open(t, web(), topic), open(t, web(), topic)}
	eventually(t, "four connections", func() bool { return len(s.connections(t)) == 4 })
	files := s.metric(t, "process_open_fds")
	c := s.dial(t)
	ended := func(transport, reason string) string {
		return fmt.Sprintf("crier_connections_ended_total{reason=%q,transport=%q}", reason, transport)
	}
	for i, tt := range []struct {
		name   string
		do     func(t *testing.T, r *rude)
		metric string // that counts one more; empty: none does
	}{
		{"says nothing", func(t *testing.T, r *rude) { r.endsSoon(t) }, `crier_connections_refused_total{reason="slow"}`},
		{"never ends its request", func(t *testing.T, r *rude) {
			r.says(t, asStream[:len(asStream)-2])
			r.endsSoon(t)
		}, `crier_connections_refused_total{reason="slow"}`},
		{"says what is no HTTP", func(t *testing.T, r *rude) {
			r.says(t, "\x16\x03\x01 hello\r\n\r\n")
			if said := r.endsSoon(t); !strings.HasPrefix(said, "HTTP/1.1 400") {
				t.Errorf("it was told %q", said)
			}
		}, ""},
		{"has a head without end", func(t *testing.T, r *rude) {
			_, _ = io.WriteString(r, asStream[:len(asStream)-2]+"X: "+strings.Repeat("x", 1<<20))
			_ = r.CloseWrite()
			if said := r.endsSoon(t); said != "" && !strings.HasPrefix(said, "HTTP/1.1 431") {
				t.Errorf("it was told %q", said)
			}
		}, ""},
		{"stream: resets", func(t *testing.T, r *rude) {
			r.begins(t, asStream)
			r.reset(t)
		}, ended("sse", "lost")},
		{"stream: half-closes", func(t *testing.T, r *rude) {
			r.begins(t, asStream)
			_ = r.CloseWrite()
			r.endsSoon(t)
		}, ended("sse", "lost")},
		{"stream: talks", func(t *testing.T, r *rude) {
			r.begins(t, asStream)
			for {
				if _, err := r.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, ended("sse", "protocol")},
		{"stream: spells its request", func(t *testing.T, r *rude) {
			r.spells(t, asStream)
			if resp := r.response(t); resp.StatusCode != http.StatusOK {
				t.Errorf("status %d", resp.StatusCode)
			}
			r.reset(t)
		}, ended("sse", "lost")},
		{"socket: resets", func(t *testing.T, r *rude) {
			r.begins(t, asSocket)
			r.reset(t)
		}, ended("websocket", "lost")},
		{"socket: half-closes", func(t *testing.T, r *rude) {
			r.begins(t, asSocket)
			_ = r.CloseWrite()
			r.endsSoon(t)
		}, ended("websocket", "lost")},
		{"socket: says what is no frame", func(t *testing.T, r *rude) {
			r.begins(t, asSocket)
			r.says(t, "GET / HTTP/1.1\r\n\r\n")
			if code := r.code(t); code != ws.StatusProtocolError {
				t.Errorf("closed with %d", code)
			}
			r.endsSoon(t)
		}, ended("websocket", "protocol")},
		{"socket: announces too much", func(t *testing.T, r *rude) {
			r.begins(t, asSocket)
			r.says(t, "\x82\xff\x00\x00\x00\x10\x00\x00\x00\x00mask")
			if code := r.code(t); code != ws.StatusMessageTooBig {
				t.Errorf("closed with %d", code)
			}
			r.endsSoon(t)
		}, ended("websocket", "protocol")},
		{"socket: floods with pings", func(t *testing.T, r *rude) {
			r.begins(t, asSocket)
			flood := strings.Repeat(clientFrame(ws.NewPingFrame([]byte("x"))), 10_000)
			go func() { _, _ = io.WriteString(r, flood) }() // until it is cut off
			if code := r.code(t); code != ws.StatusPolicyViolation {
				t.Errorf("closed with %d", code)
			}
			r.endsSoon(t)
		}, ended("websocket", "protocol")},
		{"socket: spells a frame", func(t *testing.T, r *rude) {
			r.spells(t, asSocket)
			if resp := r.response(t); resp.StatusCode != http.StatusSwitchingProtocols {
				t.Errorf("status %d", resp.StatusCode)
			}
			r.spells(t, clientFrame(ws.NewPingFrame([]byte("slowly"))))
			if f, err := readFrame(r.in); err != nil || f.Header.OpCode != ws.OpPong || string(f.Payload) != "slowly" {
				t.Errorf("%+v, %v", f, err)
			}
			r.spells(t, clientFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, ""))))
			if code := r.code(t); code != ws.StatusNormalClosure {
				t.Errorf("closed with %d", code)
			}
			r.endsSoon(t)
		}, ended("websocket", "done")},
		{"socket: leaves a frame unfinished", func(t *testing.T, r *rude) {
			r.begins(t, asSocket)
			r.says(t, clientFrame(ws.NewTextFrame([]byte("never published")))[:10])
			r.reset(t)
		}, ended("websocket", "lost")},
	} {
		ok := t.Run(tt.name, func(t *testing.T) {
			before := 0.0
			if tt.metric != "" {
				before = s.metric(t, tt.metric)
			}
			tt.do(t, s.rude(t))
			if tt.metric != "" {
				s.counts(t, tt.metric, before+1)
			}
		})
		if !ok {
			return
		}
		text := fmt.Sprint("after ", i)
		publish(t, c, "news", text)
		for _, stream := range streams {
			if b := stream.event(t); b.Data != text {
				t.Fatalf("a stream got %q, want %q", b.Data, text)
			}
		}
		for _, socket := range sockets {
			if f := socket.next(t); f.data != text {
				t.Fatalf("a socket got %q (%d %s), want %q", f.data, f.code, f.reason, text)
			}
		}
	}
	if n := len(s.connections(t)); n != 4 {
		t.Errorf("%d connections are left, want 4", n)
	}
	c.CloseIdleConnections()
	eventually(t, "descriptors as before", func() bool { return s.metric(t, "process_open_fds") <= files+1 })
}

// readFrame reads a WebSocket frame of at most a MiB.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > 1<<20 {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}
