package realizehit_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

func TestPost(t *testing.T) {
	n := startNode(t, nodeOptions{})
	long := strings.Repeat("x", 100_000)
	for _, tt := range []struct {
		name, kind, body string
		status           int
		says             string
	}{
		{"good", "application/json", `{"pattern":{"a":"b"},"payload":{"c":1}}`, 200, "Your payload has been queued for delivery"},
		{"with charset", "application/json; charset=utf-8", `{"pattern":{"a":3},"payload":null}`, 200, "Your payload has been queued for delivery"},
		{"false", "application/json", `{"pattern":{"a":"b"},"payload":false}`, 200, "Your payload has been queued for delivery"},
		{"no type", "", `{"pattern":{"a":"b"},"payload":1}`, 400, "Please include your arguments on body"},
		{"a form", "application/x-www-form-urlencoded", `pattern=a`, 400, "Please include your arguments on body"},
		{"no JSON", "application/json", `{`, 400, "Please include your arguments on body"},
		{"no object", "application/json", `[]`, 400, "Please include your arguments on body"},
		{"null", "application/json", `null`, 400, "Please include your arguments on body"},
		{"empty", "application/json", ``, 400, "Please include your arguments on body"},
		{"not UTF-8", "application/json", "{\"pattern\":{\"a\":\"b\"},\"payload\":\"\xff\"}", 400, "Please include your arguments on body"},
		{"no pattern", "application/json", `{"payload":1}`, 400, "Please include .pattern in your request body"},
		{"pattern is no object", "application/json", `{"pattern":"a:b","payload":1}`, 400, "Please include .pattern in your request body"},
		{"pattern is empty", "application/json", `{"pattern":{},"payload":1}`, 400, "Please include .pattern in your request body"},
		{"no payload", "application/json", `{"pattern":{"a":"b"}}`, 400, "Please include .payload in your request body"},
		{"bad name", "application/json", `{"pattern":{"a b":"c"},"payload":1}`, 400, `filter name "a b" has other characters than 0-9, A-Z and a-z, or none`},
		{"star", "application/json", `{"pattern":{"a":"*"},"payload":1}`, 400, `filter "a": its value is *, which only subscriptions may have`},
		{"payload too long", "application/json", `{"pattern":{"a":"b"},"payload":"` + long + `"}`, 413, "the payload is 100002 bytes long, the limit is 100000"},
		{"body too long", "application/json", `{"pattern":{"a":"b"},"payload":"` + long + long + `"}`, 413, "the body is over the limit of 165536 bytes"},
	} {
		if status, text := n.post(tt.body, "Content-Type", tt.kind); status != tt.status || text != tt.says {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, text, tt.status, tt.says)
		}
	}
}

// TestPayloads has what is published by this way and natively reach sockets as
// JSON text.
func TestPayloads(t *testing.T) {
	n := startNode(t, nodeOptions{})
	s := n.socket()
	s.subscribe(`{"a":"b"}`)
	id := idOf(t, `{"a":"b"}`)
	n.posts(`{"a":"b"}`, "{ \"é\" : [1e400, 12345678901234567890],\n\"<\" : \"\u2028\" }")
	s.wants(id + "{\"é\":[1e400,12345678901234567890],\"<\":\"\u2028\"}")
	for _, d := range []message.Draft{
		{Data: []byte(`{"x": 1}`), ContentType: "application/json"},
		{Data: []byte(`text "x"`), ContentType: "text/plain"},
		{Data: []byte{1, 2, 3}, ContentType: "application/octet-stream", Binary: true},
		{Data: []byte(`{`), ContentType: "application/json"},
	} {
		d.Topic = "realizehit/a/b"
		if _, err := n.domain.Publish(t.Context(), engine.Block{Drafts: []message.Draft{d}}); err != nil {
			t.Fatal(err)
		}
	}
	s.wants(id+`{"x": 1}`, id+`"text \"x\""`, id+`"AQID"`, id+`"{"`)
}

