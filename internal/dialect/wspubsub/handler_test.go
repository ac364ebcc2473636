package wspubsub_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/access"
	"crier/internal/dialect/wspubsub"
	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/websocket"
)

// site is the dialect with all that it stands on, but for real sockets.
type site struct {
	t       testing.TB
	hub     *hub.Hub
	table   *transport.Table
	keys    *keys.Registry
	handler *wspubsub.Handler
	serving sync.WaitGroup
	stop    func()
}

func newSite(t testing.TB) *site {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	eng := memory.New(memory.Config{})
	h, err := hub.New(ctx, hub.Config{Engine: eng, Defaults: hub.Settings{Durability: engine.Memory}})
	must(err)
	a, err := access.New(ctx, access.Config{Registry: eng.Registry()})
	must(err)
	s := &site{t: t, hub: h, table: transport.NewTable(0, nil, nil), keys: &keys.Registry{Registry: eng.Registry()}}
	checker := keys.NewChecker(ctx, s.keys)
	topics, err := wspubsub.OpenTopics(ctx, wspubsub.TopicsConfig{Registry: eng.Registry(), Node: "a", Grace: grace})
	must(err)
	s.handler = wspubsub.New(wspubsub.Config{
		Hub: h, Access: a, Table: s.table, Keys: checker, Topics: topics, MaxMessage: 1000,
		Sockets: websocket.New(websocket.Config{Hub: h}),
	})
	s.stop = sync.OnceFunc(func() {
		topics.Freeze()
		over, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		if err := s.table.Drain(over, 0); err != nil {
			t.Error(err)
		}
		s.serving.Wait()
		topics.Close(over)
		checker.Close()
		a.Close()
		_ = h.Close()
		_ = eng.Close()
	})
	return s
}

// peer is a client that speaks frames over a connection in memory.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
}

type hijacker struct {
	*httptest.ResponseRecorder
	nc net.Conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.nc, bufio.NewReadWriter(bufio.NewReader(h.nc), bufio.NewWriter(h.nc)), nil
}

func request(path string) *http.Request {
	u, err := url.Parse(path)
	if err != nil {
		u = &url.URL{Path: path, RawPath: path}
	}
	return &http.Request{Method: "GET", URL: u, ProtoMajor: 1, ProtoMinor: 1, Host: "h", RemoteAddr: "192.0.2.1:1", Header: http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	}}
}

// connect opens a socket, which must be let in.
func (s *site) connect(path string) *peer {
	s.t.Helper()
	mine, theirs := net.Pipe()
	recorder := httptest.NewRecorder()
	r := request(path)
	s.serving.Go(func() {
		s.handler.ServeHTTP(&hijacker{recorder, theirs}, r.WithContext(context.Background()))
		_ = theirs.Close()
	})
	p := &peer{s.t, mine, bufio.NewReader(mine)}
	res, err := http.ReadResponse(p.r, r)
	if err != nil || res.StatusCode != 101 {
		s.t.Fatalf("%s: %d %s", path, recorder.Code, recorder.Body)
	}
	return p
}

func (p *peer) send(op ws.OpCode, payload string) {
	p.t.Helper()
	b, err := ws.CompileFrame(ws.MaskFrame(ws.NewFrame(op, true, []byte(payload))))
	if err != nil {
		p.t.Fatal(err)
	}
	_, _ = p.nc.Write(b)
}

// next reads a frame: "1 text", "2 bytes", "8 CODE reason", or "gone". Pings
// are passed over.
func (p *peer) next() string {
	p.t.Helper()
	for {
		h, err := ws.ReadHeader(p.r)
		if err != nil {
			return "gone"
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(p.r, payload); err != nil {
			return "gone"
		}
		switch h.OpCode {
		case ws.OpPing:
			p.send(ws.OpPong, "")
		case ws.OpClose:
			p.send(ws.OpClose, string(payload))
			return fmt.Sprintf("8 %d %s", binary.BigEndian.Uint16(payload), payload[2:])
		default:
			return fmt.Sprintf("%x %s", uint8(h.OpCode), payload)
		}
	}
}

func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.next(); got != w {
			p.t.Fatalf("got %.100q, want %q", got, w)
		}
	}
}

func (s *site) status(path string) int {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, request(path))
	return w.Code
}

