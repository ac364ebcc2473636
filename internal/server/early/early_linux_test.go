package early_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crier/internal/server/early"
)

const stream = "Host: example.org:8080\r\nAccept: text/event-stream\r\n"

const handshake = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func get(target, headers string) string {
	return "GET " + target + " HTTP/1.1\r\n" + headers + "\r\n"
}

// requests with whether they are served here; else they are net/http's,
// untouched.
var requests = []struct {
	name, bytes string
	here        bool
}{
	{"an EventSource", get("/t/main/a", stream), true},
	{"with a cursor and more", get("/t/main/a/b?since=earliest&topic=x", stream+"Last-Event-ID: 6b0a768e50790000000022c8\r\nUser-Agent: x (y; z)\r\nCookie: a=b\r\nConnection: keep-alive\r\nAuthorization: Bearer abc\r\nOrigin: http://example.org\r\n"), true},
	{"a WebSocket", get("/t/main/a", handshake), true},
	{"as Firefox opens it", get("/t/main/a", strings.Replace(handshake, "Upgrade\r\n", "keep-alive, Upgrade\r\n", 1)+"Accept: */*\r\nSec-WebSocket-Protocol: crier.v1.json\r\n"), true},
	{"a WebSocket of another version", get("/t/main/a", strings.Replace(handshake, "13", "8", 1)), false},
	{"a WebSocket without a key", get("/t/main/a", "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"), false},
	{"a WebSocket that goes on at once", get("/t/main/a", handshake) + "\x81\x00", false},
	{"another protocol, or that", get("/t/main/a", handshake+"Upgrade: h2c\r\n"), false},
	{"that is refused", get("/t/main/refused", stream), true},
	{"that is answered without a body", get("/t/main/nothing", stream), true},
	{"that is answered at length", get("/t/main/long", stream), true},
	{"an IPv6 host", get("/t/main/a", "Host: [::1]:80\r\nAccept: text/event-stream\r\n"), true},
	{"another path", get("/u/main/a", stream), false},
	{"a post", "POST /t/main/a HTTP/1.1\r\n" + stream + "Content-Length: 0\r\n\r\n", false},
	{"a page", get("/t/main/a", "Host: h\r\nAccept: application/json\r\n"), false},
	{"any of two", get("/t/main/a", "Host: h\r\nAccept: text/event-stream, application/json\r\n"), false},
	{"two Accept headers", get("/t/main/a", stream+"Accept: text/event-stream\r\n"), false},
	{"no host", get("/t/main/a", "Accept: text/event-stream\r\n"), false},
	{"two hosts", get("/t/main/a", stream+"Host: b\r\n"), false},
	{"an empty host", get("/t/main/a", "Host:\r\nAccept: text/event-stream\r\n"), false},
	{"a strange host", get("/t/main/a", "Host: a/b\r\nAccept: text/event-stream\r\n"), false},
	{"an absolute target", get("http://h/t/main/a", stream), false},
	{"HTTP/1.0", "GET /t/main/a HTTP/1.0\r\n" + stream + "\r\n", false},
	{"HTTP/2.0", "GET /t/main/a HTTP/2.0\r\n" + stream + "\r\n", false},
	{"a body", get("/t/main/a", stream+"Content-Length: 2\r\n") + "{}", false},
	{"an empty body", get("/t/main/a", stream+"Content-Length: 0\r\n"), false},
	{"chunks", get("/t/main/a", stream+"Transfer-Encoding: chunked\r\n"), false},
	{"something behind", get("/t/main/a", stream) + "GET", false},
	{"a second one behind", get("/t/main/a", stream) + get("/t/main/b", stream), false},
	{"an upgrade", get("/t/main/a", stream+"Connection: Upgrade\r\nUpgrade: websocket\r\n"), false},
	{"the last one", get("/t/main/a", stream+"Connection: close\r\n"), true},
	{"two things of the connection", get("/t/main/a", stream+"Connection: keep-alive, Upgrade\r\n"), false},
	{"that expects", get("/t/main/a", stream+"Expect: 100-continue\r\n"), false},
	{"a line that goes on", get("/t/main/a", stream+"X-A: b\r\n c\r\n"), false},
	{"line feeds", strings.ReplaceAll(get("/t/main/a", stream), "\r\n", "\n"), false},
	{"one line feed", get("/t/main/a", stream+"X-A: b\nX-B: c\r\n"), false},
	{"a lonely carriage return", get("/t/main/a", stream+"X-A: b\rc\r\n"), false},
	{"a name with a space", get("/t/main/a", stream+"X-A : b\r\n"), false},
	{"no name", get("/t/main/a", stream+": b\r\n"), false},
	{"a null byte", get("/t/main/a\x00", stream), false},
	{"beyond ASCII", get("/t/main/ä", stream), false},
	{"badly escaped", get("/t/main/%zz", stream), false},
	{"two spaces", get("/t/main/a ", stream), false},
	{"a part", "GET /t/main/a HTTP/1.1\r\n" + stream, false},
	{"very long", get("/t/main/a", stream+"X-A: "+strings.Repeat("a", 4<<10)+"\r\n"), false},
	{"no request", "\r\n\r\n", false},
}

