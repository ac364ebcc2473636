package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// spot is where a message is: a topic of a domain, and what those who come by
// a dialect call it.
type spot struct {
	name, domain, topic string
	qri                 [2]string // peer and checksum; empty: QRI has no name for it
	pubsub              [2]string // domain and topic; empty: wspubsub has none
	key                 string    // of wspubsub
}

// spots are those that more than one dialect can name. A new dialect adds
// its own, and its names to those that it shares.
func spots(t *testing.T, s *server) []spot {
	t.Helper()
	const outside = "a domain: ü/1"
	stdout, stderr, code := crier(t, nil, "key", "create", "--wspubsub", "--domain", outside, "--admin", s.admin, "--data-dir", s.dir)
	if code != 0 {
		t.Fatal(stderr)
	}
	return []spot{
		{name: "QRI's", domain: "main", topic: "qri/a~2Fb/2008521774", qri: [2]string{"a/b", "2008521774"}},
		{name: "wspubsub's", domain: "ws.5d7e7c0bc81317877500932f46458093b1495c55", topic: "news~20~26", pubsub: [2]string{outside, "news &"}, key: strings.TrimSpace(stdout)},
		{name: "nobody's", domain: "main", topic: "plain/topic"},
	}
}

func (p spot) path() string { return "/t/" + p.domain + "/" + p.topic }

// wayIn is a way in which messages enter. names says whether it can name a
// spot; open begins to publish there.
type wayIn struct {
	name  string
	names func(p spot) bool
	open  func(t *testing.T, s *server, p spot) (say func(text string))
}

// wayOut is a way on which messages leave. open returns once it listens, and
// gives what it hears as texts.
type wayOut struct {
	name  string
	names func(p spot) bool
	open  func(t *testing.T, s *server, p spot) (hear func() string)
}

func everywhere(spot) bool { return true }
func byQRI(p spot) bool    { return p.qri[0] != "" }
func byPubSub(p spot) bool { return p.pubsub[0] != "" }

// waysIn and waysOut are all that there are so far: the next dialects add
// their rows.
var waysIn = []wayIn{
	{"POST", everywhere, func(t *testing.T, s *server, p spot) func(string) {
		return func(text string) {
			if a := ask(t, "POST", s.api+p.path(), text); a.status != 201 {
				t.Fatalf("POST: %d %s", a.status, a.body)
			}
		}
	}},
	{"WebSocket", everywhere, func(t *testing.T, s *server, p spot) func(string) {
		c := open(t, web(), s.api+p.path())
		return func(text string) { c.say(t, text) }
	}},
	{"crier.v1.json", everywhere, func(t *testing.T, s *server, p spot) func(string) {
		c := open(t, web(), s.api+"/t/"+p.domain, "crier.v1.json")
		return func(text string) {
			c.say(t, map[string]any{"type": "publish", "ref": "a", "topic": p.topic, "message": map[string]string{"data": text}})
		}
	}},
	{"QRI's TCP", byQRI, func(t *testing.T, s *server, p spot) func(string) {
		c, err := net.Dial("tcp", s.qriPort(t))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return func(text string) {
			var body []byte
			for _, field := range []string{p.qri[0], p.qri[1], text} {
				body = append(append(body, 4, byte(len(field))), field...)
			}
			if _, err := c.Write(append([]byte{0x30, byte(len(body))}, body...)); err != nil {
				t.Fatal(err)
			}
		}
	}},
	{"wspubsub's owner", byPubSub, func(t *testing.T, s *server, p spot) func(string) {
		c := open(t, web(), s.api+"/ws/pub/"+p.key+"/"+url.PathEscape(p.pubsub[0])+"/"+url.PathEscape(p.pubsub[1]))
		return func(text string) { c.say(t, text) }
	}},
}

