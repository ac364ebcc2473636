package websocket_test

import (
	"testing"

	"github.com/gobwas/ws"

	"crier/internal/transport/websocket"
)

// TestListener: what a peer sends is ignored, what it is told goes on.
func TestListener(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a?as=listener", "", text("ignored"))
		p.send(client(ws.OpBinary, true, "\xff"), text("ignored too"), client(ws.OpPing, true, "p"))
		p.expect("a p")
		s.say("a", "heard")
		p.expect("1 heard")
		if got := s.history(); len(got) != 1 {
			t.Errorf("the log has %q", got)
		}
		p.send(closing(1000, ""))
		p.closed(1000)
	})
}

// TestPublisher: a peer that is told nothing, not even what it says itself.
func TestPublisher(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a?as=publisher", "", text("one"))
		p.send(client(ws.OpBinary, true, "\xff"), client(ws.OpPing, true, "p"))
		p.expect("a p")
		p.send(closing(1000, ""))
		p.expect("8 1000 ")
		if got := s.history(); len(got) != 2 || got[0] != "a one" || got[1] != "b a \xff" {
			t.Errorf("the log has %q", got)
		}
		if n := s.domain.Subscriptions(); n != 0 {
			t.Errorf("%d subscriptions", n)
		}
	})
}

// TestClose: a connection that is ended with a code and a reason is closed
// with them.
func TestClose(t *testing.T) {
	for _, as := range []string{"listener", "publisher"} {
		bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
			p := s.connect("/a?as="+as, "")
			s.table.List("", 1, nil)[0].End(&websocket.Close{Code: 1001, Reason: "topic ended", Label: "topic"})
			if reason := p.closed(1001); reason != "topic ended" {
				t.Errorf("%s: reason %q", as, reason)
			}
			if s.ended("topic") != 1 {
				t.Errorf("%s: not counted", as)
			}
		})
	}
}
