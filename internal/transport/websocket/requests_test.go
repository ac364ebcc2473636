package websocket_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"crier/internal/message"
	"crier/internal/transport/websocket"
)

func TestBatch(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/", "crier.v1.json")
		f := p.answer(`{"type":"publish","ref":"1","topic":"a","messages":[{"data":"x"},{"data":{"y":1}}],"idempotencyKey":"k"}`)
		if f.Type != "published" || len(f.Messages) != 2 || f.Messages[1].ID != s.cursor(2) || f.Messages[0].Durability != "memory" {
			t.Fatalf("%+v", f)
		}
		if again := p.answer(`{"type":"publish","ref":"2","topic":"a","messages":[{"data":"x"},{"data":{"y":1}}],"idempotencyKey":"k"}`); !slices.Equal(again.Messages, f.Messages) {
			t.Fatalf("%+v", again)
		}
		if other := p.answer(`{"type":"publish","ref":"3","topic":"a","messages":[{"data":"z"}],"idempotencyKey":"k"}`); other.Problem.Status != 422 {
			t.Fatalf("%+v", other)
		}
		if one := p.answer(`{"type":"publish","ref":"4","topic":"a","messages":[{"data":"x"}]}`); len(one.Messages) != 1 {
			t.Fatalf("a batch of one: %+v", one)
		}
		if got := s.history(); len(got) != 3 {
			t.Errorf("the log has %q", got)
		}
	})
}