var waysOut = []wayOut{
	{"SSE", everywhere, func(t *testing.T, s *server, p spot) func() string {
		l := listen(t, web(), s.api+p.path())
		l.next(t) // the preamble
		l.next(t)
		return func() string { return l.event(t).Data }
	}},
	{"SSE of a pattern", everywhere, func(t *testing.T, s *server, p spot) func() string {
		first, _, _ := strings.Cut(p.topic, "/")
		l := listen(t, web(), s.api+"/t/"+p.domain+"/"+first+"?topic="+first+"/**")
		l.next(t)
		l.next(t)
		return func() string { return l.event(t).Data }
	}},
	{"WebSocket of a pattern", everywhere, func(t *testing.T, s *server, p spot) func() string {
		first, _, _ := strings.Cut(p.topic, "/")
		c := open(t, web(), s.api+"/t/"+p.domain+"/"+first+"?topic="+first+"/**")
		return func() string { return c.next(t).data }
	}},
	{"crier.v1.json", everywhere, func(t *testing.T, s *server, p spot) func() string {
		c := open(t, web(), s.api+p.path(), "crier.v1.json")
		c.next(t) // subscribed
		return func() string {
			var f struct{ Message struct{ Data string } }
			decode(t, c.next(t).data, &f)
			return f.Message.Data
		}
	}},
	{"NDJSON", everywhere, func(t *testing.T, s *server, p spot) func() string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.api+p.path()+"?since=latest", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "application/x-ndjson")
		resp, err := web().Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(err, resp)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		lines := bufio.NewReader(resp.Body)
		return func() string {
			for {
				line, err := lines.ReadBytes('\n')
				if err != nil {
					t.Fatal(err)
				}
				var m struct{ ID, Data string }
				if len(bytes.TrimSpace(line)) > 0 && json.Unmarshal(line, &m) == nil && m.ID != "" {
					return m.Data
				}
			}
		}
	}},
	{"pages", everywhere, func(t *testing.T, s *server, p spot) func() string {
		cursor := ask(t, "HEAD", s.api+p.path(), "").header.Get("Crier-Latest")
		return func() string {
			for {
				var page struct {
					Messages []struct{ Data string }
					Next     string
				}
				decode(t, ask(t, "GET", s.api+p.path()+"?wait=30&limit=1&since="+cursor, "").body, &page)
				cursor = page.Next
				if len(page.Messages) > 0 {
					return page.Messages[0].Data
				}
			}
		}
	}},
	{"QRI's stream", byQRI, func(t *testing.T, s *server, p spot) func() string {
		l := listen(t, web(), s.api+"/stream?p="+url.QueryEscape(p.qri[0])+"&s="+url.QueryEscape(p.qri[1]))
		if b := l.event(t); b.Data != "Tick" {
			t.Fatalf("the stream begins with %+v", b)
		}
		return func() string {
			for {
				if b := l.event(t); b.Data != "Tick" {
					return b.Data
				}
			}
		}
	}},
	{"wspubsub's subscriber", byPubSub, func(t *testing.T, s *server, p spot) func() string {
		c := open(t, web(), s.api+"/ws/sub/"+url.PathEscape(p.pubsub[0])+"/"+url.PathEscape(p.pubsub[1]))
		c.say(t, "ignored")
		return func() string { return c.next(t).data }
	}},
}

// TestPairs: what enters by any way leaves by every other, in order, wherever
// both can name the place.
func TestPairs(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--qri-listen", "127.0.0.1:0")
	for _, p := range spots(t, s) {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			// A topic of wspubsub is one once it has an owner, and so is its
			// domain: the ways of dialects are opened first.
			says := map[string]func(string){}
			for _, dialects := range []bool{true, false} {
				for _, in := range waysIn {
					if foreign := in.names(spot{}) == false; in.names(p) && foreign == dialects {
						says[in.name] = in.open(t, s, p)
					}
				}
			}
			for _, in := range waysIn {
				say := says[in.name]
				if say == nil {
					continue
				}
				t.Run("from "+in.name, func(t *testing.T) {
					hears := map[string]func() string{}
					for _, out := range waysOut {
						if out.names(p) {
							hears[out.name] = out.open(t, s, p)
						}
					}
					var want []string
					for i := range 5 {
						text := fmt.Sprintf("é %d by %s", i, in.name)
						say(text)
						want = append(want, text)
					}
					for name, hear := range hears {
						for _, w := range want {
							if got := hear(); got != w {
								t.Errorf("to %s: got %q, want %q", name, got, w)
							}
						}
					}
				})
			}
		})
	}
}
