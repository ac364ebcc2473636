package e2e

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"crier/client"
)

//go:embed testdata/page.js
var pageJS string

// TestBrowser has pages in a real browser listen.
func TestBrowser(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	t.Run("EventSource", func(t *testing.T) { t.Parallel(); testEventSource(t, b) })
	t.Run("WebSocket", func(t *testing.T) { t.Parallel(); testWebSocket(t, b) })
	t.Run("gap", func(t *testing.T) { t.Parallel(); testGap(t, b) })
	t.Run("origins and tokens", func(t *testing.T) { t.Parallel(); testOriginsAndTokens(t, b) })
}

// browser is a running Chromium.
type browser struct {
	context context.Context // of its first tab
	pages   string          // HOST:PORT at which an empty page is served
}

// startBrowser starts a browser with a profile of its own, and a server for
// pages that are not of the Crier that they listen to.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	path := findBrowser(t)
	pages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, "<!doctype html><title>a page</title>")
	}))
	t.Cleanup(pages.Close)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		// Names of sites that are not of this machine.
		chromedp.Flag("host-resolver-rules", "MAP *.example.test 127.0.0.1"),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &browser{ctx, hostPort(pages.URL)}
}

// findBrowser gives the browser's path.
func findBrowser(t *testing.T) string {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	if given := os.Getenv("CRIER_CHROMIUM"); given != "" {
		names = []string{given}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	missing(t, "there is no browser: none of %s; install one, or name one in CRIER_CHROMIUM", strings.Join(names, ", "))
	return ""
}

// tab is a page.
type tab struct{ context context.Context }

// page opens an address in a tab of its own, with page.js.
func (b *browser) page(t *testing.T, address string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.context)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate(address), chromedp.Evaluate[chromedp.Void](pageJS)); err != nil {
		t.Fatalf("open %s: %v", address, err)
	}
	return &tab{ctx}
}

// run evaluates a script.
func (p *tab) run(t *testing.T, script string, args ...any) {
	t.Helper()
	evaluate[chromedp.Void](t, p, call(script, args...))
}

// call writes a call of a function.
func call(function string, args ...any) string {
	texts := make([]string, len(args))
	for i, arg := range args {
		b, _ := json.Marshal(arg)
		texts[i] = string(b)
	}
	return function + "(" + strings.Join(texts, ", ") + ")"
}

