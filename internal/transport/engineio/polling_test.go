package engineio_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/transport"
	"crier/internal/transport/engineio"
)

func TestPollingCarriesMessages(t *testing.T) {
	for _, tt := range []struct{ name, eio, in, out, kind string }{
		{"4: text", "EIO=4", "4hello", "4hello", "text/plain; charset=UTF-8"},
		{"4: several", "EIO=4", "4test1\x1e4€\x1e4😀", "4test1\x1e4€\x1e4😀", "text/plain; charset=UTF-8"},
		{"4: binary", "EIO=4", "4hello\x1ebAQIDBA==", "4hello\x1ebAQIDBA==", "text/plain; charset=UTF-8"},
		{"3: text", "EIO=3", "6:4hello", "6:4hello", "text/plain; charset=UTF-8"},
		{"3: surrogates", "EIO=3", "3:4😀2:4€", "3:4😀2:4€", "text/plain; charset=UTF-8"},
		{"3: base64", "EIO=3&b64=1", "6:4hello10:b4AQIDBA==", "6:4hello10:b4AQIDBA==", "text/plain; charset=UTF-8"},
		{"3: binary", "EIO=3", "6:4hello10:b4AQIDBA==", "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04", "application/octet-stream"},
		{"3: of the oldest clients", "EIO=3&b64=1", "4:4â\u0082¬", "4:4â\u0082¬", "text/plain; charset=UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				q := h.session(tt.eio)
				a := h.post(q, tt.in)
				a.is(t, 200, "ok")
				if a.kind != "text/html" {
					t.Errorf("the answer to a POST is of type %q", a.kind)
				}
				a = h.get(q)
				a.is(t, 200, tt.out)
				if a.kind != tt.kind {
					t.Errorf("it is of type %q", a.kind)
				}
				waits := h.later(q)
				h.last().send("late")
				want := map[byte]string{'3': "5:4late", '4': "4late"}[tt.eio[4]]
				(<-waits).is(t, 200, want)
			})
		})
	}
}

// The oldest clients of protocol 3 encode text twice in polls, but not
// elsewhere: what they mean is what the user gets.
func TestOldestClients(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=3&b64=1")
		h.post(q, "4:4â\u0082¬").is(t, 200, "ok")
		if got := h.last().in; len(got) != 1 || got[0] != "€" {
			t.Fatalf("the user got %q", got)
		}
		w := h.upgrade(q)
		w.text("4€")
	})
	bubble(t, func(t *testing.T, h *house) { // another client, which shows that it is not one of them
		q := h.session("EIO=3&b64=1")
		h.post(q, "2:4€3:4Ã©").is(t, 200, "ok")
		h.get(q).is(t, 200, "2:4€3:4Ã©")
	})
}

func TestBinaryPayload(t *testing.T) {
	const body = "\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04"
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=3")
		a, err := h.do(t.Context(), "POST", q, "application/octet-stream", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		a.is(t, 200, "ok")
		h.get(q).is(t, 200, body)

		q = h.session("EIO=4")
		if a, err = h.do(t.Context(), "POST", q, "application/octet-stream", strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		a.is(t, 400, "")
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

func TestBrokenRulesEndTheSession(t *testing.T) {
	for _, tt := range []struct{ name, eio, body string }{
		{"4: no packet", "EIO=4", "abc"},
		{"4: empty", "EIO=4", ""},
		{"4: second is bad", "EIO=4", "4a\x1e9"},
		{"4: ping of the client", "EIO=4", "2"},
		{"3: no packet", "EIO=3", "abc"},
		{"3: pong of the client", "EIO=3", "1:3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				q := h.session(tt.eio)
				h.post(q, tt.body).is(t, 400, "")
				h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
				if cause := h.last().ended(t); !errors.Is(cause, engineio.ErrProtocol) {
					t.Errorf("it ended for %v", cause)
				}
				if n := h.env.Ended("protocol"); n != 1 {
					t.Errorf("%d sessions are counted as ended so", n)
				}
			})
		})
	}
}

