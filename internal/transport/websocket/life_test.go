package websocket_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/transport"
	"crier/internal/transport/websocket"
	"crier/internal/transport/websocket/frame"
)

// What a peer that breaks the rules is told, and what one that keeps them.
func TestProtocol(t *testing.T) {
	const (
		cont = ws.OpContinuation
		txt  = ws.OpText
		ping = ws.OpPing
	)
	many := func(n int, frame string) string { return strings.Repeat(frame, n) }
	for _, tt := range []struct {
		name, in string
		want     string // code and beginning of the reason
		label    string
	}{
		{"not masked", "\x81\x01a", "8 1002 a client's frame is not masked", "protocol"},
		{"RSV1", "\xc1\x81\x00\x00\x00\x00a", "8 1002 a reserved bit", "protocol"},
		{"opcode", "\x83\x80\x00\x00\x00\x00", "8 1002 a reserved opcode", "protocol"},
		{"length", "\x81\xfe\x00\x01\x00\x00\x00\x00a", "8 1002 a length", "protocol"},
		{"long ping", client(ping, true, strings.Repeat("x", 126)), "8 1002 a control frame", "protocol"},
		{"fragmented ping", client(ping, false, ""), "8 1002 a control frame", "protocol"},
		{"continuation", client(cont, true, "a"), "8 1002 a continuation", "protocol"},
		{"text in text", client(txt, false, "a") + text("b"), "8 1002 a new message", "protocol"},
		{"not UTF-8", text("\xff"), "8 1007 ", "protocol"},
		{"not UTF-8 in the first of several", client(txt, false, "\xed\xa0"), "8 1007 ", "protocol"},
		{"too big", client(ws.OpBinary, false, strings.Repeat("x", 1000)) + client(cont, true, strings.Repeat("x", 25)), "8 1009 ", "protocol"},
		{"ping flood", many(200, client(ping, true, "p")), "8 1008 too many control frames", "protocol"},
		{"pong flood", many(200, client(ws.OpPong, true, "")), "8 1008 too many control frames", "protocol"},
		{"flood of nothing", client(txt, false, "") + many(100, client(cont, false, "")), "8 1008 too many empty", "protocol"},
		{"close code 1005", closing(1005, ""), "8 1002 ", "protocol"},
		{"close reason", closing(1000, "\xff"), "8 1007 ", "protocol"},
		{"close of one byte", client(ws.OpClose, true, "x"), "8 1002 ", "protocol"},

		{"close", closing(1000, "bye"), "8 1000 ", "done"},
		{"close without a code", client(ws.OpClose, true, ""), "8", "done"},
		{"close with a code of its own", closing(4321, ""), "8 4321 ", "done"},
		{"close twice", closing(1000, "") + closing(1001, ""), "8 1000 ", "done"},
		{"garbage after a close", closing(1000, "") + "\xff\xff\xff", "8 1000 ", "done"},
		{"close inside a message", client(txt, false, "a") + closing(1000, ""), "8 1000 ", "done"},
		{"hang up", "", "gone", "lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, websocket.Config{MaxMessage: 1024}, func(t *testing.T, s *site) {
				p := s.connect("/a", "")
				if tt.in == "" {
					_ = p.nc.Close()
				}
				go p.send(tt.in)
				got := p.next()
				for strings.HasPrefix(got, "a ") { // answers to the first of a flood
					got = p.next()
				}
				if !strings.HasPrefix(got, tt.want) {
					t.Fatalf("got %q, want %q", got, tt.want)
				}
				began := time.Now()
				if got != "gone" {
					p.expect("gone")
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("closed %v later", took)
				}
				time.Sleep(2 * time.Second) // in which the peer might have closed too
				if s.ended(tt.label) != 1 {
					t.Errorf("not counted as %q", tt.label)
				}
				if got := s.history(); len(got) != 0 {
					t.Errorf("the log has %q", got)
				}
			})
		})
	}
}

