package websocket_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"

	"crier/internal/transport"
	"crier/internal/transport/websocket"
)

// server starts an HTTP server around a site, with or without TLS.
func (s *site) listen(secure bool) *httptest.Server {
	srv := httptest.NewUnstartedServer(s)
	if secure {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	s.t.Cleanup(srv.Close)
	return srv
}

func dial(t *testing.T, srv *httptest.Server, target string, protocols ...string) *coder.Conn {
	t.Helper()
	c, _, err := coder.Dial(t.Context(), srv.URL+target, &coder.DialOptions{HTTPClient: srv.Client(), Subprotocols: protocols})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// patient is a context for what should take no time.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Another library's client gets and sends what it should, through TLS too.
func TestOverTCP(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", secure), func(t *testing.T) {
			s := newSite(t, websocket.Config{})
			srv := s.listen(secure)
			ctx := patient(t)
			raw := dial(t, srv, "/a?since=earliest")
			session := dial(t, srv, "/", "crier.v1.json")
			if session.Subprotocol() != "crier.v1.json" || raw.Subprotocol() != "" {
				t.Errorf("subprotocols %q and %q", session.Subprotocol(), raw.Subprotocol())
			}
			for _, n := range []int{0, 1, 125, 126, 4096, 65535, 65536, 1 << 20} {
				sent := strings.Repeat("x", n)
				if err := raw.Write(ctx, coder.MessageBinary, []byte(sent)); err != nil {
					t.Fatal(err)
				}
				kind, got, err := raw.Read(ctx)
				if err != nil || kind != coder.MessageBinary || string(got) != sent {
					t.Fatalf("%d bytes: %d came back, %v, %v", n, len(got), kind, err)
				}
			}
			if err := session.Write(ctx, coder.MessageText, []byte(`{"type":"ping","ref":"1"}`)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := session.Read(ctx); err != nil || string(got) != `{"type":"pong","ref":"1"}` {
				t.Fatal(string(got), err)
			}
			reading := raw.CloseRead(ctx)
			if err := raw.Ping(reading); err != nil {
				t.Error(err)
			}
			if err := raw.Close(coder.StatusNormalClosure, "done"); err != nil {
				t.Error(err)
			}
			for _, c := range s.table.List("", 2, nil) { // raw may not have left it yet
				c.End(transport.ErrDraining)
			}
			if _, _, err := session.Read(ctx); coder.CloseStatus(err) != coder.StatusServiceRestart {
				t.Error(err)
			}
		})
	}
}

// A client that stops reading loses nothing, and nobody waits for it.
func TestOneThatDoesNotRead(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", secure), func(t *testing.T) {
			s := newSite(t, websocket.Config{})
			srv := s.listen(secure)
			ctx := patient(t)
			stopped, fast := dial(t, srv, "/a"), dial(t, srv, "/a")
			const n = 2500
			pad := strings.Repeat("x", 4000) // more than sockets hold
			go func() {
				for i := range n {
					s.say("a", fmt.Sprintf("%06d%s", i, pad))
				}
			}()
			for _, c := range []*coder.Conn{fast, stopped} {
				for i := range n {
					_, got, err := c.Read(ctx)
					if err != nil || len(got) < 6 || string(got[:6]) != fmt.Sprintf("%06d", i) {
						t.Fatalf("message %d: %.6q, %v", i, got, err)
					}
				}
			}
		})
	}
}

// A peer that closes its half of the connection, or all of it, is gone.
func TestHalfClose(t *testing.T) {
	s := newSite(t, websocket.Config{})
	srv := s.listen(false)
	for _, how := range []func(c *net.TCPConn){
		func(c *net.TCPConn) { _ = c.CloseWrite() },
		func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		nc, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = nc.Close() }()
		r := request("/a", "")
		r.URL.Host = r.Host
		if err := r.Write(nc); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, len("HTTP/1.1 101"))); err != nil {
			t.Fatal(err)
		}
		if s.table.Len() != 1 {
			t.Fatalf("%d connections", s.table.Len())
		}
		how(nc.(*net.TCPConn))
		s.serving.Wait()
		if s.table.Len() != 0 {
			t.Fatalf("%d connections", s.table.Len())
		}
	}
}

// A handshake that is refused is answered with a body, and the connection is
// still one of HTTP.
func TestRefusedOverTCP(t *testing.T) {
	s := newSite(t, websocket.Config{})
	srv := s.listen(false)
	r := request(srv.URL+"/a", "")
	r.Header.Set("Sec-WebSocket-Version", "12")
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusUpgradeRequired || res.Header.Get("Sec-WebSocket-Version") != "13" || len(body) == 0 {
		t.Errorf("%s %v %q", res.Status, res.Header, body)
	}
}

// HTTP/2 has no upgrade.
func TestNotOverHTTP2(t *testing.T) {
	s := newSite(t, websocket.Config{})
	srv := httptest.NewUnstartedServer(s)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{RootCAs: srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	}}
	defer client.CloseIdleConnections()
	res, err := client.Get(srv.URL + "/a")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusBadRequest {
		t.Errorf("%s %s", res.Proto, res.Status)
	}
}