func evaluate[T any](t *testing.T, p *tab, expression string) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(p.context, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// seen is a message that a page got.
type seen struct{ Kind, ID, Data string }

// awaitLife waits until something was noted of the page's connections n times.
func (p *tab) awaitLife(t *testing.T, what string, n int) {
	t.Helper()
	var life []string
	defer func() {
		if t.Failed() {
			t.Logf("the page's connections: %q", life)
		}
	}()
	eventually(t, what, func() bool {
		life = evaluate[[]string](t, p, "life")
		count := 0
		for _, l := range life {
			if l == what {
				count++
			}
		}
		return count >= n
	})
}

// expect waits until a page got as many messages, which are to be these.
func (p *tab) expect(t *testing.T, who string, want []seen) {
	t.Helper()
	var got []seen
	defer func() {
		if t.Failed() {
			t.Logf("%s: connections %q", who, evaluate[[]string](t, p, "life"))
		}
	}()
	for began := time.Now(); len(got) < len(want); pause(t.Context(), 50*time.Millisecond) {
		if got = evaluate[[]seen](t, p, "got"); time.Since(began) > patience {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s got\n\t%+v, want\n\t%+v", who, got, want)
	}
}

// send publishes one message, and says how a page sees it: as text, or in
// base64 under the name that binary ones have.
func send(t *testing.T, c *client.Client, d client.Draft) (r client.Receipt) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := c.Publish(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// binaryData is no UTF-8.
var binaryData = []byte{0, 1, 0xfe, 0xff, '\n'}

// testEventSource has a page of the server's own origin and one of another
// listen. The server is killed, and everybody goes on without loss.
func testEventSource(t *testing.T, b *browser) {
	s := startServer(t, "--drain", "0s")
	c := s.dial(t)
	address := s.api + "/t/main/news"
	publish(t, c, "news", "before their time")
	pages := map[string]*tab{
		"a page of the same origin": b.page(t, address),
		"a page of another origin":  b.page(t, "http://"+b.pages),
	}
	for _, page := range pages {
		page.run(t, "hear", address, "sports")
		page.awaitLife(t, "open", 1)
	}
	var want []seen
	note := func(kind, data string, r client.Receipt) { want = append(want, seen{kind, r.ID, data}) }
	note("message", "one\ntwo\n three", send(t, c, client.Draft{Topic: "news", Data: []byte("one\r\ntwo\r three")}))
	note("sports", "typed", send(t, c, client.Draft{Topic: "news", Data: []byte("typed"), Type: "sports"}))
	r := send(t, c, client.Draft{Topic: "news", Data: binaryData})
	for who, page := range pages {
		expectBinary(t, who, page, want, r)
	}

	s.kill()
	for _, page := range pages {
		page.awaitLife(t, "broken", 1)
	}
	s.restart(t)
	// Pages come back 2 to 6 seconds after the cut, so that they miss this.
	last := publish(t, c, "news", "while you were away")
	for who, page := range pages {
		page.awaitLife(t, "open", 2)
		var got []seen
		eventually(t, who+" goes on", func() bool {
			got = evaluate[[]seen](t, page, "got")
			return len(got) >= len(want)+2
		})
		if at := got[len(want)+1:]; len(at) != 1 || at[0] != (seen{"message", last.ID, "while you were away"}) {
			t.Errorf("%s got %+v after the server came back, want %s", who, at, last.ID)
		}
	}
	publish(t, c, "news", "live again")
	for who, page := range pages {
		eventually(t, who+" is live", func() bool { return len(evaluate[[]seen](t, page, "got")) == len(want)+3 })
	}
}

// expectBinary wants a binary message, in its envelope, to follow what is
// wanted.
func expectBinary(t *testing.T, who string, page *tab, want []seen, r client.Receipt) {
	t.Helper()
	var got []seen
	eventually(t, who+" gets a binary message", func() bool {
		got = evaluate[[]seen](t, page, "got")
		return len(got) > len(want)
	})
	if !slices.Equal(got[:len(want)], want) {
		t.Errorf("%s got\n\t%+v, want\n\t%+v", who, got, want)
	}
	last := got[len(want)]
	var m client.Message
	decode(t, last.Data, &m)
	if last.Kind != "crier-binary" || last.ID != r.ID || m.ID != r.ID || string(m.Data) != string(binaryData) {
		t.Errorf("%s got %+v, want %q in base64 as crier-binary", who, last, binaryData)
	}
}

// testWebSocket has pages listen in three ways, two of which resume.
func testWebSocket(t *testing.T, b *browser) {
	s := startServer(t, "--drain", "0s")
	c := s.dial(t)
	address := s.api + "/t/main/news"
	socketAddress := strings.Replace(address, "http", "ws", 1)
	domain := strings.TrimSuffix(socketAddress, "/news")
	plain := b.page(t, "http://"+b.pages)
	plain.run(t, "frames", socketAddress)
	resuming := map[string]*tab{"envelopes": b.page(t, address), "session": b.page(t, "http://"+b.pages)}
	resuming["envelopes"].run(t, "envelopes", socketAddress)
	resuming["session"].run(t, "session", domain, "news", "sports/*")
	plain.awaitLife(t, "open", 1)
	resuming["envelopes"].awaitLife(t, "open", 1)
	resuming["session"].awaitLife(t, "subscribed", 1)

	one := publish(t, c, "news", "one")
	two := send(t, c, client.Draft{Topic: "news", Data: binaryData})
	want := []seen{{"text", one.ID, "one"}, {"base64", two.ID, base64.StdEncoding.EncodeToString(binaryData)}}
	plain.expect(t, "frames", []seen{{"text", "", "one"}, {"binary", "", "0 1 254 255 10"}})
	for who, page := range resuming {
		page.expect(t, who, want)
	}
	for i, text := range []string{"after the first", "after the second"} {
		s.kill()
		for _, page := range resuming {
			page.awaitLife(t, "closed 1006", 1+i)
		}
		s = s.restart(t)
		want = append(want, seen{"text", publish(t, c, "news", text).ID, text})
		for who, page := range resuming {
			page.expect(t, who, want)
		}
	}
	// One that is told to come back is.
	plain.awaitLife(t, "open", 3)
	s.terminate(t)
	plain.awaitLife(t, "closed 1012", 1)
}

// testGap has pages come with a cursor after which something was deleted.
func testGap(t *testing.T, b *browser) {
	s := startServer(t, "--drain", "0s")
	c := s.dial(t)
	address := s.api + "/t/main/news"
	first := publish(t, c, "news", "one")
	deleted := publish(t, c, "news", "two")
	s.manage(t, "DELETE", "/v1/domains/main/topics/news", "", nil)
	last := publish(t, c, "news", "three")
	page := b.page(t, "http://"+b.pages)
	page.run(t, "hear", address+"?since="+first.ID)
	gap := fmt.Sprintf(`{"after":%q,"resumed":%q,"reason":"deleted"}`, first.ID, deleted.ID)
	page.expect(t, "EventSource", []seen{{"crier-gap", deleted.ID, gap}, {"message", last.ID, "three"}})

	// A raw WebSocket has no frame for it, and is closed.
	raw := b.page(t, "http://"+b.pages)
	raw.run(t, "frames", strings.Replace(address, "http", "ws", 1)+"?since="+first.ID)
	raw.awaitLife(t, "closed 4001", 1)
}

// testOriginsAndTokens has pages of sites that are listed and that are not use
// a closed server.
func testOriginsAndTokens(t *testing.T, b *browser) {
	_, port, _ := strings.Cut(b.pages, ":")
	listed, other := "http://app.example.test:"+port, "http://other.example.test:"+port
	s := startServer(t, "--drain", "0s", "--origins", listed)
	k := s.makeKey(t)
	c := s.dial(t, client.WithToken(k.Secret))
	address := s.api + "/t/main/news"
	socketAddress := strings.Replace(address, "http", "ws", 1) + "?access_token=" + k.Secret
	one := publish(t, c, "news", "one")
	two := publish(t, c, "news", "two")

	app := b.page(t, listed)
	headers := map[string]string{
		"Authorization": "Bearer " + k.Secret, "Accept": "text/event-stream", "Last-Event-ID": one.ID, "Cache-Control": "no-cache",
	}
	got := evaluate[[]string](t, app, call("ask", address, map[string]any{"headers": headers}, "Content-Type"))
	if got[0] != "200" || got[1] != "text/event-stream" {
		t.Errorf("fetch with Last-Event-ID: %q", got)
	}
	post := map[string]any{"method": "POST", "body": "three", "headers": map[string]string{
		"Authorization": "Bearer " + k.Secret, "Idempotency-Key": "a", "Crier-Type": "t", "Crier-TTL": "3600", "Content-Type": "text/plain",
	}}
	if got := evaluate[[]string](t, app, call("ask", address, post, "Location")); got[0] != "201" || !strings.Contains(got[1], "since="+two.ID) {
		t.Errorf("fetch with POST: %q, want 201 and a Location after %s", got, two.ID)
	}

	stranger := b.page(t, other)
	for what, options := range map[string]map[string]any{"listening": {"headers": headers}, "publishing": post} {
		if got := evaluate[[]string](t, stranger, call("ask", address, options, "Location")); got[0] != "refused" {
			t.Errorf("%s from an origin that is not listed: %q", what, got)
		}
	}
	stranger.run(t, "hear", address+"?access_token="+k.Secret)
	stranger.awaitLife(t, "given up", 1)
	stranger.run(t, "frames", socketAddress)
	stranger.awaitLife(t, "closed 1006", 1)

	// Without a header, the token goes into the URL. It ends with its key.
	app.run(t, "hear", address+"?since="+one.ID+"&access_token="+k.Secret)
	app.expect(t, "EventSource", []seen{{"message", two.ID, "two"}})
	app.run(t, "frames", socketAddress)
	app.awaitLife(t, "open", 2)
	s.manage(t, "DELETE", "/v1/keys/"+k.ID, "", nil)
	app.awaitLife(t, "closed 4002", 1)
	eventually(t, "crier-expired", func() bool {
		got := evaluate[[]seen](t, app, "got")
		return got[len(got)-1].Kind == "crier-expired"
	})
	// Coming back brings a 401, at which it gives up.
	app.awaitLife(t, "given up", 1)
}
