package websocket_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
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
