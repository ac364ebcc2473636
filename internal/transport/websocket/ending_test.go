package websocket_test

import (
	"context"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/transport/websocket"
)

// Whatever ends a socket, it is closed as soon as its peer has answered the
// close frame: a client waits for that.
func TestClosedOnceAnswered(t *testing.T) {
	kick := func(s *site, _ *peer) { s.table.List("", 1, nil)[0].End(transport.ErrKicked) }
	send := func(frames ...string) func(*site, *peer) {
		return func(_ *site, p *peer) { p.send(frames...) }
	}
	for _, tt := range []struct {
		name, target, protocol string
		ends                   func(s *site, p *peer)
		code                   int
	}{
		{"kicked, raw", "/a", "", kick, 4003},
		{"kicked, session", "/a", websocket.Protocol, kick, 4003},
		{"publish that fails", "/a", "", send(text("x")), 1008},
		{"publish that is not granted", "/a/*", "", send(text("x")), 1008},
		{"binary to a session", "/a", websocket.Protocol, send(client(ws.OpBinary, true, "x")), 1003},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
				s.publish = func(context.Context, websocket.Publication) error { return problem.Forbidden("no") }
				p := s.connect(tt.target, tt.protocol)
				if tt.protocol != "" {
					p.next() // that it is subscribed
				}
				tt.ends(s, p)
				began := time.Now()
				p.closed(tt.code)
				if took := time.Since(began); took > 0 {
					t.Errorf("closed %v after the peer's answer", took)
				}
			})
		})
	}
}
