package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"crier/client"
)

// codeCredential closes the WebSockets of a credential that ended.
const codeCredential = 4002

// nobody is an address at which no operator's listener is, so that commands
// work on the data directory.
const nobody = "http://127.0.0.1:1"

// makeKeyIn makes a key by command, in a data directory or through its server.
func makeKeyIn(t *testing.T, dir, admin string, flags ...string) (secret string) {
	t.Helper()
	args := append([]string{"key", "create", "--data-dir", dir, "--admin", admin}, flags...)
	stdout, stderr, code := crier(t, nil, args...)
	secret = strings.TrimSpace(stdout)
	if code != 0 || !strings.HasPrefix(secret, "crier_") || strings.ContainsAny(secret, " \n") {
		t.Fatalf("crier %v: exit code %d, stdout %q, stderr %q, want a secret alone", args, code, stdout, stderr)
	}
	return secret
}

func idOf(secret string) string { return strings.Split(secret, "_")[1] }

// A server is closed before its first start by a key that is made in its data
// directory.
func TestClosedBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/data"
	secret := makeKeyIn(t, dir, nobody, "--publish", "a/**", "--subscribe", "a/*", "--name", "first")
	s := startServerIn(t, dir)
	s.log.await(t, "closed")
	if s.log.has("OPEN") {
		t.Error("it says that it is open")
	}
	for _, tt := range []struct {
		method, topic string
		header        []string
		want          int
	}{
		{"POST", "a/x", nil, http.StatusUnauthorized},
		{"GET", "a/x", nil, http.StatusUnauthorized},
		{"POST", "a/x", bearer(secret + "x"), http.StatusUnauthorized},
		{"POST", "a/x/y", bearer(secret), http.StatusCreated},
		{"POST", "b", bearer(secret), http.StatusForbidden},
		{"GET", "a/x", bearer(secret), http.StatusOK},
		{"GET", "a/**", bearer(secret), http.StatusForbidden},
		{"DELETE", "a/x", bearer(secret), http.StatusForbidden},
	} {
		a := ask(t, tt.method, s.api+"/t/main/"+tt.topic, "", tt.header...)
		if a.status != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.topic, a.status, a.body, tt.want)
		}
		if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s %s: 401 without WWW-Authenticate", tt.method, tt.topic)
		}
		if a.status >= 400 {
			a.problem(t)
		}
	}
	if s.log.has(secret) {
		t.Error("the secret is in the log")
	}
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// While the server is open it listens on loopback addresses only; a key, made
// beforehand, lifts that.
func TestOpenListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve := []string{"serve", "--data-dir", dir, "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"}
	for _, flags := range [][]string{nil, {"--open"}} {
		_, stderr, code := crier(t, nil, append(serve, flags...)...)
		if last := lastLine(stderr); code != 1 || !strings.Contains(last, "0.0.0.0:0") || !strings.Contains(last, "crier key create") {
			t.Errorf("%v: exit code %d, it said %q, want the address and the mend", flags, code, last)
		}
	}
	makeKeyIn(t, dir, nobody, "--manage")
	s := launch(t, dir, "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0")
	s.ready(t)
	s.kill()
	if _, stderr, code := crier(t, nil, append(serve, "--open")...); code != 1 {
		t.Errorf("held open by --open: exit code %d, it said %q", code, stderr)
	}
}

// The first key ends what anonymous connections there are, and revoking it
// those that it opened.
func TestKeysEndConnections(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	address := s.api + "/t/main/news"
	stream, raw, session := listen(t, web(), address), open(t, web(), address), open(t, web(), address, "crier.v1.json")
	secret := makeKeyIn(t, s.dir, s.admin, "--publish", "**", "--subscribe", "**")
	checkExpired(t, stream, raw, session)
	if a := ask(t, "GET", address, ""); a.status != http.StatusUnauthorized {
		t.Errorf("anonymous after the first key: %d", a.status)
	}

	stream, raw, session = listen(t, web(), address, bearer(secret)...), open(t, web(), address+"?access_token="+secret), open(t, web(), address+"?access_token="+secret, "crier.v1.json")
	if stdout, stderr, code := crier(t, nil, "key", "list", "--data-dir", s.dir, "--admin", s.admin); code != 0 || !strings.Contains(stdout, idOf(secret)) || strings.Contains(stdout, secret) {
		t.Errorf("crier key list: exit code %d, %s%s", code, stdout, stderr)
	}
	if _, stderr, code := crier(t, nil, "key", "revoke", "--data-dir", s.dir, "--admin", s.admin, idOf(secret)); code != 0 {
		t.Fatalf("crier key revoke: exit code %d, %s", code, stderr)
	}
	checkExpired(t, stream, raw, session)
	if a := ask(t, "GET", address, "", bearer(secret)...); a.status != http.StatusUnauthorized {
		t.Errorf("revoked key: %d", a.status)
	}
	// Closed for good, also over a restart.
	s.kill()
	s = s.restart(t)
	if a := ask(t, "GET", address, ""); a.status != http.StatusUnauthorized {
		t.Errorf("anonymous after the last key was revoked: %d", a.status)
	}
	if s.log.has(secret) {
		t.Error("the secret is in the log")
	}
}

