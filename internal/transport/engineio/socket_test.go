package engineio_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/transport"
	"crier/internal/transport/engineio"
)

// socket opens a session that begins as a WebSocket.
func (h *house) socket(eio string) *wire {
	h.t.Helper()
	w := h.dial("transport=websocket&" + eio)
	if op, text := w.read(); op != ws.OpText || !strings.HasPrefix(text, `0{"sid":`) {
		h.t.Fatalf("%x %q", op, text)
	}
	return w
}

// upgrade moves a session from polling.
func (h *house) upgrade(query string) *wire {
	h.t.Helper()
	w := h.dial(query)
	w.send("2probe")
	w.text("3probe")
	w.send("5")
	synctest.Wait()
	return w
}

func TestSocketCarriesMessages(t *testing.T) {
	for _, tt := range []struct {
		name, eio string
		in        ws.Frame
		op        ws.OpCode
		out       string
	}{
		{"4: text", "EIO=4", ws.NewTextFrame([]byte("4hé")), ws.OpText, "4hé"},
		{"4: separator", "EIO=4", ws.NewTextFrame([]byte("4a\x1eb")), ws.OpText, "4a\x1eb"},
		{"4: binary", "EIO=4", ws.NewBinaryFrame([]byte{1, 2, 3}), ws.OpBinary, "\x01\x02\x03"},
		{"4: base64", "EIO=4", ws.NewTextFrame([]byte("bAQID")), ws.OpBinary, "\x01\x02\x03"},
		{"4: base64 both ways", "EIO=4&b64=1", ws.NewTextFrame([]byte("bAQID")), ws.OpText, "bAQID"},
		{"3: text", "EIO=3", ws.NewTextFrame([]byte("4hé")), ws.OpText, "4hé"},
		{"3: binary", "EIO=3", ws.NewBinaryFrame([]byte{4, 1, 2, 3}), ws.OpBinary, "\x04\x01\x02\x03"},
		{"3: base64", "EIO=3", ws.NewTextFrame([]byte("b4AQID")), ws.OpBinary, "\x04\x01\x02\x03"},
		{"3: base64 both ways", "EIO=3&b64=1", ws.NewBinaryFrame([]byte{4, 1, 2, 3}), ws.OpText, "b4AQID"},
		{"3: ping", "EIO=3", ws.NewTextFrame([]byte("2")), ws.OpText, "3"},
		{"a ping of the WebSocket", "EIO=4", ws.NewPingFrame([]byte("x")), ws.OpPong, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				w := h.socket(tt.eio)
				w.frame(tt.in)
				w.wants(tt.op, tt.out)
			})
		})
	}
}

func TestSocketEnds(t *testing.T) {
	for _, tt := range []struct {
		name  string
		eio   string
		do    func(h *house, w *wire)
		code  ws.StatusCode
		cause error
	}{
		{"no packet", "EIO=4", func(_ *house, w *wire) { w.send("abc") }, 0, engineio.ErrProtocol},
		{"ping of the client", "EIO=4", func(_ *house, w *wire) { w.send("2") }, 0, engineio.ErrProtocol},
		{"pong of the client", "EIO=3", func(_ *house, w *wire) { w.send("3") }, 0, engineio.ErrProtocol},
		{"too long", "EIO=4", func(_ *house, w *wire) { w.send("4" + strings.Repeat("x", 1000)) }, 1009, engineio.ErrProtocol},
		{"a frame that is not masked", "EIO=4", func(_ *house, w *wire) { _ = ws.WriteFrame(w.nc, ws.NewTextFrame([]byte("4"))) }, 1002, engineio.ErrProtocol},
		{"close packet", "EIO=4", func(_ *house, w *wire) { w.send("1") }, 0, nil},
		{"close frame", "EIO=4", func(_ *house, w *wire) { w.frame(ws.NewCloseFrame(nil)) }, 0, nil},
		{"kicked", "EIO=4", func(h *house, _ *wire) { h.last().session.Conn().End(transport.ErrKicked) }, 4003, transport.ErrKicked},
		{"drained", "EIO=3", func(h *house, _ *wire) { go func() { _ = h.env.Table.Drain(h.t.Context(), 0) }() }, 1012, transport.ErrDraining},
		{"no pong", "EIO=4", func(h *house, w *wire) { w.text("2") }, 0, engineio.ErrUnanswered},
		{"no ping", "EIO=3", func(*house, *wire) {}, 0, engineio.ErrUnanswered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				w := h.socket(tt.eio)
				tt.do(h, w)
				w.closes(tt.code)
				if cause := h.last().ended(t); !errors.Is(cause, tt.cause) {
					t.Errorf("it ended for %v", cause)
				}
				if n := h.env.Table.Len(); n != 0 {
					t.Errorf("%d connections are listed", n)
				}
			})
		})
	}
	bubble(t, func(t *testing.T, h *house) {
		w := h.socket("EIO=4")
		_ = w.nc.Close()
		if cause := h.last().ended(t); !errors.Is(cause, transport.ErrGone) {
			t.Errorf("it ended for %v", cause)
		}
	})
}

func TestSocketHeartbeat(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.socket("EIO=4")
		for range 5 {
			began := time.Now()
			w.text("2")
			if took := time.Since(began); took != pingInterval {
				t.Fatalf("a ping after %v", took)
			}
			w.send("3")
			synctest.Wait()
		}
	})
}

