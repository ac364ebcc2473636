package httpapi_test

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

	"crier/internal/access"
)

// client is a connection to the API on which requests are written by hand.
type client struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) dial() *client {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return &client{w.t, conn, bufio.NewReader(conn)}
}

// post begins a publish of which only a part is sent.
func (c *client) post(headers, part string) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, "POST /t/main/a HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n\r\n%s", headers, part); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) answer() answer {
	c.t.Helper()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// A client that does not go on sending is not waited for, and nothing of what
// it sent is published.
func TestBodyThatDoesNotCome(t *testing.T) {
	w := start(t, options{body: 20 * time.Millisecond})
	for _, tt := range []struct{ name, headers, part string }{
		{"nothing", "Content-Length: 10", ""},
		{"a part", "Content-Length: 10", "half"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := w.dial()
			c.post(tt.headers, tt.part)
			c.answer().want(t, 408, "request-timeout", "20ms")
			if _, err := c.in.ReadByte(); err != io.EOF {
				t.Errorf("the connection is still there: %v", err)
			}
		})
	}
	if p := w.page("/t/main/a"); len(p.Messages) != 0 {
		t.Fatalf("half a body was published: %+v", p)
	}
}

// Nor is it waited for where nobody wants to know what it sends.
func TestUnwantedBodyThatDoesNotCome(t *testing.T) {
	w := start(t, options{body: 20 * time.Millisecond})
	w.key(access.KeySpec{Domain: "main", Name: "closes", Publish: patterns(t, "**")})
	for _, tt := range []struct {
		headers string
		status  int
	}{
		{"Content-Length: 10", 401},
		{"Content-Length: 10\r\nAuthorization: Bearer x", 401},
		{"Content-Length: 99999999", 401},
	} {
		c := w.dial()
		c.post(tt.headers, "half")
		c.answer().want(t, tt.status)
		if _, err := c.in.ReadByte(); err != io.EOF {
			t.Errorf("%s: the connection is still there: %v", tt.headers, err)
		}
	}
}

// The time of one body is not that of the connection, nor of what is done
// with the body.
func TestBodyTimeEnds(t *testing.T) {
	w := start(t, options{body: 20 * time.Millisecond})
	c := w.dial()
	for range 2 {
		c.post("Content-Length: 4", "body")
		c.answer().want(t, 201)
		time.Sleep(60 * time.Millisecond) // a pause of the client's
	}
	time.AfterFunc(60*time.Millisecond, w.engine.hold())
	c.post("Content-Length: 4", "body")
	c.answer().want(t, 201)
}

func TestBodyCutShort(t *testing.T) {
	w := start(t, options{})
	req, err := http.NewRequestWithContext(t.Context(), "POST", w.url+"/t/main/a", io.MultiReader(strings.NewReader("half"), errReader{}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.DefaultTransport.RoundTrip(req); err == nil {
		t.Fatal("want the client's own error")
	}
	if p := w.page("/t/main/a"); len(p.Messages) != 0 {
		t.Fatalf("half a body was published: %+v", p)
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errors.New("cut") }