// The closing handshake that the server begins is bounded, and what the peer
// still sends is not published.
func TestServerCloses(t *testing.T) {
	for _, tt := range []struct {
		name string
		peer func(p *peer)
		took time.Duration
	}{
		{"answered", func(p *peer) { p.send(closing(4003, "")) }, 0},
		{"after a while", func(p *peer) { time.Sleep(2 * time.Second); p.send(text("late"), closing(1000, "")) }, 2 * time.Second},
		{"not answered", func(*peer) {}, 5 * time.Second},
		{"talks on", func(p *peer) {
			for {
				if _, err := p.nc.Write([]byte(text("late"))); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, 5 * time.Second},
		{"hung up", func(p *peer) { _ = p.nc.Close() }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
				p := s.connect("/a", "")
				began := time.Now()
				s.table.List("", 1, nil)[0].End(transport.ErrKicked)
				p.expect("8 4003 closed by the operator")
				go tt.peer(p)
				p.expect("gone")
				s.serving.Wait()
				if took := time.Since(began); took < tt.took || took > tt.took+s.late() {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if got := s.history(); len(got) != 0 {
					t.Errorf("the log has %q", got)
				}
				time.Sleep(time.Minute) // the peer ends too
			})
		})
	}
}

func TestPings(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		answering := s.connect("/a", "")
		last := time.Now()
		for range 20 {
			answering.expect("9 ")
			if took := time.Since(last); took < 20*time.Second || took > 30*time.Second {
				t.Fatalf("pinged after %v", took)
			}
			last = time.Now()
			time.Sleep(10 * time.Second)
			answering.send(client(ws.OpPong, true, ""))
		}
		// A peer that answers with something else is there too.
		for range 5 {
			answering.expect("9 ")
			answering.send(client(ws.OpPing, true, "x"))
			answering.expect("a x")
		}
		_ = answering.nc.Close()

		silent := s.connect("/a", websocket.Protocol)
		silent.expect(subscribed("1", `"a"`, s.cursor(0)))
		silent.expect("9 ")
		last = time.Now()
		silent.expect("8 4005 no answer to a ping")
		if took := time.Since(last); took < 19*time.Second || took > 21*time.Second {
			t.Errorf("given up after %v", took)
		}
		silent.expect("gone")
		time.Sleep(2 * time.Second) // in which the peer might have closed too
		if s.ended("unanswered") != 1 {
			t.Error("not counted")
		}
	})
}

// Pings that come at different times for each keep thousands of sockets from
// being pinged at once.
func TestPingsAreSpread(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		var at [20]time.Duration
		began := time.Now()
		done := make(chan struct{})
		for i := range at {
			p := s.connect("/a", "")
			go func() {
				p.expect("9 ")
				at[i] = time.Since(began)
				done <- struct{}{}
			}()
		}
		for range at {
			<-done
		}
		least, most := at[0], at[0]
		for _, d := range at {
			least, most = min(least, d), max(most, d)
		}
		if most-least < time.Second {
			t.Errorf("all within %v", most-least)
		}
	})
}

// A ping is answered while a publish is under way, and between two frames of
// a peer that reads slowly.
func TestPingsAreAnsweredMeanwhile(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		release := make(chan struct{})
		s.publish = func(context.Context, websocket.Publication) error { <-release; return nil }
		p := s.connect("/a?topic=a", "")
		p.send(text("slow"), client(ws.OpPing, true, "one"))
		p.expect("a one")
		close(release)
		p.expect("1 slow")

		s.say("a", strings.Repeat("1", 50_000), strings.Repeat("2", 50_000), strings.Repeat("3", 50_000), strings.Repeat("4", 50_000))
		synctest.Wait()
		p.send(client(ws.OpPing, true, "old"), client(ws.OpPing, true, "new"))
		synctest.Wait()
		for i := range 4 {
			got := p.next()
			if got == "a new" && i > 0 {
				return
			}
			if got == "a old" {
				t.Fatal("an old ping was answered")
			}
		}
		p.expect("a new")
	})
}

// A peer may be as slow as it likes while it takes something.
func TestSlowIsNotCut(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a", "")
		s.say("a", strings.Repeat("x", 2000))
		began := time.Now()
		b := make([]byte, 1)
		for i := range 200 {
			time.Sleep(4 * time.Minute)
			if _, err := p.nc.Read(b); err != nil {
				t.Fatalf("cut after %d bytes, %v: %v", i, time.Since(began), err)
			}
		}
	})
}

func TestStalledIsCut(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a", "")
		other := s.connect("/a", "")
		began := time.Now()
		s.say("a", strings.Repeat("x", 10_000))
		other.expect("1 " + strings.Repeat("x", 10_000))
		go func() {
			for other.next() == "9 " {
				other.send(client(ws.OpPong, true, ""))
			}
		}()
		for s.table.Len() == 2 {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("cut after %v", took)
		}
		_, _ = p.r.Discard(5_000) // what was on its way
		if s.ended("stalled") != 1 {
			t.Error("not counted")
		}
		_ = other.nc.Close()
	})
}

