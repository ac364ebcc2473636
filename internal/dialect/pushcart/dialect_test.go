package pushcart_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"crier/internal/access"
	"crier/internal/dialect/pushcart"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
	"crier/internal/transport"
)

func TestPostRefused(t *testing.T) {
	n := newNode(t, nil)
	for _, tt := range []struct {
		name, kind, token, body string
		status                  int
		says                    string
	}{
		{"no token", "application/json", "", `{}`, 401, "X-App-Token is missing"},
		{"wrong token", "application/json", strings.Repeat("0", 32), `{}`, 401, "X-App-Token is not known"},
		{"a client's token", "application/json", n.clientToken, `{}`, 401, "not known"},
		{"the token is looked at first", "text/plain", "x", `{`, 401, "not known"},
		{"no type", "", n.appToken, `{}`, 400, "Content-Type: application/json"},
		{"a form", "application/x-www-form-urlencoded", n.appToken, `a=b`, 400, "Content-Type: application/json"},
		{"empty", "application/json", n.appToken, ``, 400, "not JSON"},
		{"no JSON", "application/json", n.appToken, `{"a":}`, 400, "not JSON"},
		{"two objects", "application/json", n.appToken, `{}{}`, 400, "not JSON"},
		{"a list", "application/json", n.appToken, `[]`, 400, "not an object"},
		{"null", "application/json", n.appToken, ` null`, 400, "not an object"},
		{"a string", "application/json", n.appToken, `"x"`, 400, "not an object"},
		{"not UTF-8", "application/json", n.appToken, "{\"a\":\"\xff\"}", 400, "UTF-8"},
		{"_id", "application/json", n.appToken, `{"_id":1}`, 400, `"_id" is the server's to set`},
		{"_id in other letters", "application/json", n.appToken, `{"a":1,"\u005fid":1}`, 400, `"_id" is the server's to set`},
		{"app", "application/json", n.appToken, `{"\u0061\u0070p":{}}`, 400, `"app" is the server's to set`},
		{"too long", "application/json", n.appToken, `{"a":"` + strings.Repeat("x", 1000) + `"}`, 413, "limit of 1000 bytes"},
	} {
		r := n.do("POST", "/messages", tt.body, "X-App-Token", tt.token, "Content-Type", tt.kind)
		var e map[string]string
		if err := json.Unmarshal([]byte(r.Body), &e); err != nil || len(e) != 1 {
			t.Errorf("%s: %v: %s", tt.name, err, r.Body)
		}
		if r.Code != tt.status || !strings.Contains(e["error"], tt.says) || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %q, want %d %q", tt.name, r.Code, r.Body, tt.status, tt.says)
		}
	}
	if all, _ := n.list(""); len(all) != 0 {
		t.Errorf("refused messages are there: %v", all)
	}
}

// TestBytes: what was posted is answered, stored and read byte for byte, with
// _id before it and app behind.
func TestBytes(t *testing.T) {
	n := newNode(t, nil)
	app := `"app":{"_id":"` + n.app.ID + `","name":"My App"}}`
	var want []string
	for body, inner := range map[string]string{
		`{}`:               ``,
		`{ }`:              ` `,
		"\r\n{\"a\":1}\t ": `"a":1,`,
		`{ "b" : 1 , "a":123456789012345678901234567890.10 }`: ` "b" : 1 , "a":123456789012345678901234567890.10 ,`,
		"{\"x\":\"\\u00e9é<&\\ud800\",\n\"x\":1e999}":         "\"x\":\"\\u00e9é<&\\ud800\",\n\"x\":1e999,",
		`{"nested":{"_id":1,"app":2},"":null,"ID":"_id"}`:     `"nested":{"_id":1,"app":2},"":null,"ID":"_id",`,
		`{"App":1,"_Id":2}`: `"App":1,"_Id":2,`,
	} {
		r := n.do("POST", "/messages", body, "X-App-Token", n.appToken, "Content-Type", "application/json; charset=utf-8")
		head := regexp.MustCompile(`^\{"_id":"[0-9a-f]{24}",`).FindString(r.Body)
		if r.Code != 201 || head == "" || r.Body != head+inner+app {
			t.Errorf("%s: %d %s", body, r.Code, r.Body)
		}
		want = append(want, r.Body)
	}
	if r := n.get(""); r.Body != "["+strings.Join(want, ",")+"]" {
		t.Errorf("GET /messages: %s", r.Body)
	}
}

