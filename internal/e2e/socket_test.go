package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// frame is what a WebSocket got: data, or in the end why it was closed.
type frame struct {
	binary bool
	data   string
	code   websocket.StatusCode // -1: not closed by a close frame
	reason string
	end    bool
}

// socket is a WebSocket that is being read.
type socket struct {
	conn   *websocket.Conn
	frames chan frame // closed after the end
}

// open opens a WebSocket at an address of http or https.
func open(t *testing.T, c *http.Client, address string, protocols ...string) *socket {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	conn, resp, err := websocket.Dial(ctx, strings.Replace(address, "http", "ws", 1), &websocket.DialOptions{HTTPClient: c, Subprotocols: protocols})
	if err != nil {
		cancel()
		said := ""
		if resp != nil && resp.Body != nil {
			said = drained(resp.Body)
		}
		t.Fatalf("open %s: %v %s", address, err, said)
	}
	conn.SetReadLimit(4 << 20)
	s := &socket{conn: conn, frames: make(chan frame, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(s.frames)
		for {
			kind, data, err := conn.Read(ctx)
			f := frame{binary: kind == websocket.MessageBinary, data: string(data)}
			if err != nil {
				f = frame{end: true, code: websocket.CloseStatus(err), reason: err.Error()}
			}
			select {
			case s.frames <- f:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		conn.CloseNow()
		<-done
	})
	return s
}

// next waits for the next frame.
func (s *socket) next(t *testing.T) frame {
	t.Helper()
	f, ok := receive(t, s.frames)
	if !ok {
		t.Fatal("the socket has ended already")
	}
	return f
}

// closing skips messages and gives the end.
func (s *socket) closing(t *testing.T) frame {
	t.Helper()
	for {
		if f := s.next(t); f.end {
			return f
		}
	}
}

// say sends a text frame.
func (s *socket) say(t *testing.T, v any) {
	t.Helper()
	text, isText := v.(string)
	if !isText {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	if err := s.conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}
