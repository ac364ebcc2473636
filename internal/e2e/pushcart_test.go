package e2e

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// cart asks a server as programs of Pushcart do.
func cart(t *testing.T, method, url, header, token, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, drained(resp.Body)
}

// add makes an app or a client by its command, answering its questions.
func (s *server) add(t *testing.T, what, in string) (id, token string) {
	t.Helper()
	cmd := command(t, []string{"CRIER_ADMIN=" + s.admin, "CRIER_DATA_DIR=" + s.dir}, what)
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("crier %s: %v", what, err)
	}
	m := regexp.MustCompile(`\nOK\nid: ([0-9a-f]{24})\ntoken: ([0-9a-f]{32})\n$`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("crier %s said %q", what, out)
	}
	return string(m[1]), string(m[2])
}

// TestPushcart starts a server with the environment of a Pushcart, and walks
// through it; what was acknowledged is there after a kill.
func TestPushcart(t *testing.T) {
	t.Parallel()
	s := launchWith(t, []string{"PORT=0", "AUTH_TOKEN=sesame"}, t.TempDir(), "--admin-listen", "127.0.0.1:0")
	s.ready(t)
	s.log.await(t, "a setting is taken from names of the system before")
	if strings.Contains(s.log.String(), "sesame") {
		t.Error("the auth token is in the log")
	}
	app, appToken := s.add(t, "addapp", "My App\n")
	_, clientToken := s.add(t, "addclient", "test\n\n")
	status, text := cart(t, "POST", s.api+"/messages", "X-App-Token", appToken, `{"hello":"world"}`)
	if status != 201 || !regexp.MustCompile(`^\{"_id":"[0-9a-f]{24}","hello":"world","app":\{"_id":"`+app+`","name":"My App"\}\}$`).MatchString(text) {
		t.Fatalf("POST /messages: %d %s", status, text)
	}
	var first struct {
		ID string `json:"_id"`
	}
	if err := json.Unmarshal([]byte(text), &first); err != nil {
		t.Fatal(err)
	}
	if status, got := cart(t, "GET", s.api+"/messages", "X-Client-Token", clientToken, ""); status != 200 || got != "["+text+"]" {
		t.Errorf("GET /messages: %d %s", status, got)
	}
	status, made := cart(t, "POST", s.api+"/clients", "X-Auth-Token", "sesame", `{"type":"test"}`)
	if status != 201 || !strings.Contains(made, `"type":"test"`) {
		t.Errorf("POST /clients: %d %s", status, made)
	}
	// The long poll, ended by what is published natively.
	answered := make(chan string, 1)
	go func() { // ends with the answer
		_, got := cart(t, "GET", s.api+"/messages?wait=30&since="+first.ID, "X-Client-Token", clientToken, "")
		answered <- got
	}()
	time.AfterFunc(100*time.Millisecond, func() {
		_, _ = http.Post(s.api+"/t/main/pushcart/other", "text/plain", strings.NewReader("native"))
	})
	if got, _ := receive(t, answered); !strings.HasSuffix(got, `","data":"native","app":{"_id":"other","name":"other"}}]`) {
		t.Errorf("the long poll: %s", got)
	}
	s.kill()
	s = startServerIn(t, s.dir)
	if status, got := cart(t, "GET", s.api+"/messages?limit=1", "X-Client-Token", clientToken, ""); status != 200 || got != "["+text+"]" {
		t.Errorf("after a kill: %d %s", status, got)
	}
	if status, got := cart(t, "POST", s.api+"/clients", "X-Auth-Token", "sesame", `{"type":"test"}`); status != 401 {
		t.Errorf("POST /clients without an auth token set: %d %s", status, got)
	}
	if out, errs, code := crier(t, []string{"CRIER_ADMIN=" + s.admin, "CRIER_DATA_DIR=" + s.dir}, "app", "revoke", app); code != 0 {
		t.Fatal(out, errs)
	}
	if status, _ := cart(t, "POST", s.api+"/messages", "X-App-Token", appToken, `{}`); status != 401 {
		t.Errorf("revoked: %d", status)
	}
}

// TestPushcartOff: what a dialect that is not served would serve is a 404. Its
// accounts can be made all the same.
func TestPushcartOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--dialects", "realizehit")
	_, token := s.add(t, "addapp", "My App\n")
	for _, path := range []string{"/messages", "/clients"} {
		if status, text := cart(t, "POST", s.api+path, "X-App-Token", token, `{}`); status != 404 {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// TestPushcartToNative: what is posted reaches a native subscriber.
func TestPushcartToNative(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	app, token := s.add(t, "addapp", "My App\n")
	if status, text := cart(t, "POST", s.api+"/messages", "X-App-Token", token, `{"n":1e400}`); status != 201 {
		t.Fatal(status, text)
	}
	resp, err := http.Get(s.api + "/t/main/pushcart/" + app)
	if err != nil {
		t.Fatal(err)
	}
	if got := drained(resp.Body); !strings.Contains(got, `"data":{"n":1e400,"app":{"_id":"`+app+`","name":"My App"}}}`) {
		t.Errorf("page: %s", got)
	}
}