// TestOthers: what is published natively reaches clients, and what is posted
// here reaches native subscribers.
func TestOthers(t *testing.T) {
	n := newNode(t, nil)
	for _, d := range []message.Draft{
		{Topic: "pushcart/x", Data: []byte(`{"n":1}`), ContentType: "application/json"},
		{Topic: "pushcart/x", Data: []byte(`{"n":1`), ContentType: "application/json"},
		{Topic: "pushcart/" + n.app.ID, Data: []byte("text \"é\""), ContentType: "text/plain"},
		{Topic: "pushcart/y~20z", Data: []byte{0xff, 0}, ContentType: "image/png", Binary: true},
		{Topic: "pushcart/x/deeper", Data: []byte("no"), ContentType: "text/plain"},
		{Topic: "other/x", Data: []byte("no"), ContentType: "text/plain"},
	} {
		n.native(d)
	}
	r := n.get("")
	got := regexp.MustCompile(`"_id":"[0-9a-f]{24}",`).ReplaceAllString(r.Body, "")
	want := `[{"data":{"n":1},"app":{"_id":"x","name":"x"}},{"data":"{\"n\":1","app":{"_id":"x","name":"x"}},` +
		strings.ReplaceAll(`{"data":"text \"é\"","app":{"_id":"ID","name":"ID"}},`, "ID", n.app.ID) +
		`{"data":"/wA=","encoding":"base64","app":{"_id":"y~20z","name":"y~20z"}}]`
	// The app's id is 24 hex digits as well, which the pattern took away.
	want = strings.ReplaceAll(want, `"_id":"`+n.app.ID+`",`, "")
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	id := n.post(`{"a":1}`)
	page, err := n.domain.Log().Read(t.Context(), engine.Query{Filter: topic.NewFilter(topic.Exactly("pushcart/" + n.app.ID))})
	if err != nil {
		t.Fatal(err)
	}
	m := page.Messages[len(page.Messages)-1]
	if m.ID.String() != id || string(m.Data) != `{"a":1,"app":{"_id":"`+n.app.ID+`","name":"My App"}}` || m.ContentType != "application/json" || m.Binary {
		t.Errorf("in the log: %+v %s", m, m.Data)
	}
}

func TestSelection(t *testing.T) {
	n := newNode(t, nil)
	var ids []string
	for i := range 10 {
		ids = append(ids, n.post(fmt.Sprintf(`{"n":%d}`, i)))
		n.native(message.Draft{Topic: "other", Data: []byte("x")})
	}
	const low, high = "000000000000000000000000", "ffffffffffffffffffffffff"
	for _, tt := range []struct {
		query string
		want  []int
		gap   bool
	}{
		{"", []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, false},
		{"?since=" + ids[6], []int{7, 8, 9}, false},
		{"?since=" + strings.ToUpper(ids[6]), []int{7, 8, 9}, false},
		{"?since=" + ids[9], nil, false},
		{"?limit=3", []int{0, 1, 2}, false},
		{"?limit=3&since=" + ids[4], []int{5, 6, 7}, false},
		{"?limit=300&since=" + ids[8], []int{9}, false},
		{"?since=" + low, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, true},
		{"?since=" + high, nil, true},
		{"?since=" + ids[0][:12] + "ffffffffffff", nil, true},
		{"?since=&limit=1&wait=0", []int{0}, false},
		{"?wait=5&since=" + ids[8], []int{9}, false},
	} {
		all, h := n.list(tt.query)
		if !slices.Equal(ns(all), tt.want) || (h.Get("Crier-Gap") != "") != tt.gap {
			t.Errorf("%s: %v, gap %q", tt.query, ns(all), h.Get("Crier-Gap"))
		}
	}
	for query, says := range map[string]string{
		"?since=x": "since", "?since=" + low + "0": "since", "?since=earliest": "since", "?limit=0": "limit", "?limit=-1": "limit",
		"?limit=x": "limit", "?wait=-1": "wait", "?wait=61": "wait", "?wait=NaN": "wait", "?wait=x": "wait", "?a=%zz": "query",
	} {
		if r := n.get(query); r.Code != 400 || !strings.Contains(r.Body, `{"error":"`) || !strings.Contains(r.Body, says) {
			t.Errorf("%s: %d %s", query, r.Code, r.Body)
		}
	}
	for header, token := range map[string]string{"X-Client-Token": n.appToken, "X-App-Token": n.appToken, "X-Auth-Token": "sesame"} {
		if r := n.do("GET", "/messages", "", header, token); r.Code != 401 {
			t.Errorf("with %s: %d %s", header, r.Code, r.Body)
		}
	}
}