// TestRevokedPublisher: revoking a key closes the publisher that is open, and
// its topic has its grace, in which another key takes it over.
func TestRevokedPublisher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.stop()
		key, secret, err := s.keys.Create(context.Background(), "test", "")
		if err != nil {
			t.Fatal(err)
		}
		_, second, err := s.keys.Create(context.Background(), "test", "")
		if err != nil {
			t.Fatal(err)
		}
		owner := s.connect("/ws/pub/" + secret + "/test/news")
		sub := s.connect("/ws/sub/test/news")
		time.Sleep(20 * time.Second)
		began := time.Now()
		if _, err := s.keys.Revoke(context.Background(), key.ID); err != nil {
			t.Fatal(err)
		}
		owner.expect("8 4002 the credential ended", "gone")
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v", d)
		}
		if got := s.status("/ws/pub/" + secret + "/test/news"); got != 403 {
			t.Errorf("the key that was revoked: %d", got)
		}
		time.Sleep(grace - time.Second)
		owner = s.connect("/ws/pub/" + second + "/test/news")
		owner.send(ws.OpText, "taken over")
		sub.expect("1 taken over")
		_ = owner.nc.Close()
		began = time.Now()
		sub.expect("8 1001 topic ended", "gone")
		if d := time.Since(began); d != grace {
			t.Errorf("the topic ended after %v", d)
		}
	})
}

// TestFrames: text and binary as they came, from whoever publishes to the
// topic; what is too long, and a gap, close a socket.
func TestFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		defer s.stop()
		_, secret, err := s.keys.Create(context.Background(), "a b", "")
		if err != nil {
			t.Fatal(err)
		}
		owner := s.connect("/ws/pub/" + secret + "/a%20b/x%2Fy")
		sub := s.connect("/ws/sub/a%20b/x%2Fy")
		owner.send(ws.OpText, "é")
		owner.send(ws.OpBinary, "\x00\xff")
		owner.send(ws.OpText, "")
		sub.expect("1 é", "2 \x00\xff", "1 ")
		d, err := s.hub.Domain("ws.c8687a08aa5d6ed2044328fa6a697ab8e96dc342")
		if err != nil {
			t.Fatal(err)
		}
		put := func() engine.Receipt {
			r, err := d.Publish(context.Background(), engine.Block{Drafts: []message.Draft{{Topic: "x~2Fy", Data: []byte("by another way"), ContentType: "text/plain"}}})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		put()
		sub.expect("1 by another way")
		if got := s.table.List("", 10, nil); len(got) != 2 || strings.Contains(got[0].Name+got[1].Name, secret) {
			t.Errorf("the listing has the secret, or %d connections", len(got))
		}
		owner.send(ws.OpText, strings.Repeat("x", 1001))
		owner.expect("8 1009 the message has 1001 bytes, the limit is 1000")
	})
}

// TestPaths: exactly these segments, decoded once.
func TestPaths(t *testing.T) {
	s := newSite(t)
	defer s.stop()
	for path, want := range map[string]int{
		"/ws/pub/k/d":     404,
		"/ws/pub/k/d/t/x": 404,
		"/ws/pub/k/d/":    404,
		"/ws/pub/k//t":    404,
		"/ws/pub//d/t":    404,
		"/ws/pub/k/d/t":   403,
		"/ws/sub/d":       404,
		"/ws/sub/d/t":     404,

		"/ws/pub/k/\xc3\xa4/a%2Fb": 403, // bytes that are not escaped change nothing of the others
	} {
		if got := s.status(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for path, want := range map[string]bool{
		"/ws": false, "/ws/": false, "/ws/pub": false, "/ws/pub/": true, "/ws/sub/x/y": true, "/ws/other": false, "/t/main/x": false,
	} {
		if got := s.handler.Serves(path); got != want {
			t.Errorf("%s is served: %v", path, got)
		}
	}
}

// FuzzPaths: whatever the path, it is refused with a reason.
func FuzzPaths(f *testing.F) {
	for _, path := range []string{"pub/k/d/t", "sub/d/t", "pub/%2F/%00/%ff", "sub/%zz/x", "pub////", "sub/~/.."} {
		f.Add(path)
	}
	s := newSite(f)
	f.Cleanup(s.stop)
	f.Fuzz(func(t *testing.T, path string) {
		path = "/ws/" + path
		if !s.handler.Serves(path) {
			t.Skip("a path of others")
		}
		if got := s.status(path); got != 400 && got != 403 && got != 404 {
			t.Errorf("%q: %d", path, got)
		}
	})
}
