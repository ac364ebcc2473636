package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// wayOut is a way on which messages leave. open returns once it listens, and
// gives what it hears. shows is how it shows a message; nil: as its data.
type wayOut struct {
	name  string
	names func(p spot) bool
	open  func(t *testing.T, s *server, p spot) (hear func() string)
	shows func(p spot, m inLog) string
}

// of gives what is to be heard of a message.
func (w wayOut) of(p spot, m inLog) string {
	if w.shows == nil {
		return m.data
	}
	return w.shows(p, m)
}

// enveloped is a message in the native envelope.
type enveloped struct {
	ID, ContentType string
	Data            json.RawMessage
}

// data gives what the log has.
func (m enveloped) data(t *testing.T) string {
	t.Helper()
	if m.ContentType == "application/json" {
		return string(m.Data)
	}
	var text string
	decode(t, string(m.Data), &text)
	return text
}

// waysOut are all that there are. A new dialect adds its rows.
var waysOut = []wayOut{
	{"SSE", everywhere, func(t *testing.T, s *server, p spot) func() string {
		l := listen(t, web(), s.api+p.path())
		l.next(t) // the preamble
		l.next(t)
		return func() string { return l.event(t).Data }
	}, nil},
	{"SSE of a pattern", everywhere, func(t *testing.T, s *server, p spot) func() string {
		l := listen(t, web(), s.api+p.around())
		l.next(t)
		l.next(t)
		return func() string { return l.event(t).Data }
	}, nil},
	{"WebSocket of a pattern", everywhere, func(t *testing.T, s *server, p spot) func() string {
		c := open(t, web(), s.api+p.around())
		return func() string { return c.next(t).data }
	}, nil},
	{"crier.v1.json", everywhere, func(t *testing.T, s *server, p spot) func() string {
		c := open(t, web(), s.api+p.path(), "crier.v1.json")
		c.next(t) // subscribed
		return func() string {
			var f struct{ Message enveloped }
			decode(t, c.next(t).data, &f)
			return f.Message.data(t)
		}
	}, nil},
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
				var m enveloped
				if len(bytes.TrimSpace(line)) > 0 && json.Unmarshal(line, &m) == nil && m.ID != "" {
					return m.data(t)
				}
			}
		}
	}, nil},
	{"pages", everywhere, func(t *testing.T, s *server, p spot) func() string {
		cursor := ask(t, "HEAD", s.api+p.path(), "").header.Get("Crier-Latest")
		return func() string {
			for {
				var page struct {
					Messages []enveloped
					Next     string
				}
				decode(t, ask(t, "GET", s.api+p.path()+"?wait=30&limit=1&since="+cursor, "").body, &page)
				cursor = page.Next
				if len(page.Messages) > 0 {
					return page.Messages[0].data(t)
				}
			}
		}
	}, nil},
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
	}, nil},
	{"wspubsub's subscriber", byPubSub, func(t *testing.T, s *server, p spot) func() string {
		c := open(t, web(), s.api+"/ws/sub/"+url.PathEscape(p.pubsub[0])+"/"+url.PathEscape(p.pubsub[1]))
		c.say(t, "ignored")
		return func() string { return c.next(t).data }
	}, nil},
	{"Pushcart's long poll", byCart, func(t *testing.T, s *server, p spot) func() string {
		since := ask(t, "HEAD", s.api+p.path(), "").header.Get("Crier-Latest")
		return func() string {
			for {
				status, page := cart(t, "GET", s.api+"/messages?wait=30&limit=1&since="+since, "X-Client-Token", p.clientToken, "")
				if status != 200 {
					t.Fatalf("GET /messages: %d %s", status, page)
				}
				if page == "[]" {
					continue
				}
				id, rest := cartMessage(t, strings.TrimSuffix(strings.TrimPrefix(page, "["), "]"))
				since = id
				return rest
			}
		}
	}, cartShows},
	{"Pushcart's Redis channel", byRedis(byCart), func(t *testing.T, _ *server, p spot) func() string {
		c := talkToRedis(t, p.redis)
		c.subscribe(t, "pushcart:messages")
		return func() string {
			for { // others publish there, too
				if _, rest := cartMessage(t, c.message(t)); strings.Contains(rest, `"app":{"_id":"`+p.app+`"`) {
					return rest
				}
			}
		}
	}, cartShows},
	{"realizehit's socket, polling", byPattern, func(t *testing.T, s *server, p spot) func() string {
		return listenToPattern(t, pollEngineIO(t, s.api+"/ws/"), p)
	}, patternShows},
	{"realizehit's WebSocket", byPattern, func(t *testing.T, s *server, p spot) func() string {
		return listenToPattern(t, openEngineIO(t, s.api+"/ws/"), p)
	}, patternShows},
}

// cartMessage takes a message of Pushcart apart: its id, and what stands
// behind it.
func cartMessage(t *testing.T, text string) (id, rest string) {
	t.Helper()
	const begin, idLen, mid = `{"_id":"`, 24, `",`
	if len(text) < len(begin)+idLen+len(mid) || !strings.HasPrefix(text, begin) || text[len(begin)+idLen:][:len(mid)] != mid {
		t.Fatalf("not a message of Pushcart: %s", text)
	}
	return text[len(begin):][:idLen], text[len(begin)+idLen+len(mid):]
}

// cartShows is what stands behind the id: what was posted, or what came in by
// another way, wrapped.
func cartShows(p spot, m inLog) string {
	if m.json {
		return m.data[1:]
	}
	return `"data":` + quoted(m.data) + `,"app":{"_id":"` + p.app + `","name":"` + p.app + `"}}`
}

func patternShows(p spot, m inLog) string {
	if !m.json {
		m.data = quoted(m.data)
	}
	return p.patternID + "?" + m.data
}

// listenToPattern subscribes as sockets of realizehit do.
func listenToPattern(t *testing.T, c packets, p spot) func() string {
	t.Helper()
	c.send(t, `{"id":"p","act":"sub","pat":`+p.pattern+`}`)
	if got := c.next(t); got != `{"id":"p"}` {
		t.Fatalf("subscribing is answered %s", got)
	}
	return func() string { return c.next(t) }
}
