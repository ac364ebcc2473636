package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crier/internal/access"
	"crier/internal/admin"
)

// Every path that needs a token.
func guarded(r *rig) []admin.RouteView {
	var views []admin.RouteView
	for _, rt := range r.admin.Routes() {
		if strings.HasPrefix(rt.Path, "/v1/") {
			rt.Path = strings.NewReplacer("{name}", "main", "{topic...}", "a/b", "{id}", "x").Replace(rt.Path)
			views = append(views, rt)
		}
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol", "/debug/pprof/trace", "/debug/pprof/heap"} {
		views = append(views, admin.RouteView{Method: "GET", Path: path})
	}
	return views
}

// Whatever is wrong with a credential, the answer is the same.
func TestUnauthenticated(t *testing.T) {
	r := newRig(t)
	_, good := r.key(access.KeySpec{Domain: "main", Manage: r.patterns("**")})
	revoked, revokedSecret := r.key(access.KeySpec{Domain: "main", Manage: r.patterns("**")})
	if _, err := r.access.Keys().Revoke(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	_, expired := r.key(access.KeySpec{Domain: "main", Manage: r.patterns("**"), Expires: r.clock.now().Add(time.Minute)})
	r.clock.advance(time.Hour)
	other := good[:len(good)-1] + "A"
	if other == good {
		other = good[:len(good)-1] + "B"
	}
	client := byte(0)
	bodies := map[string]bool{}
	for _, rt := range append(guarded(r), admin.RouteView{Method: "GET", Path: "/nothing"}, admin.RouteView{Method: "PUT", Path: "/v1/status"}) {
		client++
		for _, tt := range []struct {
			name   string
			query  string
			header []string
		}{
			{"no token", "", nil},
			{"wrong token", "", []string{"Authorization", "Bearer " + operator + "x"}},
			{"half a token", "", []string{"Authorization", "Bearer " + operator[:10]}},
			{"other scheme", "", []string{"Authorization", "Basic " + operator}},
			{"no scheme", "", []string{"Authorization", operator}},
			{"revoked key", "", []string{"Authorization", "Bearer " + revokedSecret}},
			{"expired key", "", []string{"Authorization", "Bearer " + expired}},
			{"no such key", "", []string{"Authorization", "Bearer " + other}},
			{"token in the URL", "?access_token=" + operator, nil},
			{"key in the URL", "?access_token=" + good, nil},
			{"a cookie", "", []string{"Cookie", "token=" + operator}},
		} {
			a := r.as("", rt.Method, rt.Path+tt.query, "", append(tt.header, "RemoteAddr", fmt.Sprintf("203.0.113.%d:80", client))...)
			if a.Code != http.StatusUnauthorized {
				t.Errorf("%s %s with %s: %d %.200s", rt.Method, rt.Path, tt.name, a.Code, a.Body)
			}
			if rt.Method != "HEAD" {
				bodies[a.Body] = true
			}
			if got := a.Header.Get("WWW-Authenticate"); got != `Bearer realm="crier operator"` {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		}
	}
	if len(bodies) != 1 {
		t.Errorf("refusals can be told apart: there are %d", len(bodies))
	}
	for _, secret := range []string{operator, good, revokedSecret, expired} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("the log has the secret %s", secret)
		}
	}
}

func TestPublicPathsNeedNoToken(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]string{"/": "operator's listener", "/livez": "ok", "/readyz": `"ready":true`, "/metrics": "crier_build_info"} {
		a := r.as("", "GET", path, "")
		a.want(http.StatusOK)
		if !strings.Contains(a.Body, want) {
			t.Errorf("%s lacks %q: %.200s", path, want, a.Body)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if got := a.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		r.as("", "POST", path, "").refused(http.StatusMethodNotAllowed, "method-not-allowed", "", "GET, HEAD")
	}
	if page := r.as("", "GET", "/", "").Body; strings.Contains(page, "v1.2.3") {
		t.Error("the page tells strangers the version")
	}
}

func TestOperatorReachesProfiles(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=1", "/debug/pprof/symbol"} {
		r.get(path).want(http.StatusOK)
	}
	r.get("/debug/pprof").refused(http.StatusNotFound, "not-found", "", "nothing is at this path")
	r.as(r.manager("main", "**"), "GET", "/debug/pprof/heap", "").refused(http.StatusForbidden, "forbidden", "", "only the operator's token")
}

func TestPaths(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		method, path string
		code         int
		typ, detail  string
		allow        string
	}{
		{"GET", "/v1", 404, "not-found", "nothing is at this path", ""},
		{"GET", "/v1/", 404, "not-found", "nothing is at this path", ""},
		{"GET", "/v1/status/", 404, "not-found", "nothing is at this path", ""},
		{"GET", "/v1/nothing", 404, "not-found", "nothing is at this path", ""},
		{"PUT", "/v1/domains/main", 405, "method-not-allowed", "DELETE, GET, HEAD, PATCH", "DELETE, GET, HEAD, PATCH"},
		{"DELETE", "/v1/keys", 405, "method-not-allowed", "GET, HEAD, POST", "GET, HEAD, POST"},
		{"DELETE", "/v1/domains/main/topics", 404, "not-found", "nothing is at this path", ""},
		{"DELETE", "/v1/domains/main/topics/a//b", 400, "bad-request", "segment 6 of the path", ""},
		{"DELETE", "/v1/domains/main/topics/a/../b", 400, "bad-request", "segment 6 of the path", ""},
		{"DELETE", "/v1/domains/main/topics/a/%2e%2e/b", 400, "bad-request", "segment 6 of the path", ""},
		{"DELETE", "/v1/domains/main/topics/a%2F%2Fb", 400, "bad-request", "segment 6 of the path", ""},
		{"GET", "//v1/status", 400, "bad-request", "segment 1 of the path", ""},
	} {
		a := r.as(operator, tt.method, "http://localhost"+tt.path, "")
		a.refused(tt.code, tt.typ, "", tt.detail)
		if got := a.Header.Get("Allow"); got != tt.allow {
			t.Errorf("%s %s: Allow is %q", tt.method, tt.path, got)
		}
	}
}

