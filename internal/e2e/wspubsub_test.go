package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"crier/internal/dialect/wspubsub/pgtest"
)

// pubsub is a server as wspubsub's clients see it.
type pubsub struct {
	*server
	key string
}

func (p *pubsub) pubURL(key, domain, topic string) string {
	return p.api + "/ws/pub/" + key + "/" + url.PathEscape(domain) + "/" + url.PathEscape(topic)
}

func (p *pubsub) subURL(domain, topic string) string {
	return p.api + "/ws/sub/" + url.PathEscape(domain) + "/" + url.PathEscape(topic)
}

// refused opens a WebSocket that must be refused before the upgrade, and gives
// the answer's status.
func refused(t *testing.T, address string, headers ...string) int {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, resp, err := websocket.Dial(ctx, strings.Replace(address, "http", "ws", 1), &websocket.DialOptions{HTTPClient: web(), HTTPHeader: h})
	if err == nil {
		_ = conn.CloseNow()
		t.Errorf("%s was let in", address)
		return 101
	}
	if resp == nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("%d is told as %q", resp.StatusCode, kind)
	}
	return resp.StatusCode
}

// takeOver opens a WebSocket once the server has noticed that the owner before
// is gone.
func (p *pubsub) takeOver(t *testing.T, address string) *socket {
	t.Helper()
	eventually(t, "the owner before is gone", func() bool { return p.metric(t, "crier_wspubsub_topics_owned") == 0 })
	return open(t, web(), address)
}

func newPubSubKey(t *testing.T, s *server, domain string) string {
	t.Helper()
	stdout, stderr, code := crier(t, nil, "key", "create", "--wspubsub", "--domain", domain, "--admin", s.admin, "--data-dir", s.dir)
	if code != 0 {
		t.Fatal(stderr)
	}
	return strings.TrimSpace(stdout)
}

