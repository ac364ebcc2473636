package websocket_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/transport/transporttest"
	"crier/internal/transport/websocket"
	"crier/internal/wire"
)

// bubble runs a test in fake time: with goroutines for each socket, and on
// the wire.
func bubble(t *testing.T, cfg websocket.Config, test func(t *testing.T, s *site)) {
	t.Helper()
	t.Run("goroutines", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, newSite(t, cfg)) })
	})
	t.Run("wire", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cfg := cfg
			var err error
			if cfg.Wire, err = wire.New(wire.Config{Kernel: transporttest.NewKernel}); err != nil {
				t.Fatal(err)
			}
			test(t, newSite(t, cfg))
		})
	})
}

func TestRawDelivers(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		s.say("a", "before")
		p := s.connect("/a", "")
		s.say("b", "not for it")
		s.put(
			message.Draft{Topic: "a", Data: []byte("text"), ContentType: "text/plain"},
			message.Draft{Topic: "a", Data: []byte{0xff, 0}, ContentType: "image/png", Binary: true},
			message.Draft{Topic: "a", Data: []byte{}, ContentType: "text/plain"},
			message.Draft{Topic: "a", Data: []byte(strings.Repeat("x", 70_000)), ContentType: "text/plain"},
		)
		p.expect("1 text", "2 \xff\x00", "1 ", "1 "+strings.Repeat("x", 70_000))

		all := s.connect("/**?since=earliest", "")
		all.expect("1 before", "1 not for it", "1 text")
		enveloped := s.connect("/b?since=earliest&envelope=json", "")
		var e struct{ Topic, Data string }
		if err := json.Unmarshal([]byte(enveloped.next()[2:]), &e); err != nil || e.Topic != "b" || e.Data != "not for it" {
			t.Errorf("%+v, %v", e, err)
		}
	})
}

func TestRawPublishes(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a/b?since=last:0", "", text("early"))
		p.send(text("one"), client(ws.OpBinary, true, "\xff"), client(ws.OpText, false, "in "), client(ws.OpPing, true, "p"), client(ws.OpContinuation, true, "parts"), text(""))
		var got []string
		for range 6 {
			got = append(got, p.next())
		}
		slices.Sort(got)
		if want := []string{"1 ", "1 early", "1 in parts", "1 one", "2 \xff", "a p"}; !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
		if got, want := s.history(), []string{"a/b early", "a/b one", "b a/b \xff", "a/b in parts", "a/b "}; !slices.Equal(got, want) {
			t.Errorf("the log has %q, want %q", got, want)
		}
		synctest.Wait()
		if n := s.table.List("", 1, nil)[0].Received.Load(); n != 5 {
			t.Errorf("%d messages counted", n)
		}
	})
}

// What was sent before a close frame is published before it is answered.
func TestRawPublishesBeforeItCloses(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		s.publish = func(context.Context, websocket.Publication) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		}
		p := s.connect("/a?topic=a", "")
		var frames []string
		for i := range 200 {
			frames = append(frames, text(fmt.Sprint(i)))
		}
		go p.send(append(frames, closing(1000, "done"))...)
		if reason := p.closed(1000); reason != "" {
			t.Errorf("reason %q", reason)
		}
		if got := s.history(); len(got) != 200 || got[199] != "a 199" {
			t.Errorf("%d messages in the log", len(got))
		}
		if s.ended("done") != 1 {
			t.Error("not counted as done")
		}
	})
}

func TestRawRefusesToPublish(t *testing.T) {
	for _, tt := range []struct {
		name, target string
		err          error
		code         int
		reason       string
	}{
		{"pattern", "/a/*", nil, 1008, "not one topic"},
		{"two topics", "/a?topic=b", nil, 1008, "not one topic"},
		{"no grant", "/a", problem.Forbidden("no grant to publish to a"), 1008, "no grant to publish to a"},
		{"bad", "/a", problem.BadRequest("bad"), 1008, "bad"},
		{"too big", "/a", problem.TooLarge("over the limit of 10 bytes"), 1009, "over the limit of 10 bytes"},
		{"too fast", "/a", problem.TooMany("slower", time.Second), 1013, "slower"},
		{"engine away", "/a", problem.Unavailable("later", time.Second), 1013, "later"},
		{"engine's own words", "/a", fmt.Errorf("append: %w: secret path", engine.ErrUnavailable), 1013, "the log cannot serve now; try again"},
		{"broken", "/a", errors.New("secret path"), 1011, "log"},
		{"long reason", "/a", problem.Forbidden(strings.Repeat("é", 100)), 1008, strings.Repeat("é", 61)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
				s.publish = func(context.Context, websocket.Publication) error { return tt.err }
				p := s.connect(tt.target, "")
				p.send(text("x"), text("y"))
				if reason := p.closed(tt.code); !strings.Contains(reason, tt.reason) {
					t.Errorf("reason %q, want %q", reason, tt.reason)
				}
				if got := s.history(); len(got) != 0 {
					t.Errorf("the log has %q", got)
				}
				if s.ended("refused") != 1 {
					t.Error("not counted as refused")
				}
			})
		})
	}
}

