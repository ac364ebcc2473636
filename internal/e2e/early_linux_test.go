package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestFastListen: event streams and WebSockets are served in both ways alike, with what they
// missed and what comes, and refused alike.
func TestFastListen(t *testing.T) {
	const streams = 40
	var refusals []string
	for _, tt := range []struct {
		flag  string
		early bool
	}{{"--fast-listen=true", true}, {"--fast-listen=false", false}} {
		t.Run(tt.flag, func(t *testing.T) {
			s := startServer(t, tt.flag)
			c := s.dial(t)
			first := publish(t, c, "a", "1")
			publish(t, c, "a", "2")
			subs := make([]*sse, streams)
			for i := range subs {
				subs[i] = listen(t, web(), s.api+"/t/main/a", "Last-Event-ID", first.ID)
			}
			ws := open(t, web(), s.api+"/t/main/a?last_event_id="+first.ID)
			publish(t, c, "a", "3")
			for _, want := range []string{"2", "3"} {
				if got := ws.next(t); got.data != want {
					t.Fatalf("the WebSocket has %+v, want %s", got, want)
				}
			}
			for i, sub := range subs {
				for _, want := range []string{"2", "3"} {
					if got := sub.event(t); !strings.Contains(got.Data, want) {
						t.Fatalf("stream %d has %+v, want %s", i, got, want)
					}
				}
			}
			if n := s.metric(t, "crier_handshakes_early_total"); tt.early && n < streams+1 {
				t.Errorf("%v of %d were let in with their request", n, streams+1)
			}
			refused := ask(t, "GET", s.api+"/t/nosuch/a", "", "Accept", "text/event-stream")
			for _, differs := range []string{"Date", "Connection", "Content-Length"} {
				refused.header.Del(differs)
			}
			refusals = append(refusals, fmt.Sprint(refused.status, refused.header, refused.body))
		})
	}
	if refusals[0] != refusals[1] || !strings.HasPrefix(refusals[0], "404") {
		t.Errorf("refused with\n%s\nand\n%s", refusals[0], refusals[1])
	}
}