// While the log does not take what a peer sends, it is not read from.
func TestBackpressure(t *testing.T) {
	for _, protocol := range []string{"", websocket.Protocol} {
		t.Run(protocol, func(t *testing.T) {
			bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
				release := make(chan struct{})
				s.publish = func(ctx context.Context, _ websocket.Publication) error {
					select {
					case <-release:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				p := s.connect("/a?topic=a", protocol)
				go func() {
					for p.next() != "gone" {
					}
				}()
				message := text(strings.Repeat("x", 4096))
				if protocol != "" {
					message = text(fmt.Sprintf(`{"type":"publish","ref":"r","topic":"a","message":{"data":"%s"}}`, strings.Repeat("x", 4096)))
				}
				var sent atomic.Int64
				go func() {
					for range 300 {
						if _, err := p.nc.Write([]byte(message)); err != nil {
							return
						}
						sent.Add(1)
					}
				}()
				time.Sleep(time.Hour) // it is not given up for being silent either
				if n := sent.Load(); n < 60 || n > 70 {
					t.Errorf("%d messages were taken while none was stored", n)
				}
				close(release)
				time.Sleep(time.Second)
				if state, err := s.domain.State(t.Context()); err != nil || state.Head != 300 {
					t.Errorf("%d messages in the log, %v", state.Head, err)
				}
				_ = p.nc.Close()
			})
		})
	}
}

// A peer that does not read its answers cannot make the server keep them.
func TestAnswersAreBounded(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/", websocket.Protocol)
		batch := strings.TrimSuffix(strings.Repeat(`{"data":1},`, 1000), ",")
		message := text(`{"type":"publish","ref":"r","topic":"a","messages":[` + batch + `]}`)
		go func() {
			for range 60 {
				p.send(message)
			}
		}()
		synctest.Wait()
		if n := len(s.history()); n == 0 || n > 4000 {
			t.Errorf("%d messages were published whose answers nobody reads", n)
		}
		_ = p.nc.Close()
	})
}

// The rest of what was sent is carried out when a peer hangs up; when the
// server ends the connection it is not, and what is under way is given up.
func TestWhatWasSentBeforeTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(s *site, p *peer)
		want int
	}{
		{"peer hangs up", func(_ *site, p *peer) { _ = p.nc.Close() }, 10},
		{"kicked", func(s *site, _ *peer) { s.table.List("", 1, nil)[0].End(transport.ErrKicked) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
				s.publish = func(context.Context, websocket.Publication) error {
					time.Sleep(time.Second / 10)
					return nil
				}
				p := s.connect("/", websocket.Protocol)
				go func() {
					for p.next() != "gone" {
					}
				}()
				for i := range 10 {
					p.send(text(fmt.Sprintf(`{"type":"publish","ref":"%d","topic":"a","message":{"data":"x"}}`, i)))
				}
				synctest.Wait()
				tt.end(s, p)
				for s.table.Len() > 0 {
					time.Sleep(time.Second)
				}
				if got := len(s.history()); got != tt.want {
					t.Errorf("%d messages in the log, want %d", got, tt.want)
				}
			})
		})
	}
}

// A publish that never ends does not hold a connection for ever that is gone.
func TestHungPublish(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		ended := make(chan struct{})
		s.publish = func(ctx context.Context, _ websocket.Publication) error {
			<-ctx.Done()
			close(ended)
			return ctx.Err()
		}
		p := s.connect("/a", "")
		p.send(text("x"))
		_ = p.nc.Close()
		began := time.Now()
		<-ended
		s.serving.Wait()
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// Frames that came with the opening handshake count like others.
func TestEarlyFrames(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		whole := text("second")
		p := s.connect("/a?topic=a", "", text("first")+whole[:3])
		p.send(whole[3:])
		p.expect("1 first", "1 second")
		early := s.connect("/a", "", closing(1000, ""))
		early.expect("8 1000 ", "gone")
	})
}

func TestCloseCodesAreDocumentedOnes(t *testing.T) {
	for _, code := range []frame.Code{4001, 4002, 4003, 4004, 4005, frame.Restart, frame.TryLater} {
		if !code.Sendable() {
			t.Errorf("%d must not be sent", code)
		}
	}
}