func TestRawGap(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		first := s.say("a", "1", "2", "3")
		if err := s.domain.Forget(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		s.say("a", "4")
		for _, tt := range []struct {
			name, since, last, after string
			reason                   message.Reason
		}{
			{"deleted", first.First.String(), "", first.First.String(), message.Deleted},
			{"epoch", "00000001000000000000ffff", "", "00000001000000000000ffff", message.NewEpoch},
			{"unreadable", "", `what"is` + "\u2028" + strings.Repeat("ü", 200), `what"is`, message.NewEpoch},
		} {
			r := request("/a?since="+tt.since, "")
			if tt.last != "" {
				r.Header.Set("Last-Event-ID", tt.last)
			}
			reason := s.connectBy(r).closed(4001)
			var g message.Gap
			if err := json.Unmarshal([]byte(reason), &g); err != nil {
				t.Errorf("%s: %q: %v", tt.name, reason, err)
			}
			if !strings.HasPrefix(g.After, tt.after) || g.Reason != tt.reason || g.Resumed.IsZero() || len(reason) > 123 {
				t.Errorf("%s: %s", tt.name, reason)
			}
			// The way on: from where the gap says. There the next may be, as
			// for one who begins with the oldest that is left.
			next := s.connect("/a?since="+g.Resumed.String(), "").next()
			if g.Reason == message.NewEpoch && strings.HasPrefix(next, "8 4001 ") {
				if err := json.Unmarshal([]byte(next[len("8 4001 "):]), &g); err != nil {
					t.Fatal(err)
				}
				next = s.connect("/a?since="+g.Resumed.String(), "").next()
			}
			if next != "1 4" {
				t.Errorf("%s: after the gap: %q", tt.name, next)
			}
		}
		if s.ended("gap") != 3 { // the others are yet to answer
			t.Errorf("%d ends counted as gaps", s.ended("gap"))
		}
	})
}

func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cause error
		code  int
		label string
	}{
		{"drain", transport.ErrDraining, 1012, "draining"},
		{"kicked", transport.ErrKicked, 4003, "kicked"},
		{"credential", fmt.Errorf("%w: %w", transport.ErrCredential, errors.New("key revoked")), 4002, "credential"},
		{"domain", transport.ErrDomainEnded, 4004, "domain"},
		{"too many", transport.ErrTooMany, 1013, "lost"},
	} {
		for _, protocol := range []string{"", websocket.Protocol} {
			t.Run(tt.name+" "+protocol, func(t *testing.T) {
				bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
					p := s.connect("/a", protocol)
					s.table.List("", 1, nil)[0].End(tt.cause)
					if reason := p.closed(tt.code); strings.Contains(reason, "revoked") {
						t.Errorf("reason %q says too much", reason)
					}
					if s.ended(tt.label) != 1 {
						t.Errorf("not counted as %s", tt.label)
					}
				})
			})
		}
	}
}

func TestHubCloses(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a", "")
		go func() { _ = s.hub.Close() }()
		p.closed(1012)
	})
}

// A subscription that cannot begin is told before the connection is a socket.
func TestRefusedBeforeTheHandshake(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		for _, protocol := range []string{"", websocket.Protocol} {
			_ = s.hub.Close()
			if p := s.connect("/a", protocol); !strings.HasPrefix(p.fault, "503 ") {
				t.Errorf("answered %q", p.fault)
			}
		}
		if p := s.connect("/secret/a", ""); !strings.HasPrefix(p.fault, "403 ") {
			t.Errorf("answered %q", p.fault)
		}
	})
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name     string
		change   func(r *http.Request)
		status   int // 0: good
		protocol string
	}{
		{"good", func(*http.Request) {}, 0, ""},
		{"tokens in lists", func(r *http.Request) {
			r.Header["Connection"] = []string{"keep-alive, upgrade"}
			r.Header["Upgrade"] = []string{"h2c, WebSocket"}
		}, 0, ""},
		{"extensions are not agreed on", func(r *http.Request) {
			r.Header.Set("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
		}, 0, ""},
		{"subprotocol", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "crier.v1.json") }, 0, "crier.v1.json"},
		{"subprotocol among others", func(r *http.Request) {
			r.Header["Sec-Websocket-Protocol"] = []string{"mqtt , graphql-ws", "crier.v1.json,x"}
		}, 0, "crier.v1.json"},
		{"other subprotocols", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "mqtt, crier.v2.json") }, 400, ""},
		{"subprotocol in capitals", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Protocol", "Crier.V1.JSON") }, 400, ""},
		{"version 8", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Version", "8") }, 426, ""},
		{"two versions", func(r *http.Request) { r.Header["Sec-Websocket-Version"] = []string{"13", "8"} }, 426, ""},
		{"no version", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Version") }, 426, ""},
		{"no key", func(r *http.Request) { r.Header.Del("Sec-WebSocket-Key") }, 400, ""},
		{"two keys", func(r *http.Request) { r.Header.Add("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==") }, 400, ""},
		{"short key", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZQ==") }, 400, ""},
		{"key not base64", func(r *http.Request) { r.Header.Set("Sec-WebSocket-Key", "not base64 at all, no no") }, 400, ""},
		{"POST", func(r *http.Request) { r.Method = "POST" }, 405, ""},
		{"body", func(r *http.Request) { r.ContentLength = 5 }, 400, ""},
		{"chunked body", func(r *http.Request) { r.ContentLength = -1 }, 400, ""},
		{"HTTP/2", func(r *http.Request) { r.ProtoMajor = 2 }, 400, ""},
		{"no Upgrade", func(r *http.Request) { r.Header.Del("Upgrade") }, 400, ""},
		{"no Connection", func(r *http.Request) { r.Header.Set("Connection", "close") }, 400, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := request("/a", "")
			tt.change(r)
			h, err := websocket.Check(r)
			if tt.status == 0 {
				if err != nil || h.Protocol != tt.protocol {
					t.Errorf("%+v, %v", h, err)
				}
				return
			}
			fault, ok := errors.AsType[*websocket.HandshakeError](err)
			if !ok || fault.Status != tt.status || fault.Detail == "" {
				t.Fatalf("%v, want status %d", err, tt.status)
			}
			if tt.status == 426 && fault.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("header %v", fault.Header)
			}
		})
	}
}