// What is published in one way comes out in the same.
func TestData(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/**", "crier.v1.json")
		p.frame()
		for i, tt := range []struct {
			in, stored, contentType, out string
		}{
			{`"data":"text é \u2028 \n"`, "text é \u2028 \n", message.DefaultContentType, `"text é \u2028 \n"`},
			{`"data":""`, "", message.DefaultContentType, `""`},
			{`"data":{"a": [1,2.50]}`, `{"a": [1,2.50]}`, "application/json", `{"a": [1,2.50]}`},
			{`"data":null`, `null`, "application/json", `null`},
			{`"data":12345678901234567890.10`, `12345678901234567890.10`, "application/json", `12345678901234567890.10`},
			{`"data":"a string","contentType":"application/json"`, `"a string"`, "application/json", `"a string"`},
			{`"data":{"x":1},"contentType":"application/vnd.x+json"`, `{"x":1}`, "application/vnd.x+json", `{"x":1}`},
			{`"data":"<p>","contentType":"text/html"`, `<p>`, "text/html", `"<p>"`},
			{`"data":"/wA=","encoding":"base64"`, "\xff\x00", "application/octet-stream", `"/wA="`},
			{`"data":"","encoding":"base64"`, "", "application/octet-stream", `""`},
		} {
			p.send(text(`{"type":"publish","ref":"r","topic":"t","message":{` + tt.in + `}}`))
			var f frameJSON
			for range 2 { // the answer and the message come in either order
				if g := p.frame(); g.Type == "message" {
					f = g
				} else if g.Type != "published" {
					t.Fatalf("%s: %+v", tt.in, g)
				}
			}
			if f.Message.ContentType != tt.contentType || string(f.Message.Data) != tt.out && !sameString(string(f.Message.Data), tt.out) {
				t.Errorf("%s: %s as %s", tt.in, f.Message.Data, f.Message.ContentType)
			}
			if got, want := strings.TrimPrefix(s.history()[i], "b "), "t "+tt.stored; got != want {
				t.Errorf("%s: stored %q, want %q", tt.in, got, want)
			}
		}
	})
}

func sameString(a, b string) bool {
	var x, y string
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && x == y
}

func TestBadRequests(t *testing.T) {
	long := strings.Repeat("r", 65)
	for _, tt := range []struct {
		name, in, ref string
		status        int
		detail        string
	}{
		{"not JSON", `hello`, "", 400, "not a JSON object"},
		{"empty", ``, "", 400, "not a JSON object"},
		{"a list", `[1]`, "", 400, "a JSON array where an object belongs"},
		{"a string", `"ping"`, "", 400, "a JSON string where an object belongs"},
		{"null", `null`, "", 400, "ref is missing"},
		{"two objects", `{"type":"ping","ref":"1"}{}`, "", 400, "not a JSON object"},
		{"no ref", `{"type":"ping"}`, "", 400, "ref is missing"},
		{"ref is a number", `{"type":"ping","ref":7}`, "", 400, "ref cannot be a JSON number"},
		{"long ref", `{"type":"ping","ref":"` + long + `"}`, "", 400, "65 bytes long, the limit is 64"},
		{"no type", `{"ref":"1"}`, "1", 400, "type is missing"},
		{"type is a number", `{"ref":"1","type":3}`, "", 400, "type cannot be a JSON number"},
		{"unknown type", `{"ref":"1","type":"jump"}`, "1", 400, `type "jump" is none of`},
		{"unknown member", `{"ref":"1","type":"ping","extra":1}`, "1", 400, `unknown field "extra"`},
		{"misspelt member", `{"ref":"1","type":"subscribe","topics":["a"],"sicne":"earliest"}`, "1", 400, `unknown field "sicne"`},
		{"member of another request", `{"ref":"1","type":"unsubscribe","sub":"1","topics":["a"]}`, "1", 400, `unknown field "topics"`},
		{"no topics", `{"ref":"1","type":"subscribe"}`, "1", 400, "topics is missing"},
		{"empty topics", `{"ref":"1","type":"subscribe","topics":[]}`, "1", 400, "topics is missing"},
		{"topics is a string", `{"ref":"1","type":"subscribe","topics":"a"}`, "1", 400, "topics cannot be a JSON string"},
		{"bad pattern", `{"ref":"1","type":"subscribe","topics":["a//b"]}`, "1", 400, "segment 2 is empty"},
		{"bad since", `{"ref":"1","type":"subscribe","topics":["a"],"since":"yesterday"}`, "1", 400, "since: "},
		{"too many topics", `{"ref":"1","type":"subscribe","topics":["a"` + strings.Repeat(`,"b"`, 64) + `]}`, "1", 400, "65 patterns"},
		{"no grant", `{"ref":"1","type":"subscribe","topics":["secret/x"]}`, "1", 403, "no grant to subscribe to secret/x"},
		{"no sub", `{"ref":"1","type":"unsubscribe"}`, "1", 400, "sub is missing"},
		{"unknown sub", `{"ref":"1","type":"unsubscribe","sub":"9"}`, "1", 404, `"9"`},
		{"no topic", `{"ref":"1","type":"publish","message":{"data":1}}`, "1", 400, "topic is missing"},
		{"publish to a pattern", `{"ref":"1","type":"publish","topic":"a/*","message":{"data":1}}`, "1", 400, "*"},
		{"publish without a grant", `{"ref":"1","type":"publish","topic":"secret","message":{"data":1}}`, "1", 403, "no grant to publish"},
		{"no message", `{"ref":"1","type":"publish","topic":"a"}`, "1", 400, "message is missing"},
		{"no messages", `{"ref":"1","type":"publish","topic":"a","messages":[]}`, "1", 400, "message is missing"},
		{"both", `{"ref":"1","type":"publish","topic":"a","message":{"data":1},"messages":[{"data":1}]}`, "1", 400, "both there"},
		{"no data", `{"ref":"1","type":"publish","topic":"a","message":{}}`, "1", 400, "data is missing"},
		{"no data in a batch", `{"ref":"1","type":"publish","topic":"a","messages":[{"data":1},{"contentType":"text/plain"}]}`, "1", 400, "messages[1]: data is missing"},
		{"unknown encoding", `{"ref":"1","type":"publish","topic":"a","message":{"data":"x","encoding":"hex"}}`, "1", 400, `encoding "hex"`},
		{"not base64", `{"ref":"1","type":"publish","topic":"a","message":{"data":"?","encoding":"base64"}}`, "1", 400, "not base64"},
		{"base64 of an object", `{"ref":"1","type":"publish","topic":"a","message":{"data":{},"encoding":"base64"}}`, "1", 400, "not a string"},
		{"object as text", `{"ref":"1","type":"publish","topic":"a","message":{"data":{},"contentType":"text/plain"}}`, "1", 400, "not a string"},
		{"ttl 0", `{"ref":"1","type":"publish","topic":"a","message":{"data":1,"ttl":0}}`, "1", 400, "ttl is 0"},
		{"ttl 1.5", `{"ref":"1","type":"publish","topic":"a","message":{"data":1,"ttl":1.5}}`, "1", 400, "ttl cannot be"},
		{"batch too long", `{"ref":"1","type":"publish","topic":"a","messages":[{"data":1}` + strings.Repeat(`,{"data":1}`, 1000) + `]}`, "1", 413, "1001 members, the limit is 1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
				p := s.connect("/", "crier.v1.json")
				f := p.answer(tt.in)
				if f.Type != "error" || f.Ref != tt.ref || f.Problem.Status != tt.status || !strings.Contains(f.Problem.Detail, tt.detail) {
					t.Errorf("%+v", f)
				}
				if f.Problem.Type == "" || f.Problem.Title == "" {
					t.Errorf("problem without type or title: %+v", f)
				}
				// The connection goes on.
				if f := p.answer(`{"type":"ping","ref":"still there"}`); f.Type != "pong" {
					t.Errorf("%+v", f)
				}
				if len(s.history()) != 0 || s.domain.Subscriptions() != 0 {
					t.Error("something was done")
				}
			})
		})
	}
}

func TestSessionTakesTextOnly(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/", "crier.v1.json")
		p.send(client(ws.OpBinary, true, `{"type":"ping","ref":"1"}`))
		if reason := p.closed(1003); !strings.Contains(reason, "text frames only") {
			t.Errorf("reason %q", reason)
		}
	})
}

// A pattern that is shared by two subscriptions counts for both, and many
// requests at once are answered in order.
func TestRequestsAreAnsweredInOrder(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/", "crier.v1.json")
		go func() {
			for i := range 500 {
				p.send(text(fmt.Sprintf(`{"type":"%s","ref":"%d"}`, []string{"ping", "nonsense"}[i%2], i)))
			}
		}()
		for i := range 500 {
			if f := p.frame(); f.Ref != fmt.Sprint(i) || f.Type != []string{"pong", "error"}[i%2] {
				t.Fatalf("answer %d: %+v", i, f)
			}
		}
		synctest.Wait()
	})
}

// Publishes that wait while one is under way are stored together, each
// answered as if it were alone, and one that fails does not hurt the others.
func TestWaitingPublishesAreJoined(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		calls := 0
		s.publish = func(context.Context, websocket.Publication) error {
			calls++
			time.Sleep(time.Second)
			return nil
		}
		p := s.connect("/", "crier.v1.json")
		go func() {
			for i := range 40 {
				topicName := "a"
				if i == 20 {
					topicName = "secret" // refused
				}
				p.send(text(fmt.Sprintf(`{"type":"publish","ref":"%d","topic":"%s","messages":[{"data":"%d"},{"data":"%d+"}]}`, i, topicName, i, i)))
			}
		}()
		last := uint64(0)
		for i := range 40 {
			f := p.frame()
			if f.Ref != fmt.Sprint(i) || (f.Type == "error") != (i == 20) {
				t.Fatalf("answer %d: %+v", i, f)
			}
			if i == 20 {
				continue
			}
			if len(f.Messages) != 2 {
				t.Fatalf("answer %d: %+v", i, f)
			}
			for _, m := range f.Messages {
				id, err := message.ParseID(m.ID)
				if err != nil || id.Seq != last+1 {
					t.Fatalf("answer %d: id %s after %d", i, m.ID, last)
				}
				last = id.Seq
			}
		}
		if got := s.history(); len(got) != 78 || got[0] != "a 0" || got[77] != "a 39+" {
			t.Errorf("the log has %d messages", len(got))
		}
		if calls > 12 {
			t.Errorf("40 publishes in %d blocks", calls)
		}
	})
}