func TestCrossOrigin(t *testing.T) {
	r := newRig(t)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		r.as(operator, "POST", "/v1/domains", `{"name":"x"}`, header...).refused(403, "forbidden", "", "page of another site")
		r.as(operator, "DELETE", "/v1/domains/main/topics/a", "", header...).refused(403, "forbidden", "", "page of another site")
	}
	if _, err := r.hub.Domain("x"); err == nil {
		t.Error("a page of another site made a domain")
	}
	r.as(operator, "POST", "/v1/domains", `{"name":"x"}`, "Sec-Fetch-Site", "same-origin").want(201)
	r.as(operator, "POST", "/v1/domains", `{"name":"y"}`, "Origin", "http://example.com").want(201) // the request's own host
	if a := r.as(operator, "GET", "/v1/status", "", "Origin", "https://evil.example"); a.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Error("an answer may be read by a page of another site")
	}
}

func TestTooManyBadTokens(t *testing.T) {
	r := newRig(t)
	_, key := r.key(access.KeySpec{Domain: "main", Manage: r.patterns("**")})
	bad := func(from string) *answer { return r.as("wrong", "GET", "/v1/domains", "", "RemoteAddr", from) }
	for range admin.MaxAttempts {
		bad("203.0.113.9:1").want(401)
		bad("[2001:db8::1]:1").want(401)
	}
	a := bad("203.0.113.9:2")
	a.refused(429, "too-many-requests", "", "too many bad tokens")
	if a.Header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	bad("[2001:db8::2]:1").want(429) // the same /64
	bad("[2001:db8:0:1::1]:1").want(401)
	bad("203.0.113.10:1").want(401)
	// A key is not even looked at, the operator is let in.
	r.as(key, "GET", "/v1/domains", "", "RemoteAddr", "203.0.113.9:3").want(429)
	r.as(operator, "GET", "/v1/domains", "", "RemoteAddr", "203.0.113.9:3").want(200)
	r.as("", "GET", "/v1/domains", "", "RemoteAddr", "203.0.113.9:3").want(401)

	r.clock.advance(admin.AttemptWindow)
	r.as(key, "GET", "/v1/domains", "", "RemoteAddr", "203.0.113.9:3").want(200)
	// Good ones don't count, and requests without any don't either.
	for range 3 * admin.MaxAttempts {
		r.as(key, "GET", "/v1/domains", "", "RemoteAddr", "203.0.113.9:3").want(200)
		r.as("", "GET", "/v1/domains", "", "RemoteAddr", "203.0.113.9:3").want(401)
	}
}

// The table of clients is bounded: those who come when it is full are counted
// as one, until others may be forgotten.
func TestManyClientsAreBounded(t *testing.T) {
	r := newRig(t)
	bad := func(i int) int {
		req := httptest.NewRequest("GET", "/v1/status", nil)
		req.Header.Set("Authorization", "Bearer wrong")
		req.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)
		w := httptest.NewRecorder()
		r.admin.ServeHTTP(w, req)
		return w.Code
	}
	for i := range admin.MaxClients + admin.MaxAttempts {
		if code := bad(i); code != 401 {
			t.Fatalf("client %d: %d", i, code)
		}
	}
	if code := bad(admin.MaxClients + admin.MaxAttempts); code != 429 {
		t.Errorf("one too many: %d", code)
	}
	if code := bad(0); code != 401 {
		t.Errorf("one that is known: %d", code)
	}
	r.clock.advance(admin.AttemptWindow)
	if code := bad(admin.MaxClients + admin.MaxAttempts); code != 401 {
		t.Errorf("later: %d", code)
	}
}

func TestRegistryAway(t *testing.T) {
	r := newRig(t)
	_, secret := r.key(access.KeySpec{Domain: "main", Manage: r.patterns("**")})
	r.engine.fail(errEngineAway)
	a := r.as(secret, "GET", "/v1/keys", "")
	a.refused(503, "unavailable", "", "cannot be looked up now")
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if strings.Contains(a.Body, "/secret/path") {
		t.Errorf("the answer has the engine's words: %s", a.Body)
	}
	if !strings.Contains(r.log.String(), "cannot be looked up now") {
		t.Error("the log does not say why")
	}
	r.get("/v1/domains/main").refused(503, "unavailable", "", "the engine cannot serve now")
	r.get("/v1/status").want(200)
}

// Whatever is wrong with what a client shows, it is told to wait when that was
// too often: each is a line in the log.
func TestTooManyOfAnyKind(t *testing.T) {
	for name, show := range map[string][]string{
		"another scheme": {"/v1/status", "Authorization", "Basic eDp5"},
		"no token":       {"/v1/status", "Authorization", "Bearer"},
		"in the URL":     {"/v1/status?access_token=" + operator},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for range admin.MaxAttempts {
				r.as("", "GET", show[0], "", show[1:]...).want(401)
			}
			r.as("", "GET", show[0], "", show[1:]...).want(429)
			if n := strings.Count(r.log.String(), "credential refused"); n != admin.MaxAttempts {
				t.Errorf("%d lines in the log", n)
			}
			r.get("/v1/status").want(200)
			r.as("", "GET", "/v1/status", "").want(401)
		})
	}
}