func TestSocketRules(t *testing.T) {
	n := startNode(t, nodeOptions{})
	s := n.socket()
	s.send(`{"id":1,"act":"sub","pat":{"a":"b"}}`)
	s.wants(`{"id":1}`)
	s.send(`{"id":2,"act":"sub","pat":{"a":" b "}}`)
	s.wants(`{"id":2,"err":"Already subscribed to this pattern"}`)
	s.send(`{"action":"subscribe","pattern":{"a":"b"}}`)
	s.wants(`{"action":"subscribe","pattern":{"a":"b"},"status":false,"error":"Already subscribed to this pattern"}`)
	s.send(`{"id":3,"act":"unsub","pat":{"a":"c"}}`)
	s.wants(`{"id":3,"err":"Not subscribed to this pattern"}`)
	s.send(`{"action":"subscribe","pattern":{"a":"*"}}`)
	s.wants(`{"action":"subscribe","pattern":{"a":"*"},"status":true}`)
	s.send(`{"id":4,"act":"unsub","pat":{"a":"b"}}`)
	s.wants(`{"id":4}`)
	n.posts(`{"a":"b"}`, "1")
	s.wants(idOf(t, `{"a":"*"}`) + "1")
	for i := range 63 {
		s.subscribe(fmt.Sprintf(`{"n":%d}`, i))
	}
	s.send(`{"id":5,"act":"sub","pat":{"n":64}}`)
	s.wants(`{"id":5,"err":"Subscribed to 64 patterns, the limit of a connection"}`)
	s.unsubscribe(`{"n":0}`)
	s.subscribe(`{"n":64}`)
	if subs := n.table.List("", 10, nil)[0].Subscriptions(); len(subs) != 64 {
		t.Errorf("%d subscriptions are listed", len(subs))
	}
	_ = s.c.CloseNow()
	eventually(t, "a closed socket leaves all its subscriptions", func() bool { return n.domain.Subscriptions() == 0 })
}

// TestAFloodOfRequests has a client that asks and does not read: it is not
// read from, and loses nothing.
func TestAFloodOfRequests(t *testing.T) {
	n := startNode(t, nodeOptions{})
	s := n.socket()
	const requests = 20_000
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range requests {
			s.send(fmt.Sprintf(`{"id":%d,"act":"ping"}`, i))
		}
	}()
	for i := range requests {
		s.wants(fmt.Sprintf(`{"id":%d,"ret":"pong"}`, i))
	}
	<-sent
}

// TestManyMessages has two subscriptions of one socket get everything in order.
func TestManyMessages(t *testing.T) {
	n := startNode(t, nodeOptions{})
	s := n.socket()
	s.subscribe(`{"a":"b"}`)
	s.subscribe(`{"a":"*"}`)
	exact, wild := idOf(t, `{"a":"b"}`), idOf(t, `{"a":"*"}`)
	const count = 3000
	for from := 0; from < count; from += 500 {
		drafts := make([]message.Draft, 500)
		for i := range drafts {
			drafts[i] = message.Draft{Topic: "realizehit/a/b", ContentType: "application/json", Data: fmt.Append(nil, from+i)}
		}
		if _, err := n.domain.Publish(t.Context(), engine.Block{Drafts: drafts}); err != nil {
			t.Fatal(err)
		}
	}
	next := map[string]int{}
	for range 2 * count {
		got := s.read()
		mark := got[1 : 1+len(exact)]
		if want := fmt.Sprint(next[mark]); got[1+len(exact):] != want || mark != exact && mark != wild {
			t.Fatalf("%s came, want %s", got, want)
		}
		next[mark]++
	}
}

func status(t *testing.T, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), resp.Header
}

const handshake = "/ws/?EIO=4&transport=polling"

func TestPaths(t *testing.T) {
	n := startNode(t, nodeOptions{})
	for path, want := range map[string]int{
		"/ws?EIO=4&transport=polling": 200, handshake: 200, "/ws": 400, "/ws/": 400,
		"/ws//?EIO=4&transport=polling": 404, "/ws/x": 404, "/wsx": 404, "/": 404, "/%77s/?EIO=4&transport=polling": 200,
	} {
		got, body, _ := status(t, n.url+path)
		if path == "/%77s/?EIO=4&transport=polling" { // paths are taken as they come
			want = 404
		}
		if got != want {
			t.Errorf("%s: %d %s, want %d", path, got, body, want)
		}
	}
}