// TestGap: a client whose since is gone is told, in a header.
func TestGap(t *testing.T) {
	n := newNode(t, nil)
	first := n.post(`{"n":0}`)
	n.post(`{"n":1}`)
	if err := n.domain.Forget(t.Context(), "pushcart/"+n.app.ID); err != nil {
		t.Fatal(err)
	}
	third := n.post(`{"n":2}`)
	all, h := n.list("?since=" + first)
	var gap message.Gap
	if err := json.Unmarshal([]byte(h.Get("Crier-Gap")), &gap); err != nil || gap.After != first || gap.Reason != message.Deleted {
		t.Errorf("gap %q: %v", h.Get("Crier-Gap"), err)
	}
	if !slices.Equal(ns(all), []int{2}) {
		t.Errorf("got %v", all)
	}
	for _, query := range []string{"", "?since=" + third} {
		if _, h := n.list(query); h.Get("Crier-Gap") != "" {
			t.Errorf("%s: gap %s", query, h.Get("Crier-Gap"))
		}
	}
}

// TestEpochs compares ids with those of two lives of the log.
func TestEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		a := n.post(`{"n":0}`)
		time.Sleep(10 * time.Second)
		if _, err := n.domain.NewEpoch(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := n.post(`{"n":1}`)
		idA, _ := message.ParseID(a)
		between := idA
		between.Epoch.Began += 5 // another system's, made between the two
		for since, want := range map[string][]int{a: {1}, b: nil, between.String(): {1}, a[:12] + "0000000000ff": {1}} {
			if all, _ := n.list("?since=" + since); !slices.Equal(ns(all), want) {
				t.Errorf("since %s (%s, %s): %v, want %v", since, a, b, ns(all), want)
			}
		}
	})
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		id := n.post(`{"n":0}`)
		began := time.Now()
		if all, _ := n.list("?wait=30&since=" + id); len(all) != 0 || time.Since(began) != 30*time.Second {
			t.Errorf("%v after %v", all, time.Since(began))
		}
		began = time.Now()
		time.AfterFunc(10*time.Second, func() { n.native(message.Draft{Topic: "other", Data: []byte("x")}) })
		time.AfterFunc(20*time.Second, func() { n.post(`{"n":1}`) })
		if all, _ := n.list("?wait=30.5&since=" + id); !slices.Equal(ns(all), []int{1}) || time.Since(began) != 20*time.Second {
			t.Errorf("%v after %v", all, time.Since(began))
		}
		// A token that was revoked meanwhile is worth nothing.
		time.AfterFunc(5*time.Second, func() {
			clients, err := n.clients.List(t.Context(), "", 10)
			if err != nil {
				t.Error(err)
			}
			for _, c := range clients {
				if _, err := n.clients.Revoke(t.Context(), c.ID); err != nil {
					t.Error(err)
				}
			}
			n.post(`{"n":2}`)
		})
		all, _ := n.list("")
		if r := n.get("?wait=30&since=" + all[len(all)-1].ID); r.Code != 401 || strings.Contains(r.Body, `"n":2`) {
			t.Errorf("revoked while it waited: %d %s", r.Code, r.Body)
		}
		if r := n.get("?wait=30"); r.Code != 401 {
			t.Errorf("revoked: %d %s", r.Code, r.Body)
		}
	})
}

// TestWaitDraining: a client that waits is let go of when the server stops.
func TestWaitDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		time.AfterFunc(time.Second, func() { _ = n.table.Drain(t.Context(), 0) })
		began := time.Now()
		if all, _ := n.list("?wait=60"); len(all) != 0 || time.Since(began) > 2*time.Second {
			t.Errorf("%v after %v", all, time.Since(began))
		}
		if r := n.get(""); r.Code != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("after that: %d %s", r.Code, r.Body)
		}
		if n.table.Len() != 0 {
			t.Error("connections are left")
		}
	})
}