// handler streams, or refuses, and says what it saw.
func handler(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	w.Header().Set("Saw", fmt.Sprint(r.Method, r.RequestURI, r.Proto, r.Host, r.Header, r.ContentLength, r.Body == http.NoBody, r.TLS, r.Close, local != nil))
	switch r.URL.Path {
	case "/t/main/refused":
		http.Error(w, "no", http.StatusForbidden)
		return
	case "/t/main/nothing":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/t/main/long":
		_, _ = io.Copy(w, strings.NewReader(strings.Repeat("long ", 30_000)))
		return
	case "/t/main/panic":
		panic("as it happens")
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nSaw: "+w.Header().Get("Saw")+"\r\n\r\nstream")
}

func listener(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// open makes a connection on which a request has come.
func open(t *testing.T, l net.Listener, request string) (client, conn net.Conn) {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	if conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(client, request); err != nil {
		t.Fatal(err)
	}
	if got := early.Await(conn, len(request), 10*time.Second); got != request {
		t.Fatalf("it has not come: %q", got)
	}
	return client, conn
}

func answer(t *testing.T, client net.Conn) string {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := http.ParseTime(resp.Header.Get("Date")); err != nil && resp.StatusCode != http.StatusOK {
		t.Errorf("Date: %v", err)
	}
	for _, differs := range []string{"Date", "Connection", "Content-Length"} {
		resp.Header.Del(differs)
	}
	return fmt.Sprint(resp.Status, resp.Header, string(body))
}

// TestTake: what is taken is answered as net/http does, and nothing is done to
// what is not.
func TestTake(t *testing.T) {
	returned := make(chan net.Conn, 1)
	s := early.New(early.Config{Handler: http.HandlerFunc(handler), Prefix: early.Prefix, Return: func(c net.Conn) { returned <- c }})
	defer s.Close(context.Background())
	here := listener(t)
	there := listener(t)
	std := &http.Server{Handler: http.HandlerFunc(handler)}
	go func() { _ = std.Serve(there) }()
	defer std.Close()
	for _, tt := range requests {
		t.Run(tt.name, func(t *testing.T) {
			client, conn := open(t, here, tt.bytes)
			if taken := s.Take(conn); !tt.here {
				if taken {
					if back := <-returned; back != conn {
						t.Fatal("another connection was returned")
					}
				}
				if left := early.Peek(conn); left != tt.bytes {
					t.Fatalf("left %q", left)
				}
				return
			} else if !taken {
				t.Fatal("not taken")
			}
			same, err := net.Dial("tcp", there.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer same.Close()
			if _, err := io.WriteString(same, tt.bytes); err != nil {
				t.Fatal(err)
			}
			if got, want := answer(t, client), answer(t, same); got != want {
				t.Errorf("answered\n%.300s\nnet/http answers\n%.300s", got, want)
			}
			if n, err := client.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("it is not closed: %d, %v", n, err)
			}
		})
	}
}

// A handler that panics costs its own request only.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	s := early.New(early.Config{Handler: http.HandlerFunc(handler), Prefix: early.Prefix, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	l := listener(t)
	client, conn := open(t, l, get("/t/main/panic", stream))
	if !s.Take(conn) {
		t.Fatal("not taken")
	}
	if n, err := client.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("%d, %v", n, err)
	}
	client, conn = open(t, l, get("/t/main/a", stream))
	if !s.Take(conn) || !strings.Contains(answer(t, client), "stream") {
		t.Fatal("the next one is not served")
	}
	s.Close(t.Context())
	if !strings.Contains(log.String(), "as it happens") {
		t.Errorf("log %q", log.String())
	}
}

