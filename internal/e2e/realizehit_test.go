package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
)

// posted publishes as backends of realizehit do.
func posted(t *testing.T, url, body string) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, drained(resp.Body)
}

const posting = `{"pattern":{"a":"b"},"payload":"x"}`

// TestRealizehitNames starts a server with the environment of a realizehit.
func TestRealizehitNames(t *testing.T) {
	t.Parallel()
	s := launchWith(t, []string{"SERVER_HOST=127.0.0.1", "SERVER_PORT=0", "SERVER_API_PREFIX=/api"}, t.TempDir(), "--admin-listen", "127.0.0.1:0")
	s.ready(t)
	s.log.await(t, "a setting is taken from names of the system before")
	for path, want := range map[string]int{"/api": 200, "/api/": 200, "/": 405, "/api/x": 404} {
		if got, text := posted(t, s.api+path, posting); got != want {
			t.Errorf("POST %s: %d %s, want %d", path, got, text, want)
		}
	}
	// They are the weakest way to say it.
	s = launchWith(t, []string{"SERVER_API_PREFIX=/api", "CRIER_REALIZEHIT_PREFIX=/other", "SERVER_PORT=1"}, t.TempDir(),
		"--admin-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0")
	s.ready(t)
	if got, text := posted(t, s.api+"/other", posting); got != 200 {
		t.Errorf("POST /other: %d %s", got, text)
	}
}

// TestDialectsOff: what dialects that are not served would serve is a 404 like
// any other. The root is there without them, for others than POST.
func TestDialectsOff(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--dialects", "none")
	nothing := ask(t, "GET", s.api+"/nothing", "")
	for _, path := range []string{
		"/stream?p=1&s=2", "/backdoor?type=102", "/messages", "/clients",
		"/ws", "/ws/", "/ws/?EIO=4&transport=polling", "/ws/pub/key/domain/topic", "/ws/sub/domain/topic",
	} {
		for _, method := range []string{"GET", "POST"} {
			if a := ask(t, method, s.api+path, ""); a.status != 404 || a.header.Get("Content-Type") != nothing.header.Get("Content-Type") {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
	}
	if got, text := posted(t, s.api+"/", posting); got != 405 {
		t.Errorf("POST /: %d %s", got, text)
	}
}

// TestRedisThatSaysNothing: the server is there, and says that it is not ready.
func TestRedisThatSaysNothing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // connections wait to be accepted: they are open, and silent
	s := startServer(t, "--redis", "redis://"+l.Addr().String())
	if got := s.readyz(t); got != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", got)
	}
	var status struct {
		State  string
		Checks []struct {
			Name string
			OK   bool
		}
	}
	s.manage(t, "GET", "/v1/status", "", &status)
	if status.State != "starting" || len(status.Checks) != 2 || status.Checks[1].Name != "redis" || status.Checks[1].OK {
		t.Errorf("/v1/status: %+v", status)
	}
	if got, text := posted(t, s.api+"/", posting); got != 200 {
		t.Errorf("POST /, which works within the node: %d %s", got, text)
	}
	s.terminate(t)
	if code := s.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