func TestAccess(t *testing.T) {
	key := func(n *node, action access.Action, pattern string) string {
		t.Helper()
		p, err := topic.ParsePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		spec := access.KeySpec{Domain: "main"}
		if action == access.Publish {
			spec.Publish = []topic.Pattern{p}
		} else {
			spec.Subscribe = []topic.Pattern{p}
		}
		_, secret, err := n.access.Keys().Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return secret
	}
	closed := startNode(t, nodeOptions{})
	open := closed.socket()
	subscribe, publish := key(closed, access.Subscribe, "realizehit/**"), key(closed, access.Publish, "**")
	little := key(closed, access.Subscribe, "realizehit/a/b")
	if _, _, err := open.c.Read(t.Context()); err == nil {
		t.Error("who came in while it was open stays")
	}
	if code, body, _ := status(t, closed.url+handshake); code != 403 || !strings.HasPrefix(body, `{"code":4,"message":"`) {
		t.Errorf("without a key: %d %s", code, body)
	}
	if code, _, _ := status(t, closed.url+handshake+"&access_token="+little); code != 403 {
		t.Errorf("with too small a grant: %d", code)
	}
	if code, _, _ := status(t, closed.url+handshake+"&access_token="+subscribe); code != 200 {
		t.Errorf("with a grant: %d", code)
	}
	if _, err := closed.trySocket(); err == nil {
		t.Error("a WebSocket without a key")
	}
	s, err := closed.trySocket("Authorization", "Bearer "+subscribe)
	if err != nil {
		t.Fatal(err)
	}
	s.subscribe(`{"a":"b"}`)
	const body = `{"pattern":{"a":"b"},"payload":1}`
	if code, _ := closed.post(body); code != 401 {
		t.Errorf("POST without a key: %d", code)
	}
	if code, _ := closed.post(body, "Authorization", "Bearer "+subscribe); code != 403 {
		t.Errorf("POST without a grant: %d", code)
	}
	if code, text := closed.post(body, "Authorization", "Bearer "+publish); code != 200 {
		t.Errorf("POST with a grant: %d %s", code, text)
	}
	s.wants(idOf(t, `{"a":"b"}`) + "1")

	anybody := startNode(t, nodeOptions{anybody: true})
	key(anybody, access.Publish, "**")
	anybody.socket().subscribe(`{"a":"b"}`)
	if code, _ := anybody.post(body); code != 200 {
		t.Errorf("POST where anybody may: %d", code)
	}
}

func TestOrigins(t *testing.T) {
	const page, evil = "https://app.example.com", "https://evil.example.com"
	closed := func(o nodeOptions) *node {
		n := startNode(t, o)
		if _, _, err := n.access.Keys().Create(t.Context(), access.KeySpec{Domain: "main", Publish: []topic.Pattern{topic.All()}}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	n := closed(nodeOptions{anybody: true}) // without a list, any page, but with no credentials of the browser's
	code, _, h := status(t, n.url+handshake, "Origin", evil)
	if code != 200 || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("without a list: %d %v", code, h)
	}
	if _, err := n.trySocket("Origin", evil); err != nil {
		t.Error(err)
	}
	n = closed(nodeOptions{anybody: true, origins: []string{page}})
	code, _, h = status(t, n.url+handshake, "Origin", page)
	if code != 200 || h.Get("Access-Control-Allow-Origin") != page || h.Get("Access-Control-Allow-Credentials") != "true" || h.Get("Vary") != "Origin" {
		t.Errorf("with a list: %d %v", code, h)
	}
	code, _, h = status(t, n.url+handshake, "Origin", evil)
	if code != 403 || h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("with a list, another page: %d %v", code, h)
	}
	if _, err := n.trySocket("Origin", evil); err == nil {
		t.Error("a WebSocket of another page")
	}
	if _, err := n.trySocket(); err != nil {
		t.Errorf("a WebSocket of no page: %v", err)
	}
	n = startNode(t, nodeOptions{}) // open: pages of this machine only
	if code, _, _ = status(t, n.url+handshake, "Origin", evil); code != 403 {
		t.Errorf("while open, a page of elsewhere: %d", code)
	}
}
