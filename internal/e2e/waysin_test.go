package e2e

import (
	"net"
	"net/url"
	"testing"
)

// wayIn is a way in which messages enter. names says whether it can name a
// spot; open begins to publish there. stores is what is in the log of a text
// that it is given; nil: the text.
type wayIn struct {
	name   string
	names  func(p spot) bool
	open   func(t *testing.T, s *server, p spot) (say func(text string))
	stores func(p spot, text string) inLog
}

// in gives what is in the log of a text.
func (w wayIn) in(p spot, text string) inLog {
	if w.stores == nil {
		return inLog{data: text}
	}
	return w.stores(p, text)
}

// waysIn are all that there are. A new dialect adds its rows.
var waysIn = []wayIn{
	{"POST", everywhere, func(t *testing.T, s *server, p spot) func(string) {
		return func(text string) {
			if a := ask(t, "POST", s.api+p.path(), text); a.status != 201 {
				t.Fatalf("POST: %d %s", a.status, a.body)
			}
		}
	}, nil},
	{"WebSocket", everywhere, func(t *testing.T, s *server, p spot) func(string) {
		c := open(t, web(), s.api+p.path())
		return func(text string) { c.say(t, text) }
	}, nil},
	{"crier.v1.json", everywhere, func(t *testing.T, s *server, p spot) func(string) {
		c := open(t, web(), s.api+"/t/"+p.domain, "crier.v1.json")
		return func(text string) {
			c.say(t, map[string]any{"type": "publish", "ref": "a", "topic": p.topic, "message": map[string]string{"data": text}})
		}
	}, nil},
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
	}, nil},
	{"wspubsub's owner", byPubSub, func(t *testing.T, s *server, p spot) func(string) {
		c := open(t, web(), s.api+"/ws/pub/"+p.key+"/"+url.PathEscape(p.pubsub[0])+"/"+url.PathEscape(p.pubsub[1]))
		return func(text string) { c.say(t, text) }
	}, nil},
	{"Pushcart's POST", byCart, func(t *testing.T, s *server, p spot) func(string) {
		return func(text string) {
			if status, said := cart(t, "POST", s.api+"/messages", "X-App-Token", p.appToken, `{"text":`+quoted(text)+`}`); status != 201 {
				t.Fatalf("POST /messages: %d %s", status, said)
			}
		}
	}, func(p spot, text string) inLog {
		return inLog{`{"text":` + quoted(text) + `,"app":{"_id":"` + p.app + `","name":"My App"}}`, true}
	}},
	{"realizehit's POST", byPattern, func(t *testing.T, s *server, p spot) func(string) {
		return func(text string) {
			if status, said := posted(t, s.api+"/", `{"pattern":`+p.pattern+`,"payload":`+quoted(text)+`}`); status != 200 {
				t.Fatalf("POST /: %d %s", status, said)
			}
		}
	}, asJSON},
	{"realizehit's Redis", byRedis(byPattern), func(t *testing.T, _ *server, p spot) func(string) {
		c := talkToRedis(t, p.redis)
		return func(text string) {
			// It may have several subscriptions that overlap: a message is one all the same.
			if c.publish(t, p.channel, quoted(text)) == 0 {
				t.Fatalf("nobody hears %s", p.channel)
			}
		}
	}, asJSON},
}

// asJSON: a payload is kept as JSON.
func asJSON(_ spot, text string) inLog { return inLog{quoted(text), true} }
