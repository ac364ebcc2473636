package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// packets is an Engine.IO 4 client as bare as it gets: text messages both
// ways, and pings answered.
type packets interface {
	send(t *testing.T, text string)
	next(t *testing.T) string
}

// webPackets is one that began as a WebSocket.
type webPackets struct{ *socket }

func openEngineIO(t *testing.T, url string) packets {
	t.Helper()
	c := webPackets{open(t, web(), url+"?EIO=4&transport=websocket")}
	if first := c.socket.next(t).data; !strings.HasPrefix(first, `0{"sid":`) {
		t.Fatalf("the socket begins with %s", first)
	}
	return c
}

func (c webPackets) send(t *testing.T, text string) { t.Helper(); c.say(t, "4"+text) }

func (c webPackets) next(t *testing.T) string {
	t.Helper()
	for {
		f := c.socket.next(t)
		switch {
		case f.end:
			t.Fatalf("the socket ended: %d %s", f.code, f.reason)
		case f.data == "2":
			c.say(t, "3")
		case strings.HasPrefix(f.data, "4"):
			return f.data[1:]
		default:
			t.Fatalf("packet %q", f.data)
		}
	}
}

// polls is one that polls, and does not upgrade.
type polls struct {
	url   string
	http  *http.Client
	waits []string // packets that came and were not asked for
}

func pollEngineIO(t *testing.T, url string) packets {
	t.Helper()
	c := &polls{url: url + "?EIO=4&transport=polling", http: web()}
	var hello struct{ SID string }
	first := c.ask(t, "GET", "")
	if !strings.HasPrefix(first, "0") || json.Unmarshal([]byte(first[1:]), &hello) != nil || hello.SID == "" {
		t.Fatalf("the session begins with %s", first)
	}
	c.url += "&sid=" + hello.SID
	return c
}

func (c *polls) ask(t *testing.T, method, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	text := drained(resp.Body)
	if resp.StatusCode != 200 {
		t.Fatalf("%s %s: %d %s", method, c.url, resp.StatusCode, text)
	}
	return text
}

func (c *polls) send(t *testing.T, text string) {
	t.Helper()
	if got := c.ask(t, "POST", "4"+text); got != "ok" {
		t.Fatalf("POST is answered %s", got)
	}
}

func (c *polls) next(t *testing.T) string {
	t.Helper()
	for {
		for len(c.waits) == 0 {
			c.waits = strings.Split(c.ask(t, "GET", ""), "\x1e")
		}
		p := c.waits[0]
		c.waits = c.waits[1:]
		switch {
		case p == "2":
			if got := c.ask(t, "POST", "3"); got != "ok" {
				t.Fatalf("a pong is answered %s", got)
			}
		case strings.HasPrefix(p, "4"):
			return p[1:]
		default:
			t.Fatalf("packet %q", p)
		}
	}
}