// TestPubSub is the contract, by the binary.
func TestPubSub(t *testing.T) {
	t.Parallel()
	const grace = 6 * time.Second // in which a busy machine starts a server
	s := startServer(t, "--drain", "0s", "--wspubsub-grace", grace.String())
	p := &pubsub{s, newPubSubKey(t, s, "test")}
	other := newPubSubKey(t, s, "other")

	if got := refused(t, p.subURL("test", "news")); got != 404 {
		t.Errorf("a topic that was not started: %d", got)
	}
	owner := open(t, web(), p.pubURL(p.key, "test", "news"))
	sub, another := open(t, web(), p.subURL("test", "news")), open(t, web(), p.subURL("test", "news"))
	for name, bad := range map[string]struct {
		address string
		status  int
	}{
		"a second publisher":      {p.pubURL(p.key, "test", "news"), 409},
		"a wrong key":             {p.pubURL("wrong", "test", "x"), 403},
		"the key of another":      {p.pubURL(other, "test", "x"), 403},
		"a domain of another key": {p.pubURL(p.key, "other", "x"), 403},
		"no topic":                {s.api + "/ws/pub/" + p.key + "/test", 404},
		"an empty topic":          {s.api + "/ws/pub/" + p.key + "/test/", 404},
		"a segment too many":      {s.api + "/ws/sub/test/news/x", 404},
		"another path":            {s.api + "/ws/other/test/news", 404},
	} {
		if got := refused(t, bad.address); got != bad.status {
			t.Errorf("%s: %d, want %d", name, got, bad.status)
		}
	}
	if a := ask(t, "GET", p.subURL("test", "news"), ""); a.status != 400 {
		t.Errorf("without an upgrade: %d", a.status)
	}

	// Text and binary, as they came; what subscribers send is ignored.
	sub.say(t, "ignored")
	owner.say(t, "text")
	if err := owner.conn.Write(t.Context(), websocket.MessageBinary, []byte{0, 0xff}); err != nil {
		t.Fatal(err)
	}
	owner.say(t, "")
	for _, c := range []*socket{sub, another} {
		for _, want := range []frame{{data: "text"}, {binary: true, data: "\x00\xff"}, {data: ""}} {
			if got := c.next(t); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
	}

	// A takeover within the grace, of which subscribers notice nothing; a
	// clean end and a cut are the same.
	for i, leave := range []func(){
		func() { _ = owner.conn.Close(websocket.StatusNormalClosure, "") },
		func() { _ = owner.conn.CloseNow() },
	} {
		leave()
		owner = p.takeOver(t, p.pubURL(p.key, "test", "news"))
		text := fmt.Sprintf("owner %d", i+2)
		owner.say(t, text)
		if got := sub.next(t); got != (frame{data: text}) {
			t.Errorf("got %+v, want %s", got, text)
		}
	}

	// A crash: the topic has its grace anew.
	s.kill()
	s = s.restart(t)
	p.server = s
	sub = open(t, web(), p.subURL("test", "news"))
	owner = open(t, web(), p.pubURL(p.key, "test", "news"))
	owner.say(t, "after the crash")
	if got := sub.next(t); got != (frame{data: "after the crash"}) {
		t.Errorf("got %+v", got)
	}

	// The end.
	began := time.Now()
	_ = owner.conn.Close(websocket.StatusNormalClosure, "")
	if got := sub.closing(t); got.code != websocket.StatusGoingAway || !strings.Contains(got.reason, "topic ended") {
		t.Errorf("the topic ended with %+v", got)
	}
	if d := time.Since(began); d < grace-100*time.Millisecond {
		t.Errorf("it ended after %v, the grace is %v", d, grace)
	}
	if got := refused(t, p.subURL("test", "news")); got != 404 {
		t.Errorf("a topic that ended: %d", got)
	}
	// What was said stays readable, with a grant.
	if a := ask(t, "GET", s.api+"/t/test/news", ""); a.status != 200 || strings.Count(a.body, `"topic":"news"`) != 6 {
		t.Errorf("history: %d %s", a.status, a.body)
	}
}

// TestPubSubRevoked: a key that is revoked closes its publisher and lets nobody
// in.
func TestPubSubRevoked(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := &pubsub{s, newPubSubKey(t, s, "test")}
	stays := newPubSubKey(t, s, "test")
	owner, other := open(t, web(), p.pubURL(p.key, "test", "a")), open(t, web(), p.pubURL(stays, "test", "b"))
	var list struct {
		Keys []struct{ ID, State string }
	}
	s.manage(t, "GET", "/v1/wspubsub/keys?domain=test", "", &list)
	sub := open(t, web(), p.subURL("test", "b"))
	for _, k := range list.Keys { // which of the two is which, the secrets tell by their hash alone
		if strings.HasPrefix(hashOf(p.key), k.ID) {
			s.manage(t, "DELETE", "/v1/wspubsub/keys/"+k.ID, "", nil)
		}
	}
	if got := owner.closing(t); got.code != 4002 {
		t.Errorf("the owner was closed with %+v", got)
	}
	if got := refused(t, p.pubURL(p.key, "test", "c")); got != 403 {
		t.Errorf("a key that was revoked: %d", got)
	}
	other.say(t, "goes on")
	if got := sub.next(t); got.data != "goes on" {
		t.Errorf("got %+v", got)
	}
	if s.log.has(p.key) {
		t.Error("a key was logged")
	}
}

// TestPubSubOfPostgreSQL: the ancestor's table, many that come at once, and a
// database that goes away.
func TestPubSubOfPostgreSQL(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const key = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
	db.Exec(t, `insert into apikeys (domain, username, apikey, active) values ('test', 'hello@example.com', $1, true)`, key)
	db.Exec(t, `insert into apikeys (domain, username, apikey) values ('asleep', 'hello@example.com', 'asleep')`)
	db.Add(t, "known", "known", true)
	s := startServer(t, "--apikeys", db.URL, "--drain", "0s")
	p := &pubsub{s, key}
	ready := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("/readyz is %d", want), func() bool {
			a := ask(t, "GET", s.admin+"/readyz", "")
			return a.status == want && strings.Contains(a.body, "apikeys")
		})
	}
	ready(200)
	if got := refused(t, p.pubURL("asleep", "asleep", "x")); got != 403 {
		t.Errorf("a key that is not active: %d", got)
	}
	var coming sync.WaitGroup
	for i := range 200 {
		coming.Go(func() { open(t, web(), p.pubURL(key, "test", fmt.Sprint(i))) })
	}
	coming.Wait()
	if n := s.metric(t, `crier_wspubsub_key_queries_total{outcome="ok"}`); n > 20 {
		t.Errorf("200 publishers were %v queries", n)
	}
	if n := s.metric(t, "crier_wspubsub_topics_owned"); n != 200 {
		t.Errorf("%v topics are owned", n)
	}
	knownOwner := open(t, web(), p.pubURL("known", "known", "a"))

	db.Away(true)
	ready(503)
	open(t, web(), p.pubURL(key, "test", "while it is away"))
	if got := refused(t, p.pubURL("unknown", "unknown", "x")); got != 503 {
		t.Errorf("an unknown key while the database is away: %d", got)
	}
	db.Away(false)
	ready(200)
	if got := refused(t, p.pubURL("unknown", "unknown", "x")); got != 403 {
		t.Errorf("an unknown key: %d", got)
	}

	db.Exec(t, `update apikeys set active = false where domain = 'known'`)
	if got := knownOwner.closing(t); got.code != 4002 {
		t.Errorf("the publisher of a key that was deactivated: %+v", got)
	}
	eventually(t, "the key stops working", func() bool { return refused(t, p.pubURL("known", "known", "b")) == 403 })
	stdout, stderr, code := crier(t, nil, "key", "create", "--wspubsub", "--domain", "d", "--admin", s.admin, "--data-dir", s.dir)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "apikeys") {
		t.Errorf("crier key create --wspubsub: %d %s%s", code, stdout, stderr)
	}
	if strings.Contains(s.log.String(), key) {
		t.Error("a key was logged")
	}
}

// TestPubSubWithoutDatabase: it can come later.
func TestPubSubWithoutDatabase(t *testing.T) {
	t.Parallel()
	_, stderr, code := crier(t, nil, "serve", "--data-dir", t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--qri-listen", "", "--apikeys", "mysql://root:hunter2@x/y")
	if last := lastLine(stderr); code != 1 || !strings.Contains(last, "--apikeys") || strings.Contains(stderr, "hunter2") {
		t.Errorf("exit code %d, it said %q", code, last)
	}
	s := startServer(t, "--apikeys", "postgres://nobody@127.0.0.1:1/none")
	p := &pubsub{s, ""}
	if got := refused(t, p.pubURL("k", "d", "t")); got != 503 {
		t.Errorf("a key that cannot be checked: %d", got)
	}
	if a := ask(t, "GET", s.admin+"/readyz", ""); a.status != 503 {
		t.Errorf("/readyz: %d", a.status)
	}
}

// TestPubSubOrigins: pages of any origin may come, unless origins are listed.
func TestPubSubOrigins(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--origins", "https://app.example.com")
	p := &pubsub{s, newPubSubKey(t, s, "test")}
	open(t, web(), p.pubURL(p.key, "test", "a"))
	if got := refused(t, p.subURL("test", "a"), "Origin", "https://other.example.com"); got != 403 {
		t.Errorf("a page of an origin that is not listed: %d", got)
	}
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