func TestOneRequestAtATime(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		for _, tt := range []struct{ eio, bye string }{{"EIO=4", "1"}, {"EIO=3", "1:1"}} {
			q := h.session(tt.eio)
			first := h.later(q)
			h.get(q).is(t, 400, "")
			(<-first).is(t, 200, tt.bye)
			h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		}
		q := h.session("EIO=4")
		body, w := io.Pipe()
		slow := make(chan answer, 1)
		go func() {
			a, _ := h.do(t.Context(), "POST", q, "text/plain", body)
			slow <- a
		}()
		_, _ = io.WriteString(w, "4half")
		synctest.Wait()
		h.post(q, "4other").is(t, 400, "")
		_ = w.Close()
		if a := <-slow; a.status == 200 && len(h.last().in) > 0 {
			t.Errorf("the session goes on: %+v", a)
		}
		h.last().ended(t)
	})
}

func TestBodyInPieces(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		body, w := io.Pipe()
		go func() {
			for _, piece := range []string{"4hel", "lo\x1e", "4€"[:2], "4€"[2:]} {
				_, _ = io.WriteString(w, piece)
				time.Sleep(time.Second)
			}
			_ = w.Close()
		}()
		a, err := h.do(t.Context(), "POST", q, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		a.is(t, 200, "ok")
		h.get(q).is(t, 200, "4hello\x1e4€")
	})
}

func TestPollGoesAway(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := h.do(ctx, "GET", q, "", nil)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		<-gone
		synctest.Wait()
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		if cause := h.last().ended(t); !errors.Is(cause, transport.ErrGone) {
			t.Errorf("it ended for %v", cause)
		}
	})
}

func TestTooLong(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		h.post(q, "4"+strings.Repeat("x", 1000)).is(t, 413, "")
		a, err := h.do(t.Context(), "POST", q, "text/plain", io.MultiReader(strings.NewReader("4"+strings.Repeat("x", 1000))))
		if err != nil {
			t.Fatal(err)
		}
		a.is(t, 413, "")
		h.post(q, "4"+strings.Repeat("x", 999)).is(t, 200, "ok")
		h.last().alive(t)
		time.Sleep(time.Second) // net/http lets go of the connection whose request was not read
	})
}

func TestHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		for range 5 {
			began := time.Now()
			h.get(q).is(t, 200, "2")
			if took := time.Since(began); took != pingInterval {
				t.Fatalf("a ping after %v", took)
			}
			time.Sleep(pingTimeout - time.Millisecond)
			h.post(q, "3").is(t, 200, "ok")
		}
		h.get(q).is(t, 200, "2")
		time.Sleep(pingTimeout + time.Millisecond)
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		if cause := h.last().ended(t); !errors.Is(cause, engineio.ErrUnanswered) {
			t.Errorf("it ended for %v", cause)
		}
	})
	bubble(t, func(t *testing.T, h *house) { // nobody polls
		q := h.session("EIO=4")
		time.Sleep(pingInterval + pingTimeout + time.Millisecond)
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=3")
		for _, ping := range []struct{ in, out string }{{"1:2", "1:3"}, {"4:2abc", "4:3abc"}} {
			time.Sleep(pingInterval + pingTimeout - time.Millisecond)
			h.post(q, ping.in).is(t, 200, "ok")
			h.get(q).is(t, 200, ping.out)
		}
		time.Sleep(pingInterval + pingTimeout + time.Millisecond)
		h.post(q, "1:2").is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

// A client that pings and does not listen has no endless list of pongs.
func TestManyPings(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=3")
		h.post(q, strings.Repeat("1:2", 300)+"2:2x").is(t, 200, "ok")
		a := h.get(q)
		if n := strings.Count(a.body, ":3"); n > 16 || !strings.HasSuffix(a.body, "2:3x") {
			t.Errorf("%d pongs: %q", n, a.body)
		}
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		for _, tt := range []struct{ eio, in, out string }{{"EIO=4", "1", "6"}, {"EIO=3", "1:1", "1:6"}} {
			q := h.session(tt.eio)
			waits := h.later(q)
			h.post(q, tt.in).is(t, 200, "ok")
			(<-waits).is(t, 200, tt.out)
			h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
			if cause := h.last().ended(t); cause != nil {
				t.Errorf("it ended for %v", cause)
			}
		}
	})
}