func TestRegister(t *testing.T) {
	n := newNode(t, nil)
	register := func(token, body string) response {
		return n.do("POST", "/clients", body, "X-Auth-Token", token, "Content-Type", "application/json")
	}
	r := register("sesame", `{"type":"test"}`)
	if !regexp.MustCompile(`^\{"_id":"[0-9a-f]{24}","type":"test","token":"[0-9a-f]{32}"\}$`).MatchString(r.Body) || r.Code != 201 {
		t.Fatalf("%d %s", r.Code, r.Body)
	}
	var made struct{ Token string }
	_ = json.Unmarshal([]byte(r.Body), &made) // it matched
	n.clientToken = made.Token
	n.list("")
	if r := register("sesame", `{ "type":"ios", "v": {"a":[1]} }`); r.Code != 201 || !strings.Contains(r.Body, ` "type":"ios", "v": {"a":[1]} ,"token":"`) {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	if r := register("sesame", `{}`); r.Code != 201 {
		t.Errorf("no type: %d %s", r.Code, r.Body)
	}
	clients, err := n.clients.List(t.Context(), "", 0)
	if err != nil || len(clients) != 4 {
		t.Fatalf("%v, %v", clients, err)
	}
	if i := slices.IndexFunc(clients, func(c account.Account) bool { return c.Name == "ios" }); i < 0 || string(clients[i].Info) != `{"v":{"a":[1]}}` {
		t.Errorf("clients: %+v", clients)
	}
	for body, want := range map[string]int{
		`{"_id":1}`: 400, `{"\u0074oken":"x"}`: 400, `{"type":1}`: 400, `{"type":null}`: 400, `{"type":"a\u0000"}`: 400, `[]`: 400, `{`: 400,
		`{"a":"` + strings.Repeat("x", 70_000) + `"}`: 413,
	} {
		if r := register("sesame", body); r.Code != want || !strings.HasPrefix(r.Body, `{"error":"`) {
			t.Errorf("%.40s: %d %s", body, r.Code, r.Body)
		}
	}
	for _, token := range []string{"", "sesam", "sesame2", made.Token} {
		if r := register(token, `{}`); r.Code != 401 || !strings.HasPrefix(r.Body, `{"error":"`) {
			t.Errorf("with %q: %d %s", token, r.Code, r.Body)
		}
	}
	shut := newNode(t, nil, func(c *pushcart.Config) { c.AuthToken = "" })
	for _, token := range []string{"", "x"} {
		if r := shut.do("POST", "/clients", `{}`, "X-Auth-Token", token, "Content-Type", "application/json"); r.Code != 401 || !strings.Contains(r.Body, "--auth-token") {
			t.Errorf("without an auth token, %q: %d %s", token, r.Code, r.Body)
		}
	}
}

func TestMethods(t *testing.T) {
	n := newNode(t, nil)
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"DELETE", "/messages", 405, "GET, POST"}, {"GET", "/clients", 405, "POST"}, {"OPTIONS", "/clients", 204, ""},
		{"GET", "/messages/", 404, ""}, {"GET", "/message%73", 404, ""}, {"GET", "/", 404, ""},
	} {
		if r := n.do(tt.method, tt.path, ""); r.Code != tt.status || r.Header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, allow %q", tt.method, tt.path, r.Code, r.Header.Get("Allow"))
		}
	}
}

func TestRate(t *testing.T) {
	n := newNode(t, nil, func(c *pushcart.Config) { c.Rate = access.NewLimiter(1, 1, time.Now) })
	n.post(`{}`)
	if r := n.do("POST", "/messages", `{}`, "X-App-Token", n.appToken, "Content-Type", "application/json"); r.Code != 429 || r.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}

// TestTooManyConnections: the refusal names the limit, and is counted once.
func TestTooManyConnections(t *testing.T) {
	m := transport.NewMetrics(nil)
	table := transport.NewTable(1, nil, m)
	n := newNode(t, nil, func(c *pushcart.Config) { c.Table = table })
	conn, err := table.Open(t.Context(), transport.Info{Transport: "sse", Remote: netip.MustParseAddr("192.0.2.1")}) // httptest's
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if r := n.get(""); r.Code != 429 || r.Header.Get("Retry-After") == "" || !strings.Contains(r.Body, "limit of 1 connection") {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	if got := testutil.ToFloat64(m.Refused.WithLabelValues("address")); got != 1 {
		t.Errorf("%v refusals counted", got)
	}
}

// TestManyMessages reads more than is in memory at a time.
func TestManyMessages(t *testing.T) {
	n := newNode(t, nil)
	const many = 5000
	for i := range many {
		n.post(fmt.Sprintf(`{"n":%d}`, i))
	}
	all, _ := n.list("")
	for i, m := range all {
		if m.N != i {
			t.Fatalf("message %d is %d", i, m.N)
		}
	}
	if len(all) != many {
		t.Errorf("%d messages", len(all))
	}
	if all, _ := n.list("?limit=1234&since=" + all[99].ID); len(all) != 1234 || all[0].N != 100 {
		t.Errorf("%d from %d", len(all), all[0].N)
	}
}

// slowly is the connection of somebody who does not send what was announced.
type slowly struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (s *slowly) SetReadDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *slowly) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// TestBodyThatDoesNotCome: net/http reads what is left of a body before it
// answers, so the deadline stays when it is over.
func TestBodyThatDoesNotCome(t *testing.T) {
	n := newNode(t, nil)
	s := &slowly{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("POST", "/messages", s)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-App-Token", n.appToken)
	n.dialect.ServeHTTP(s, r)
	if s.Code != http.StatusBadRequest || s.deadline.IsZero() {
		t.Errorf("answered %d, deadline %v", s.Code, s.deadline)
	}
}
