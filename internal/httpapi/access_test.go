package httpapi_test

import (
	"fmt"
	"strings"
	"testing"

	"crier/internal/access"
)

func TestClosed(t *testing.T) {
	w := start(t, options{})
	open := w.stream("/t/main/a")
	secret := w.key(access.KeySpec{Domain: "main", Name: "n", Publish: patterns(t, "a/*"), Subscribe: patterns(t, "a/**", "b")})
	if _, event, _ := open.event(); event != "crier-expired" {
		t.Fatalf("an anonymous stream got %q when the server was closed", event)
	}
	bearer := "Authorization: Bearer " + secret
	for _, tt := range []struct {
		method, path string
		headers      []string
		status       int
		says         string
	}{
		{"GET", "/t/main/a", nil, 401, "key"},
		{"POST", "/t/main/a/b", nil, 401, "key"},
		{"GET", "/t/main/b", []string{"Authorization: Bearer nonsense"}, 401, ""},
		{"GET", "/t/main/b", []string{"Authorization: Basic eDp5"}, 401, "Bearer"},
		{"POST", "/t/main/a/b", []string{bearer}, 201, ""},
		{"POST", "/t/main/b", []string{bearer}, 403, "publish"},
		{"POST", "/t/main/a/b/c", []string{bearer}, 403, "publish"},
		{"GET", "/t/main/a/b", []string{bearer}, 200, ""},
		{"GET", "/t/main/a/**", []string{bearer}, 200, ""},
		{"GET", "/t/main/**", []string{bearer}, 403, "subscribe"},
		{"GET", "/t/main/b?topic=a/x&topic=c", []string{bearer}, 403, "c"},
		{"GET", "/t/main/b?access_token=" + secret, nil, 200, ""},
		{"GET", "/t/nowhere/b", []string{bearer}, 403, ""}, // not: whether it exists
		{"POST", "/t/nowhere/b", []string{bearer}, 403, ""},
		{"HEAD", "/t/main/c", []string{bearer}, 403, ""},
		{"DELETE", "/t/main/b", []string{bearer}, 403, "manage"},
	} {
		body := ""
		if tt.method == "POST" {
			body = "x"
		}
		a := w.do(tt.method, tt.path, body, tt.headers...)
		a.want(t, tt.status, tt.says)
		if tt.status == 401 && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s %s: challenge %q", tt.method, tt.path, a.header.Get("WWW-Authenticate"))
		}
	}
}

func TestOpenTakesNothingFromElsewhere(t *testing.T) {
	w := start(t, options{origins: []string{"https://app.example.com"}})
	for _, tt := range []struct {
		header string
		status int
	}{
		{"X-Forwarded-For: 10.0.0.1", 403}, {"Forwarded: for=10.0.0.1", 403}, {"Via: 1.1 proxy", 403},
		{"Host: crier.example.com", 403}, {"Origin: https://evil.example.com", 403},
		{"Origin: null", 403},
		{"Origin: http://localhost:3000", 200}, {"Origin: https://app.example.com", 200}, {"Host: localhost", 200},
	} {
		if a := w.do("GET", "/t/main/a", "", tt.header); a.status != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.header, a.status, tt.status, a.body)
		}
	}
}

func TestCORS(t *testing.T) {
	w := start(t, options{origins: []string{"https://app.example.com"}})
	w.key(access.KeySpec{Domain: "main", Name: "n", Subscribe: patterns(t, "**")})
	a := w.do("OPTIONS", "/t/main/a", "", "Origin: https://app.example.com", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: last-event-id")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Fatalf("preflight: %+v", a)
	}
	for _, name := range []string{"Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "Crier-Type", "Crier-TTL", "Cache-Control"} {
		if !strings.Contains(a.header.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("preflight does not allow %s", name)
		}
	}
	if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
		t.Errorf("Vary %q", a.header.Values("Vary"))
	}
	a = w.do("OPTIONS", "/t/main/a", "", "Origin: https://evil.example.com", "Access-Control-Request-Method: POST")
	if a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Fatalf("preflight of a stranger: %+v", a)
	}
	a = w.do("GET", "/t/main/a", "", "Origin: https://app.example.com")
	a.want(t, 401)
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Fatal("a page cannot read why it was refused")
	}
}

// TestBadHandshakes: a WebSocket is refused with the document of its status.
func TestBadHandshakes(t *testing.T) {
	w := start(t, options{})
	for _, tt := range []struct {
		name    string
		headers []string
		status  int
		says    string
	}{
		{"another version", []string{"Sec-WebSocket-Version: 8"}, 426, "upgrade-required"},
		{"no key", []string{"Sec-WebSocket-Version: 13"}, 400, "Sec-WebSocket-Key"},
		{"another site", []string{"Sec-WebSocket-Version: 13", "Origin: https://evil.example.com"}, 403, "forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := w.do("GET", "/t/main/a", "", append(tt.headers, "Connection: Upgrade", "Upgrade: websocket")...)
			a.want(t, tt.status, tt.says, fmt.Sprintf(`"status":%d`, tt.status))
			if tt.status == 426 && a.header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("426 names version %q", a.header.Get("Sec-WebSocket-Version"))
			}
		})
	}
}

// TestStreamWhileKeysCannotBeChecked: an EventSource gives up for good at a
// 503, so it is asked to come back.
func TestStreamWhileKeysCannotBeChecked(t *testing.T) {
	w := start(t, options{registry: true})
	secret := w.key(access.KeySpec{Domain: "main", Subscribe: patterns(t, "**")})
	w.engine.registry.away.Store(true)
	w.do("GET", "/t/main/a", "", "Authorization: Bearer "+secret).want(t, 503, "cannot be looked up")
	a := w.do("GET", "/t/main/a", "", "Authorization: Bearer "+secret, "Accept: text/event-stream")
	a.want(t, 200, "retry:", "crier-restart")
	w.do("POST", "/t/main/a", "x", "Authorization: Bearer "+secret, "Accept: text/event-stream").want(t, 503)
}