// A poll that its client made together with the close, on another connection,
// may come after it.
func TestCloseOvertakesThePoll(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		posted := make(chan answer, 1)
		go func() { posted <- h.post(q, "1") }()
		time.Sleep(50 * time.Millisecond)
		h.get(q).is(t, 200, "6")
		(<-posted).is(t, 200, "ok")
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
	bubble(t, func(t *testing.T, h *house) { // one after the other
		q := h.session("EIO=4")
		h.post(q, "1").is(t, 200, "ok")
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

// What the server ends is told with the poll that waits, or with the next.
func TestEndedByTheServer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   func(h *house)
		label string
	}{
		{"kicked", func(h *house) { h.last().session.Conn().End(transport.ErrKicked) }, "kicked"},
		{"closed by its user", func(h *house) { h.last().session.Close() }, "done"},
		{"drained", func(h *house) { go func() { _ = h.env.Table.Drain(h.t.Context(), 0) }() }, "draining"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				q := h.session("EIO=4")
				waits := h.later(q)
				tt.end(h)
				(<-waits).is(t, 200, "1")
				if tt.label != "draining" { // then nothing is served any more
					h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
				}
				synctest.Wait()
				if n := h.env.Ended(tt.label); n != 1 {
					t.Errorf("%d ended as %s", n, tt.label)
				}
			})
		})
	}
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=3")
		h.last().session.Conn().End(transport.ErrKicked)
		synctest.Wait()
		if n := h.env.Table.Len(); n != 0 {
			t.Errorf("%d connections are listed", n)
		}
		h.post(q, "1:4").is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
		h.get(q).is(t, 200, "1:1")
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
	bubble(t, func(t *testing.T, h *house) { // but not for ever
		q := h.session("EIO=4")
		h.last().session.Close()
		time.Sleep(31 * time.Second)
		h.get(q).is(t, 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

// A session is asked for more only when a poll takes it: a slow client is
// behind, and holds nothing in memory.
func TestASlowPollIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		texts := make([]string, 10_000)
		for i := range texts {
			texts[i] = "message"
		}
		u := h.last()
		u.send(texts...)
		synctest.Wait()
		if n := u.waiting(); n != len(texts) {
			t.Fatalf("%d of %d messages were asked for without a poll", len(texts)-n, len(texts))
		}
		got := 0
		for polls := 0; got < len(texts); polls++ {
			n := strings.Count(h.get(q).body, "4message")
			if n == 0 || n > 256 {
				t.Fatalf("a poll of %d messages", n)
			}
			got += n
			if left := u.waiting(); left != len(texts)-got {
				t.Fatalf("%d are waiting, of which %d are on their way", left, len(texts)-got-left)
			}
		}
	})
}

// While its user does not take messages, a peer's POST is not answered.
func TestBackPressure(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		u := h.last()
		u.hold = make(chan struct{})
		answered := make(chan answer, 1)
		go func() { answered <- h.post(q, "4a\x1e4b") }()
		synctest.Wait()
		select {
		case a := <-answered:
			t.Fatalf("answered: %+v", a)
		default:
		}
		close(u.hold)
		(<-answered).is(t, 200, "ok")
		h.get(q).is(t, 200, "4a\x1e4b")
	})
}

func TestTextThatCannotBePolled(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		h.last().send("a\x1eb")
		if a := h.get(q); a.status != http.StatusBadRequest {
			t.Errorf("%+v", a)
		}
		h.last().ended(t)
	})
}

// A POST whose body does not come is answered, and its connection is let go of.
func TestPostThatDoesNotCome(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		began := time.Now()
		never, end := io.Pipe()
		defer end.Close()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://server/engine.io/?"+q, never)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = 10
		resp, err := h.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d", resp.StatusCode)
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}
