package engineio_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"crier/internal/transport/engineio"
)

func TestHandshake(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		const four = `^0\{"sid":"[A-Za-z0-9_-]{20}","upgrades":\["websocket"\],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000\}$`
		a := h.get("EIO=4&transport=polling&t=abc&token=x")
		if ok, _ := regexp.MatchString(four, a.body); !ok || a.status != 200 || a.kind != "text/plain; charset=UTF-8" {
			t.Errorf("protocol 4: %d %s %q", a.status, a.kind, a.body)
		}
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("headers %v", a.header)
		}
		a = h.get("EIO=3&transport=polling&b64=1")
		length, _, _ := strings.Cut(a.body, ":")
		if a.status != 200 || length != "115" || len(a.body) != 4+115 {
			t.Errorf("protocol 3: %d %q", a.status, a.body)
		}
		w := h.dial("EIO=4&transport=websocket")
		if op, text := w.read(); op != 1 || !strings.Contains(text, `"upgrades":[]`) {
			t.Errorf("WebSocket: %x %q", op, text)
		}
	})
}

func TestFaults(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		sid := h.session("EIO=4")
		for _, tt := range []struct {
			name, method, query string
			status              int
			body                string
		}{
			{"no transport", "GET", "EIO=4", 400, `{"code":0,"message":"Transport unknown"}`},
			{"unknown transport", "GET", "EIO=4&transport=abc", 400, `{"code":0,"message":"Transport unknown"}`},
			{"unknown sid", "GET", "EIO=4&transport=polling&sid=nobody", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"handshake by POST", "POST", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
			{"handshake by PUT", "PUT", "EIO=4&transport=polling", 400, `{"code":2,"message":"Bad handshake method"}`},
			{"WebSocket without upgrade", "GET", "EIO=4&transport=websocket", 400, `{"code":3,"message":"Bad request"}`},
			{"JSONP", "GET", "EIO=3&transport=polling&j=0", 400, `{"code":3,"message":"Bad request"}`},
			{"no version", "GET", "transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
			{"unknown version", "GET", "EIO=abc&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
			{"PUT", "PUT", sid, 405, ""},
			{"preflight", "OPTIONS", sid, 204, ""},
		} {
			a, err := h.do(t.Context(), tt.method, tt.query, "", nil)
			if err != nil || a.status != tt.status || a.body != tt.body {
				t.Errorf("%s: %d %q, %v", tt.name, a.status, a.body, err)
			}
			if a.body != "" && a.kind != "application/json" {
				t.Errorf("%s: of type %q", tt.name, a.kind)
			}
		}
		h.refuse = &engineio.Refusal{Message: "not you"}
		h.get("EIO=4&transport=polling").is(t, 403, `{"code":4,"message":"not you"}`)
		h.refuse = errors.New("secret")
		h.get("EIO=4&transport=polling").is(t, 403, `{"code":4,"message":"Forbidden"}`)
		h.refuse = nil
		for _, query := range []string{"EIO=4&transport=websocket&sid=nobody", "transport=websocket"} {
			if _, err := h.tryDial(query); err == nil || !strings.Contains(err.Error(), "400") {
				t.Errorf("a WebSocket with %s: %v", query, err)
			}
		}
	})
}
