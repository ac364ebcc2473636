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

// cursor gives the place after the n-th message.
func (s *site) cursor(n uint64) string {
	s.t.Helper()
	state, err := s.domain.State(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return state.Position(n).String()
}

// subscribed is the frame that announces the path's subscription.
func subscribed(sub, topics, cursor string) string {
	return fmt.Sprintf(`1 {"type":"subscribed","sub":"%s","topics":[%s],"cursor":"%s"}`, sub, topics, cursor)
}

// ask sends a request and returns the answer to it, passing over messages.
func (p *peer) ask(request string) string {
	p.t.Helper()
	p.send(text(request))
	for {
		got := p.next()
		if strings.HasPrefix(got, `1 {"type":"message"`) || strings.HasPrefix(got, `1 {"type":"gap"`) || strings.HasPrefix(got, "9") {
			continue
		}
		return strings.TrimPrefix(got, "1 ")
	}
}

// frameJSON is any frame of the server.
type frameJSON struct {
	Type    string
	Ref     string
	Sub     string
	Topics  []string
	Cursor  string
	Message struct {
		ID, Topic, Type, ContentType, Encoding, Durability string
		Time                                               time.Time
		Data                                               json.RawMessage
	}
	Messages []struct{ ID, Topic, Durability string }
	Gap      message.Gap
	Problem  struct {
		Type, Title, Detail string
		Status, RetryAfter  int
	}
}

func (p *peer) frame() (f frameJSON) {
	p.t.Helper()
	for {
		got := p.next()
		if got == "9 " {
			p.send(client(ws.OpPong, true, ""))
			continue
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "1 ")), &f); err != nil {
			p.t.Fatalf("%q: %v", got, err)
		}
		return f
	}
}

func TestSession(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		s.say("a/x", "0")
		p := s.connect("/", "crier.v1.json")
		ask := func(request, want string) {
			t.Helper()
			if got := p.ask(request); got != want {
				t.Fatalf("%s\ngot  %s\nwant %s", request, got, want)
			}
		}
		ask(`{"type":"ping","ref":"p\"1"}`, `{"type":"pong","ref":"p\"1"}`)
		ask(`{"type":"subscribe","ref":"1","topics":["a/*","b","b"]}`,
			fmt.Sprintf(`{"type":"subscribed","ref":"1","sub":"1","topics":["a/*","b"],"cursor":"%s"}`, s.cursor(1)))
		ask(`{"type":"subscribe","ref":"2","topics":["a/x"],"since":"earliest"}`,
			fmt.Sprintf(`{"type":"subscribed","ref":"2","sub":"2","topics":["a/x"],"cursor":"%s"}`, s.cursor(0)))
		if f := p.frame(); f.Type != "message" || f.Sub != "2" || string(f.Message.Data) != `"0"` || f.Message.ID != s.cursor(1) {
			t.Fatalf("%+v", f)
		}
		got := p.ask(`{"type":"publish","ref":"3","topic":"a/x","message":{"data":"hello","type":"greeting"}}`)
		want := fmt.Sprintf(`{"type":"published","ref":"3","message":{"id":"%s","topic":"a/x","time":"`, s.cursor(2))
		if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, `Z","durability":"memory"}}`) {
			t.Fatalf("got %s, want %s", got, want)
		}
		p2 := s.connect("/a/x?since=earliest", "crier.v1.json")
		p2.expect(subscribed("1", `"a/x"`, s.cursor(0)))
		for i, data := range []string{`"0"`, `"hello"`} {
			f := p2.frame()
			if f.Type != "message" || f.Sub != "1" || f.Message.ID != s.cursor(uint64(i+1)) || string(f.Message.Data) != data {
				t.Fatalf("%+v", f)
			}
			if i == 1 && (f.Message.Type != "greeting" || f.Message.ContentType != message.DefaultContentType || f.Message.Topic != "a/x") {
				t.Fatalf("%+v", f)
			}
		}
	})
}