func TestUpgrade(t *testing.T) {
	for _, tt := range []struct{ eio, noop, text string }{{"EIO=4", "6", "4hello"}, {"EIO=3", "1:6", "6:4hello"}} {
		bubble(t, func(t *testing.T, h *house) { // a poll waits
			q := h.session(tt.eio)
			waits := h.later(q)
			w := h.dial(q)
			w.send("2probe")
			w.text("3probe")
			(<-waits).is(t, 200, tt.noop)
			began := time.Now()
			h.get(q).is(t, 200, tt.noop) // one that comes meanwhile is not held for long
			if took := time.Since(began); took > 200*time.Millisecond {
				t.Errorf("a poll is held for %v", took)
			}
			h.last().send("hello") // goes by poll
			h.get(q).is(t, 200, tt.text)
			w.send("5", "4there")
			w.text("4there")
			h.last().send("now")
			w.text("4now")
			h.get(q).is(t, 400, `{"code":3,"message":"Bad request"}`)
			h.post(q, tt.text).is(t, 400, `{"code":3,"message":"Bad request"}`)
			second := h.dial(q)
			second.closes(0)
			h.last().alive(t)
			w.send("4still")
			w.text("4still")
		})
		bubble(t, func(t *testing.T, h *house) { // without a probe
			q := h.session(tt.eio)
			waits := h.later(q)
			w := h.dial(q)
			w.send("5", "4there")
			w.text("4there")
			(<-waits).is(t, 200, tt.noop)
		})
	}
}

// A poll that overtakes the upgrade packet has no right to be there.
func TestPollOvertakesTheUpgrade(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		w := h.dial(q)
		w.send("2probe")
		w.text("3probe")
		waits := h.later(q)
		w.send("5", "4hello")
		(<-waits).is(t, 400, `{"code":3,"message":"Bad request"}`)
		w.text("4hello")
	})
}

// A probe that fails leaves the session to polling.
func TestProbeFails(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(w *wire)
	}{
		{"a message first", func(w *wire) { w.send("4hello"); w.closes(0) }},
		{"no packet", func(w *wire) { w.send("abc"); w.closes(0) }},
		{"silence", func(w *wire) { w.closes(0) }},
		{"silence after the probe", func(w *wire) { w.send("2probe"); w.text("3probe"); w.closes(0) }},
		{"gone", func(w *wire) { _ = w.nc.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *house) {
				q := h.session("EIO=4")
				w := h.dial(q)
				second := h.dial(q) // while the first probes
				second.closes(0)
				tt.do(w)
				synctest.Wait()
				h.post(q, "4a").is(t, 200, "ok")
				h.get(q).is(t, 200, "4a")
				h.upgrade(q)
				h.last().alive(t)
			})
		})
	}
}

// Messages that are sent all the time come once and in order while their
// session moves, in both directions.
func TestNothingIsLostInAnUpgrade(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		u := h.last()
		const n = 1000
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			for i := range n {
				u.send(fmt.Sprint(i))
				time.Sleep(time.Millisecond)
			}
		})
		var got []string
		poll := func() {
			a := h.get(q)
			for p := range strings.SplitSeq(a.body, "\x1e") {
				if p != "6" {
					got = append(got, p)
				}
			}
		}
		for range 50 {
			poll()
		}
		w := h.dial(q)
		w.send("2probe")
		w.text("3probe")
		waits := h.later(q)
		a := <-waits
		for p := range strings.SplitSeq(a.body, "\x1e") {
			if p != "6" {
				got = append(got, p)
			}
		}
		w.send("5")
		for len(got) < n {
			_, text := w.read()
			got = append(got, text)
		}
		for i, p := range got {
			if p != fmt.Sprintf("4%d", i) {
				t.Fatalf("message %d is %q", i, p)
			}
		}
	})
}

// What a POST under way has is carried out before what the WebSocket sends,
// even if the user takes its time.
func TestOrderAcrossTheUpgrade(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		q := h.session("EIO=4")
		u := h.last()
		u.hold = make(chan struct{})
		posted := make(chan answer, 1)
		go func() { posted <- h.post(q, "4first\x1e4second") }()
		synctest.Wait()
		w := h.dial(q)
		w.send("2probe")
		w.text("3probe")
		w.send("5", "4third")
		synctest.Wait()
		u.send("meanwhile") // the socket writes already
		w.text("4meanwhile")
		close(u.hold)
		w.text("4first", "4second", "4third")
		(<-posted).is(t, 200, "ok")
	})
}

// A peer that takes its time to read is behind, and not given up.
func TestASlowSocketIsBehind(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.socket("EIO=3")
		u := h.last()
		const n = 5000
		text := strings.Repeat("x", 1000)
		for range n {
			u.send(text)
		}
		synctest.Wait()
		if left := u.waiting(); left < n-400 {
			t.Fatalf("%d of %d messages were taken by a socket that is not read", n-left, n)
		}
		for range n {
			w.text("4" + text)
		}
	})
}

func TestAPeerThatTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.socket("EIO=3")
		u := h.last()
		for range 5000 {
			u.send(strings.Repeat("x", 1000))
		}
		for range 20 { // it is alive
			time.Sleep(20 * time.Second)
			if u.session.Context().Err() != nil {
				break
			}
			w.send("2")
		}
		if cause := u.ended(t); !errors.Is(cause, transport.ErrStalled) {
			t.Errorf("it ended for %v", cause)
		}
	})
}
