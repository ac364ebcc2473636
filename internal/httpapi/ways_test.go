package httpapi_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"crier/internal/access"
	"crier/internal/engine"
	"crier/internal/httpapi/strict"
	"crier/internal/hub"
	"crier/internal/topic"
)

// raw is a request by hand, its lines ended with CR LF.
func raw(body string, lines ...string) string {
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// hi is a publish, with more headers.
func hi(headers ...string) string {
	return raw("hi", append([]string{"POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"}, headers...)...)
}

// requests are what a publisher may send over a connection that was adopted:
// each is answered the same on both ways.
var requests = []struct {
	name, bytes string
	stays       bool // the loop serves it
}{
	{"a publish", hi(), true},
	{"an empty one", raw("", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 0"), true},
	{"another topic", raw("x", "POST /t/main/b/c;d=e+f HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1"), true},
	{"a topic with what JSON and URLs escape", raw("x", "POST /t/main/it's$(a)&b HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1"), true},
	{"with all it may say", hi("Content-Type: application/json; charset=utf-8", "Crier-Type: news", "Crier-TTL: 60", "User-Agent: x", "Accept: */*", "Connection: keep-alive"), true},
	{"binary", raw("\xff\xfe", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2", "Content-Type: image/png"), true},
	{"not UTF-8", raw("\xff\xfe", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"), true},
	{"a large one", raw(strings.Repeat("x", strict.MaxBody), "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", fmt.Sprint("Content-Length: ", strict.MaxBody)), true},
	{"a larger one", raw(strings.Repeat("x", strict.MaxBody+1), "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", fmt.Sprint("Content-Length: ", strict.MaxBody+1)), false},
	{"one over the limit", raw(strings.Repeat("x", 1<<20+1), "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", fmt.Sprint("Content-Length: ", 1<<20+1)), false},
	{"an escaped topic", raw("hi", "POST /t/main/%C3%A4 HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"), false},
	{"a batch", raw("1\n2\n", "POST /t/main/a?batch HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 4", "Content-Type: application/x-ndjson"), false},
	{"an idempotency key", hi("Idempotency-Key: k"), true},
	{"an idempotency key that is none", hi("Idempotency-Key: \x01"), false},
	{"an idempotency key that is long", hi("Idempotency-Key: " + strings.Repeat("k", 256)), false},
	{"a header that nobody knows", hi("X-Other: 1"), false},
	{"an origin", hi("Origin: http://localhost"), false},
	{"an origin that may not", hi("Origin: https://elsewhere.example"), false},
	{"through a proxy", hi("X-Forwarded-For: 1.2.3.4"), false},
	{"another host", raw("hi", "POST /t/main/a HTTP/1.1", "Host: elsewhere.example", "Content-Length: 2"), false},
	{"a wrong key", hi("Authorization: Bearer crier_x"), false},
	{"chunks", raw("2\r\nhi\r\n0\r\n\r\n", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked"), false},
	{"chunks and a length", raw("2\r\nhi\r\n0\r\n\r\n", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Transfer-Encoding: chunked", "Content-Length: 4"), false},
	{"two lengths", hi("Content-Length: 2"), false},
	{"two lengths that differ", hi("Content-Length: 30"), false},
	{"a length that is none", raw("hi", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: +2"), false},
	{"no length", raw("", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1"), false},
	{"no host", raw("hi", "POST /t/main/a HTTP/1.1", "Content-Length: 2"), false},
	{"two hosts", hi("Host: 127.0.0.1"), false},
	{"a continued header", hi("Crier-Type: a", " b"), false},
	{"a blank before a colon", hi("Crier-Type : a"), false},
	{"a NUL in a header", hi("Crier-Type: a\x00b"), false},
	{"a CR in a header", hi("Crier-Type: a\rSet-Cookie: b"), false},
	{"a header beyond ASCII", hi("Crier-Type: \xc3\xa4"), false},
	{"lines ended by LF", "POST /t/main/a HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 2\n\nhi", false},
	{"HTTP/1.0", raw("hi", "POST /t/main/a HTTP/1.0", "Host: 127.0.0.1", "Content-Length: 2"), false},
	{"no HTTP", "hello\r\n\r\n", false},
	{"expects to be asked", raw("", "POST /t/main/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 0", "Expect: 100-continue"), false},
	{"the last one", hi("Connection: close"), false},
	{"a type that is Crier's own", hi("Crier-Type: crier-gap"), false},
	{"a time to live that is none", hi("Crier-TTL: soon"), false},
	{"a pattern", raw("hi", "POST /t/main/** HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"), false},
	{"an empty segment", raw("hi", "POST /t/main/a//b HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"), false},
	{"no topic", raw("hi", "POST /t/main HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"), false},
	{"no such domain", raw("hi", "POST /t/nowhere/a HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2"), false},
	{"history", raw("", "GET /t/main/a?limit=1 HTTP/1.1", "Host: 127.0.0.1"), false},
	{"the head", raw("", "HEAD /t/main/a HTTP/1.1", "Host: 127.0.0.1"), false},
	{"another path", raw("", "GET /nothing HTTP/1.1", "Host: 127.0.0.1"), false},
}

// dates, ids and times are each server's own.
var (
	ofServer = regexp.MustCompile(`[0-9a-f]{24}|\d{4}-\d\d-\d\dT[0-9:.]+Z`)
	ofClock  = regexp.MustCompile(`Date: [^\r]+`)
)

// talk is a connection, and what came over it byte by byte.
type talk struct {
	*client
	seen bytes.Buffer
}

func (w *world) talk() *talk {
	t := &talk{client: w.dial()}
	t.in = bufio.NewReader(io.TeeReader(t.conn, &t.seen))
	return t
}

// say sends a request and waits for its answer; "": the connection is over.
func (t *talk) say(request string) string {
	t.t.Helper()
	t.seen.Reset()
	_, _ = io.WriteString(t.conn, request) // it may have been closed
	asked, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(t.in, &http.Request{Method: asked})
	if err != nil {
		return ""
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return ofClock.ReplaceAllString(ofServer.ReplaceAllString(t.seen.String(), "ID"), "Date")
}

// TestTwoWays: what is answered on a loop is what net/http answers, byte for
// byte, and whatever is not for a loop goes on as if there were none.
func TestTwoWays(t *testing.T) {
	for _, starts := range []bool{true, false} {
		for _, tt := range requests {
			t.Run(fmt.Sprintf("%s, starts %t", tt.name, starts), func(t *testing.T) {
				loop, plain := start(t, options{fast: true, starts: starts}), start(t, options{starts: starts})
				a, b := loop.talk(), plain.talk()
				for i, request := range []string{hi(), hi("Crier-Type: x"), tt.bytes, hi(), hi()} {
					got, want := a.say(request), b.say(request)
					if got != want {
						t.Fatalf("request %d: got\n%s\nwant\n%s", i, got, want)
					}
				}
				got := loop.counter(t, "crier_publish_requests_total", "way", "loop")
				if tt.stays && got != 4 || !tt.stays && (got < 1 || got > 3) {
					t.Errorf("a loop served %v publishes", got)
				}
				if plain.counter(t, "crier_publish_requests_total", "way", "loop") != 0 {
					t.Error("a loop served the other world's")
				}
				same(t, loop, plain)
			})
		}
	}
}

// same checks that two worlds have the same history.
func same(t *testing.T, a, b *world) {
	t.Helper()
	var got [2]string
	for i, w := range []*world{a, b} {
		got[i] = ofServer.ReplaceAllString(w.do("GET", "/t/main/**?limit=1000", "").body, "ID")
	}
	if got[0] != got[1] {
		t.Errorf("history is\n%s\nand\n%s", got[0], got[1])
	}
}

// counter is the value of a counter with a label.
func (w *world) counter(t *testing.T, name, label, value string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetName() == label && l.GetValue() == value {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	return 0
}

// TestPipelined: requests that come at once are answered in their order.
func TestPipelined(t *testing.T) {
	for _, starts := range []bool{true, false} {
		w := start(t, options{fast: true, starts: starts})
		c := w.dial()
		const n = 300
		var all strings.Builder
		for i := range n {
			fmt.Fprintf(&all, "POST /t/main/p/%d HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 400\r\n\r\n%400d", i, i)
		}
		// More than may wait: the writer is held up until answers are read.
		go func() { _, _ = io.WriteString(c.conn, all.String()) }()
		for i := range n {
			c.answer().want(t, http.StatusCreated, fmt.Sprintf(`"topic":"p/%d"`, i))
		}
		if got := w.counter(t, "crier_publish_requests_total", "way", "loop"); got != n-1 {
			t.Errorf("a loop served %v of %d", got, n)
		}
	}
}

// TestLastWords: a client that says that it sends no more gets its answers.
func TestLastWords(t *testing.T) {
	w := start(t, options{fast: true, starts: false})
	c := w.dial()
	c.post("Content-Length: 2", "hi")
	c.answer().want(t, http.StatusCreated)
	if _, err := io.WriteString(c.conn, hi()+hi()+"POST /t/main/a HT"); err != nil {
		t.Fatal(err)
	}
	if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.answer().want(t, http.StatusCreated)
	c.answer().want(t, http.StatusCreated)
	// net/http's word on the last one.
	if rest, err := io.ReadAll(c.in); err != nil || !strings.HasPrefix(string(rest), "HTTP/1.1 400") {
		t.Errorf("then %q, %v", rest, err)
	}
}

// TestLoopAway: a publish that the log does not take is refused as net/http
// refuses it, and the connection goes on.
func TestLoopAway(t *testing.T) {
	for _, starts := range []bool{true, false} {
		loop, plain := start(t, options{fast: true, starts: starts}), start(t, options{starts: starts})
		a, b := loop.talk(), plain.talk()
		for i, away := range []bool{false, false, true, true, false} {
			loop.engine.away.Store(away)
			plain.engine.away.Store(away)
			got, want := a.say(hi()), b.say(hi())
			if got != want || strings.HasPrefix(got, "HTTP/1.1 503") != away {
				t.Fatalf("request %d: got\n%s\nwant\n%s", i, got, want)
			}
		}
		if got := loop.counter(t, "crier_publish_requests_total", "way", "loop"); got != 2 {
			t.Errorf("a loop served %v publishes", got)
		}
	}
}

// TestLoopSlow: who does not go on with a request goes back to net/http, and has
// the time there that everybody has.
func TestLoopSlow(t *testing.T) {
	for _, tt := range []struct{ name, part, answer string }{
		{"a head", "POST /t/main/a HTTP/1.1\r\nHost: 127", ""},
		{"a body", "POST /t/main/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\nhal", "HTTP/1.1 408"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := start(t, options{fast: true, starts: true, head: 100e6, body: 100e6})
			c := w.dial()
			c.post("Content-Length: 2", "hi")
			c.answer().want(t, http.StatusCreated)
			if _, err := io.WriteString(c.conn, tt.part); err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(c.in)
			if !strings.HasPrefix(string(got), tt.answer) || tt.answer == "" && len(got) > 0 {
				t.Errorf("answered %q", got)
			}
			if n := w.counter(t, "crier_publishers_returned_total", "reason", "slow"); n != 1 {
				t.Errorf("%v given back", n)
			}
		})
	}
}

// TestLoopTrickle: a request that comes byte by byte, in time, is one; the time
// for it does not begin anew with each.
func TestLoopTrickle(t *testing.T) {
	w := start(t, options{fast: true, starts: true})
	c := w.dial()
	c.post("Content-Length: 2", "hi")
	c.answer().want(t, http.StatusCreated)
	for _, b := range []byte(hi()) {
		if _, err := c.conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	c.answer().want(t, http.StatusCreated)
}

// TestLoopIdle: a connection that is silent for long is closed.
func TestLoopIdle(t *testing.T) {
	w := start(t, options{fast: true, starts: true, idle: 100e6})
	c := w.dial()
	c.post("Content-Length: 2", "hi")
	c.answer().want(t, http.StatusCreated)
	if rest, err := io.ReadAll(c.in); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestLoopDrain: at the end of a server publishes under way are answered, with
// the word that no more are taken; who waits for nothing is closed.
func TestLoopDrain(t *testing.T) {
	w := start(t, options{fast: true})
	busy, idle := w.talk(), w.talk()
	for _, c := range []*talk{busy, idle} {
		if got := c.say(hi()); !strings.HasPrefix(got, "HTTP/1.1 201") {
			t.Fatal(got)
		}
	}
	release := w.engine.hold()
	busy.post("Content-Length: 2", "hi")
	<-w.engine.held
	drained := make(chan error, 1)
	go func() { drained <- w.api.Drain(t.Context()) }()
	if rest, err := io.ReadAll(idle.in); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained while a publish was under way: %v", err)
	default:
	}
	release()
	busy.answer().want(t, http.StatusCreated)
	if got := busy.seen.String(); !strings.Contains(got, "\r\nConnection: close\r\n") {
		t.Errorf("answered %s", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	late := w.dial()
	late.post("Content-Length: 2", "hi")
	late.answer().want(t, http.StatusCreated)
	if n := testutil.CollectAndCount(w.api.Metrics.Adopted); n != 1 || testutil.ToFloat64(w.api.Metrics.Adopted) != 0 {
		t.Errorf("%v publishers are left", testutil.ToFloat64(w.api.Metrics.Adopted))
	}
}

// TestLoopCutOff: a publish that is under way when the loops are closed is
// stored as it was, if the log goes on with it.
func TestLoopCutOff(t *testing.T) {
	w := start(t, options{fast: true})
	w.engine.late = make(chan error, 1)
	w.engine.quits.Store(true)
	c := w.talk()
	if got := c.say(hi()); !strings.HasPrefix(got, "HTTP/1.1 201") {
		t.Fatal(got)
	}
	release := w.engine.hold()
	c.post("Content-Length: 2", "hi")
	<-w.engine.held
	if err := w.api.Wire.Close(); err != nil {
		t.Fatal(err)
	}
	release()
	if err := <-w.engine.late; err != nil {
		t.Fatal(err)
	}
	d, err := w.hub.Domain(hub.Main)
	if err != nil {
		t.Fatal(err)
	}
	page, err := d.Log().Read(t.Context(), engine.Query{UpTo: 2, Filter: topic.NewFilter(topic.All())})
	if err != nil || len(page.Messages) != 2 {
		t.Fatalf("%d messages, %v", len(page.Messages), err)
	}
	if m := page.Messages[1]; m.Topic != "a" || string(m.Data) != "hi" {
		t.Errorf("stored was %q in %q", m.Data, m.Topic)
	}
}

// TestLoopRevoked: a key that ends, ends on a loop too; and a server that is
// closed lets no anonymous publisher go on.
func TestLoopRevoked(t *testing.T) {
	w := start(t, options{fast: true, starts: true})
	anonymous := w.talk()
	for range 2 {
		if got := anonymous.say(hi()); !strings.HasPrefix(got, "HTTP/1.1 201") {
			t.Fatal(got)
		}
	}
	key, secret, err := w.access.Keys().Create(t.Context(), access.KeySpec{Name: "k", Domain: "main", Publish: patterns(t, "a")})
	if err != nil {
		t.Fatal(err)
	}
	if got := anonymous.say(hi()); !strings.HasPrefix(got, "HTTP/1.1 401") {
		t.Errorf("anonymous: %s", got)
	}
	keyed := w.talk()
	with := hi("Authorization: Bearer " + secret)
	for range 2 {
		if got := keyed.say(with); !strings.HasPrefix(got, "HTTP/1.1 201") {
			t.Fatal(got)
		}
	}
	other := raw("x", "POST /t/main/b HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 1", "Authorization: Bearer "+secret)
	if got := keyed.say(other); !strings.HasPrefix(got, "HTTP/1.1 403") {
		t.Errorf("a topic without a grant: %s", got)
	}
	for range 2 { // it is adopted again
		if got := keyed.say(with); !strings.HasPrefix(got, "HTTP/1.1 201") {
			t.Fatal(got)
		}
	}
	if _, err := w.access.Keys().Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if got := keyed.say(with); !strings.HasPrefix(got, "HTTP/1.1 401") {
		t.Errorf("revoked: %s", got)
	}
	if n := w.counter(t, "crier_publishers_returned_total", "reason", "credential"); n != 2 {
		t.Errorf("%v given back for their credentials", n)
	}
}

// TestLoopKeys: a key is remembered whichever way it came.
func TestLoopKeys(t *testing.T) {
	for _, starts := range []bool{true, false} {
		loop, plain := start(t, options{fast: true, starts: starts}), start(t, options{starts: starts})
		a, b := loop.talk(), plain.talk()
		keyed, other := hi("Idempotency-Key: k"), strings.Replace(hi("Idempotency-Key: k"), "\r\n\r\nhi", "\r\n\r\nho", 1)
		batch := raw("1\n", "POST /t/main/a?batch HTTP/1.1", "Host: 127.0.0.1", "Content-Length: 2", "Content-Type: application/x-ndjson", "Idempotency-Key: k")
		for i, request := range []string{keyed, keyed, other, keyed, hi("Idempotency-Key: l"), hi("Idempotency-Key: l"), batch, hi()} {
			if got, want := a.say(request), b.say(request); got != want {
				t.Fatalf("request %d: got\n%s\nwant\n%s", i, got, want)
			}
		}
		same(t, loop, plain)
		if got := loop.counter(t, "crier_publish_requests_total", "way", "loop"); got < 4 {
			t.Errorf("a loop served %v publishes", got)
		}
	}
}

// TestPipelinedMix: what came with the first publish is served too, whatever it
// is.
func TestPipelinedMix(t *testing.T) {
	history := raw("", "GET /t/main/a?limit=1 HTTP/1.1", "Host: 127.0.0.1")
	for name, all := range map[string][]string{
		"a publish":      {hi(), hi()},
		"history":        {hi(), history},
		"one, the other": {hi(), hi(), history, hi(), history, history},
	} {
		w := start(t, options{fast: true, starts: true})
		c := w.dial()
		if _, err := io.WriteString(c.conn, strings.Join(all, "")); err != nil {
			t.Fatal(err)
		}
		for i, request := range all {
			want := http.StatusCreated
			if request == history {
				want = http.StatusOK
			}
			if got := c.answer(); got.status != want {
				t.Errorf("%s: request %d: %d", name, i, got.status)
			}
		}
	}
}

// TestLoopRevokedAmongMany: a key that publishes on a loop is not forgotten
// when many others are used, so its end is noticed.
func TestLoopRevokedAmongMany(t *testing.T) {
	w := start(t, options{fast: true, starts: true, keyCache: 1})
	key, secret, err := w.access.Keys().Create(t.Context(), access.KeySpec{Name: "k", Domain: "main", Publish: patterns(t, "a")})
	if err != nil {
		t.Fatal(err)
	}
	keyed := w.talk()
	with := hi("Authorization: Bearer " + secret)
	for range 2 {
		if got := keyed.say(with); !strings.HasPrefix(got, "HTTP/1.1 201") {
			t.Fatal(got)
		}
	}
	for range 2 {
		other := w.key(access.KeySpec{Domain: "main", Publish: patterns(t, "a")})
		w.publish("/t/main/a", "x", "Authorization: Bearer "+other)
	}
	if _, err := w.access.Keys().Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if got := keyed.say(with); !strings.HasPrefix(got, "HTTP/1.1 401") {
		t.Errorf("revoked: %s", got)
	}
}