// Close serves what waits; what comes then is the caller's.
func TestClose(t *testing.T) {
	var served atomic.Int64
	begin := make(chan struct{})
	s := early.New(early.Config{Prefix: early.Prefix, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-begin
		served.Add(1)
	})})
	l := listener(t)
	const all = 60
	for range all {
		if _, conn := open(t, l, get("/t/main/a", stream)); !s.Take(conn) {
			t.Fatal("not taken")
		}
	}
	close(begin)
	s.Close(t.Context())
	if got := served.Load(); got != all {
		t.Errorf("%d of %d were served", got, all)
	}
	if _, conn := open(t, l, get("/t/main/a", stream)); s.Take(conn) {
		t.Error("taken after the end")
	}
	s.Close(t.Context())
}

// A request that would keep the server from ending ends with the time for that.
func TestCloseInTime(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	s := early.New(early.Config{Prefix: early.Prefix, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		ended <- r.Context().Err()
	})})
	if _, conn := open(t, listener(t), get("/t/main/a", stream)); !s.Take(conn) {
		t.Fatal("not taken")
	}
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Close(ctx)
	if err := <-ended; err == nil {
		t.Error("it ended by itself")
	}
}

// agree: what is taken is one whole request without a body, to net/http too.
func agree(t *testing.T, p []byte) {
	if !early.Shape(p, early.Prefix) {
		return
	}
	in := bufio.NewReader(bytes.NewReader(p))
	r, err := http.ReadRequest(in)
	if err != nil || !early.Plain(r) {
		return // it is returned
	}
	body, err := io.ReadAll(r.Body)
	if err != nil || len(body) > 0 || in.Buffered() > 0 {
		t.Errorf("%q: %d bytes of body, %d behind, %v", p, len(body), in.Buffered(), err)
	}
	if r.Method != http.MethodGet || r.Proto != "HTTP/1.1" || !strings.HasPrefix(r.RequestURI, early.Prefix) || r.Host == "" {
		t.Errorf("%q is read as %+v", p, r)
	}
	if n := bytes.Count(p, []byte("\r\n\r\n")); n != 1 {
		t.Errorf("%q has %d ends", p, n)
	}
}

// FuzzShape holds the look at the bytes to net/http's parser.
func FuzzShape(f *testing.F) {
	for _, tt := range requests {
		f.Add([]byte(tt.bytes))
	}
	f.Fuzz(agree)
}

// TestStale: while the handler cannot answer at once, say because the engine is
// away, nobody waits for all who came before: net/http has a goroutine for each.
func TestStale(t *testing.T) {
	var now atomic.Int64
	began, goOn := make(chan struct{}, 1000), make(chan struct{})
	returned := make(chan net.Conn, 1000)
	s := early.New(early.Config{
		Prefix: early.Prefix, Return: func(c net.Conn) { returned <- c },
		Now: func() time.Time { return time.Unix(now.Load(), 0) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began <- struct{}{}
			<-goOn
		}),
	})
	l := listener(t)
	workers := early.Workers()
	for range workers {
		if _, conn := open(t, l, get("/t/main/a", stream)); !s.Take(conn) {
			t.Fatal("not taken")
		}
		<-began
	}
	var late []net.Conn
	for range 3 {
		_, conn := open(t, l, get("/t/main/a", stream))
		if !s.Take(conn) {
			t.Fatal("not taken")
		}
		late = append(late, conn)
	}
	now.Add(60)
	goOn <- struct{}{} // one worker
	for _, want := range late {
		if got := <-returned; got != want {
			t.Error("another connection was returned")
		}
		if left := early.Peek(want); left != get("/t/main/a", stream) {
			t.Errorf("left %q", left)
		}
	}
	close(goOn)
	s.Close(t.Context())
	if n := len(began); n != 0 {
		t.Errorf("%d more were served", n)
	}
}