// checkExpired waits until connections were told that their credential ended.
func checkExpired(t *testing.T, stream *sse, sockets ...*socket) {
	t.Helper()
	blocks := stream.rest(t)
	if last := blocks[len(blocks)-1]; last.Event != "crier-expired" {
		t.Errorf("the stream ended with %+v, want crier-expired", last)
	}
	for i, socket := range sockets {
		if end := socket.closing(t); end.code != codeCredential {
			t.Errorf("socket %d was closed with %d (%s), want %d", i, end.code, end.reason, codeCredential)
		}
	}
}

// A connection ends with its JWT.
func TestJWTEndsItsConnections(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("0123456789abcdef", 2)
	s := startServer(t, "--jwt-key", write(t, "jwt.key", secret+"\n"))
	ends := time.Now().Add(6 * time.Second).Truncate(time.Second)
	token := sign(t, secret, ends)
	address := s.api + "/t/main/news"
	stream := listen(t, web(), address, bearer(token)...)
	socket := open(t, web(), address+"?access_token="+token)
	if a := ask(t, "POST", address, "hello", bearer(token)...); a.status != http.StatusForbidden {
		t.Errorf("publishing without a grant: %d %s", a.status, a.body)
	}
	if a := ask(t, "GET", address, "", bearer(sign(t, secret[1:]+"x", ends))...); a.status != http.StatusUnauthorized {
		t.Errorf("another signature: %d %s", a.status, a.body)
	}
	checkExpired(t, stream, socket)
	if now := time.Now(); now.Before(ends) {
		t.Errorf("they ended at %v, before exp, %v", now, ends)
	}
	if a := ask(t, "GET", address, "", bearer(token)...); a.status != http.StatusUnauthorized {
		t.Errorf("expired token: %d %s", a.status, a.body)
	}
	if s.log.has(token) {
		t.Error("the token is in the log")
	}
}

func sign(t *testing.T, secret string, ends time.Time) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "somebody", "exp": ends.Unix(), "crier": map[string]any{"subscribe": []string{"news"}},
	}).SignedString([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// A request that did not come straight from this machine's own pages is
// refused while the server is open.
func TestOpenScreensRequests(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--origins", "https://app.example.org")
	address := s.api + "/t/main/news"
	for _, tt := range []struct {
		header []string
		want   int
	}{
		{nil, http.StatusOK},
		{[]string{"Origin", "https://app.example.org"}, http.StatusOK},
		{[]string{"Origin", "http://localhost:3000"}, http.StatusOK},
		{[]string{"Origin", "https://evil.example.org"}, http.StatusForbidden},
		{[]string{"X-Forwarded-For", "192.0.2.1"}, http.StatusForbidden},
		{[]string{"Via", "1.1 proxy"}, http.StatusForbidden},
	} {
		if a := ask(t, "GET", address, "", tt.header...); a.status != tt.want {
			t.Errorf("%v: %d %s, want %d", tt.header, a.status, a.body, tt.want)
		}
	}
	publish(t, s.dial(t, client.WithUserAgent("e2e")), "news", "hello")
}

// Clients behind a proxy that is trusted are told apart by what it says of
// them; what anybody else says is not believed.
func TestTrustedProxies(t *testing.T) {
	t.Parallel()
	forwarded := []string{"X-Forwarded-For", "198.51.100.7, 192.0.2.1"}
	for _, tt := range []struct {
		name  string
		flags []string
		want  string // the address that the connection is said to be of
		other int    // what a second client behind the same proxy gets
	}{
		{"nobody", nil, "127.0.0.1", http.StatusTooManyRequests},
		{"another", []string{"--trusted-proxies", "10.0.0.0/8"}, "127.0.0.1", http.StatusTooManyRequests},
		{"this one", []string{"--trusted-proxies", "127.0.0.1"}, "192.0.2.1", http.StatusOK},
		{"a chain", []string{"--trusted-proxies", "127.0.0.0/8,192.0.2.0/24"}, "198.51.100.7", http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, append(tt.flags, "--max-connections-per-address", "1")...)
			token := bearer(s.makeKey(t).Secret)
			address := s.api + "/t/main/news"
			listen(t, web(), address, append(token, forwarded...)...)
			var page struct{ Connections []struct{ Remote string } }
			s.manage(t, "GET", "/v1/connections", "", &page)
			if len(page.Connections) != 1 || page.Connections[0].Remote != tt.want {
				t.Errorf("connections %+v, want one of %s", page.Connections, tt.want)
			}
			if a := ask(t, "GET", address, "", append(token, forwarded...)...); a.status != http.StatusTooManyRequests {
				t.Errorf("the same client again: %d %s", a.status, a.body)
			}
			if a := ask(t, "GET", address, "", append(token, "X-Forwarded-For", "203.0.113.9")...); a.status != tt.other {
				t.Errorf("another client: %d %s, want %d", a.status, a.body, tt.other)
			}
		})
	}
}