// Each subscription of a socket gets what matches it, in order, whatever the
// others do.
func TestSubscriptionsOfOneSocket(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a?topic=b&topic=c/**", "crier.v1.json")
		if f := p.frame(); f.Type != "subscribed" || f.Ref != "" || !slices.Equal(f.Topics, []string{"a", "b", "c/**"}) {
			t.Fatalf("%+v", f)
		}
		p.ask(`{"type":"subscribe","ref":"2","topics":["c/*"]}`)
		p.ask(`{"type":"subscribe","ref":"3","topics":["**"]}`)
		want := map[string][]string{}
		for i := range 300 {
			name := []string{"a", "b", "c/d", "c/d/e", "z"}[i%5]
			s.say(name, fmt.Sprint(i))
			if name != "z" {
				want["1"] = append(want["1"], fmt.Sprint(i))
			}
			if name == "c/d" {
				want["2"] = append(want["2"], fmt.Sprint(i))
			}
			want["3"] = append(want["3"], fmt.Sprint(i))
		}
		got := map[string][]string{}
		for range len(want["1"]) + len(want["2"]) + len(want["3"]) {
			f := p.frame()
			got[f.Sub] = append(got[f.Sub], strings.Trim(string(f.Message.Data), `"`))
		}
		for sub := range want {
			if !slices.Equal(got[sub], want[sub]) {
				t.Errorf("subscription %s got %q", sub, got[sub])
			}
		}
		view := s.table.List("", 1, nil)[0].Subscriptions()
		if len(view) != 3 || view[1].Name != "2" {
			t.Errorf("listed: %+v", view)
		}
	})
}

// A subscription with much history does not keep the others waiting.
func TestFairness(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		block := make([]string, 500)
		for i := range block {
			block[i] = strings.Repeat("x", 200)
		}
		const n = 20_000
		for range n / len(block) {
			s.say("much", block...)
		}
		p := s.connect("/", "crier.v1.json")
		p.ask(`{"type":"subscribe","ref":"1","topics":["news"]}`)
		p.ask(`{"type":"subscribe","ref":"2","topics":["much"],"since":"earliest"}`)
		p.frame() // it has begun
		s.say("news", "now")
		p.send(text(`{"type":"ping","ref":"now"}`))
		var news, pong int
		for i := range n + 1 {
			switch f := p.frame(); {
			case f.Sub == "1":
				news = i
			case f.Type == "pong":
				pong = i
			}
		}
		if news == 0 || news > 5000 || pong == 0 || pong > 5000 {
			t.Errorf("news came after %d messages of history, an answer after %d", news, pong)
		}
	})
}

func TestUnsubscribe(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/a", "crier.v1.json")
		p.frame()
		s.say("a", "1")
		if f := p.frame(); f.Message.ID != s.cursor(1) {
			t.Fatalf("%+v", f)
		}
		s.say("b", "passed over")
		if got, want := p.ask(`{"type":"unsubscribe","ref":"x","sub":"1"}`), fmt.Sprintf(`{"type":"unsubscribed","ref":"x","sub":"1","cursor":"%s"}`, s.cursor(1)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
		s.say("a", "not for it")
		if got := p.ask(`{"type":"unsubscribe","ref":"y","sub":"1"}`); !strings.HasPrefix(got, `{"type":"error","ref":"y","problem":{"type":"urn:crier:problem:not-found"`) {
			t.Fatal(got)
		}
		if n := s.domain.Subscriptions(); n != 0 {
			t.Errorf("%d subscriptions", n)
		}
		// Numbers are not given twice, and the room is there again.
		patterns := make([]string, 64)
		for i := range patterns {
			patterns[i] = fmt.Sprintf(`"p/%d"`, i)
		}
		full := `{"type":"subscribe","ref":"f","topics":[` + strings.Join(patterns, ",") + `]}`
		if got := p.ask(full); !strings.HasPrefix(got, `{"type":"subscribed","ref":"f","sub":"2"`) {
			t.Fatal(got)
		}
		if got := p.ask(`{"type":"subscribe","ref":"g","topics":["one more"]}`); !strings.Contains(got, `"status":400`) || !strings.Contains(got, "limit of 64") {
			t.Fatal(got)
		}
		p.ask(`{"type":"unsubscribe","ref":"h","sub":"2"}`)
		if got := p.ask(full); !strings.HasPrefix(got, `{"type":"subscribed","ref":"f","sub":"3"`) {
			t.Fatal(got)
		}
	})
}

// A gap is told in its place, and a cursor from before it is told the gap
// again.
func TestSessionGap(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		first := s.say("a", "1", "2", "3")
		if err := s.domain.Forget(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		s.say("a", "4")
		p := s.connect("/", "crier.v1.json")
		if f := p.answer(`{"type":"subscribe","ref":"1","topics":["a"],"since":"` + first.First.String() + `"}`); f.Cursor != first.First.String() {
			t.Fatalf("%+v", f)
		}
		if f := p.frame(); f.Type != "gap" || f.Sub != "1" || f.Gap.After != first.First.String() || f.Gap.Resumed.String() != s.cursor(3) || f.Gap.Reason != message.Deleted {
			t.Fatalf("%+v", f)
		}
		if f := p.frame(); f.Type != "message" || f.Message.ID != s.cursor(4) {
			t.Fatalf("%+v", f)
		}
		// Of another log: there is no cursor before the gap is told.
		if f := p.answer(`{"type":"subscribe","ref":"2","topics":["b"],"since":"00000001000000000000ffff"}`); f.Cursor != "" {
			t.Fatalf("%+v", f)
		}
		if f := p.frame(); f.Type != "gap" || f.Sub != "2" || f.Gap.Reason != message.NewEpoch {
			t.Fatalf("%+v", f)
		}
	})
}

func (p *peer) answer(request string) frameJSON {
	p.t.Helper()
	p.send(text(request))
	return p.frame()
}

// Cursors that moved past what does not match are told every 15 seconds.
func TestCursors(t *testing.T) {
	bubble(t, websocket.Config{}, func(t *testing.T, s *site) {
		p := s.connect("/rare", "crier.v1.json")
		p.frame()
		p.ask(`{"type":"subscribe","ref":"2","topics":["other"]}`)
		began := time.Now()
		s.say("rare", "1")
		p.frame()
		s.say("noise", "2", "3")
		for range 2 {
			f := p.frame()
			if f.Type != "cursor" || f.Cursor != s.cursor(3) {
				t.Fatalf("%+v", f)
			}
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("told after %v", took)
		}
		// Nothing moved: nothing is told.
		time.Sleep(time.Second)
		go func() {
			time.Sleep(10 * time.Minute)
			s.say("rare", "4")
		}()
		if f := p.frame(); f.Type != "message" {
			t.Fatalf("%+v", f)
		}
	})
}

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
