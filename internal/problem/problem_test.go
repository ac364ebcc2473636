package problem_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"crier/internal/problem"
)

// all has one problem of each constructor.
func all() []*problem.Problem {
	return []*problem.Problem{
		problem.BadRequest("d"), problem.Unauthenticated("d", ""), problem.Forbidden("d"), problem.NotFound("d"),
		problem.MethodNotAllowed("d"), problem.NotAcceptable("d"), problem.Timeout("d"), problem.Conflict("d"), problem.KeyInFlight("d"),
		problem.TooLarge("d"), problem.UnsupportedMedia("d"), problem.KeyReused("d"), problem.NotSupported("d"), problem.UpgradeRequired("d"),
		problem.TooMany("d", time.Second), problem.Internal(), problem.Unavailable("d", time.Second), problem.UnknownOutcome("d"),
	}
}

func TestEveryTypeHasAConstructor(t *testing.T) {
	made := map[string]*problem.Problem{}
	for _, p := range all() {
		made[p.Type] = p
	}
	for _, k := range problem.Types() {
		p := made[k.Type]
		if p == nil {
			t.Errorf("no constructor makes a %s", k.Type)
			continue
		}
		if p.Status != k.Status || p.Title != k.Title || !strings.HasPrefix(p.Type, "urn:crier:problem:") {
			t.Errorf("constructor made %+v of %+v", p, k)
		}
		delete(made, k.Type)
	}
	for typ := range maps.Keys(made) {
		t.Errorf("%s is made, but not listed", typ)
	}
}

func TestWrite(t *testing.T) {
	for _, tt := range []struct {
		name   string
		p      *problem.Problem
		method string
		want   map[string]string // headers; "" means there is none
		body   string
	}{
		{"plain", problem.BadRequest("limit is x; write a number").On("limit"), "GET",
			map[string]string{"Content-Type": problem.ContentType, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Retry-After": "", "WWW-Authenticate": "", "Etag": ""},
			`{"type":"urn:crier:problem:bad-request","title":"Bad request","status":400,"detail":"limit is x; write a number","field":"limit"}`},
		{"for people, not for HTML", problem.BadRequest("send <key> & more"), "GET", nil,
			`{"type":"urn:crier:problem:bad-request","title":"Bad request","status":400,"detail":"send <key> & more"}`},
		{"unauthenticated without a challenge", problem.Unauthenticated("no", ""), "GET",
			map[string]string{"WWW-Authenticate": `Bearer realm="crier"`},
			`{"type":"urn:crier:problem:unauthenticated","title":"Not authenticated","status":401,"detail":"no"}`},
		{"unauthenticated with one", problem.Unauthenticated("no", `Bearer error="invalid_token"`), "GET",
			map[string]string{"WWW-Authenticate": `Bearer error="invalid_token"`},
			`{"type":"urn:crier:problem:unauthenticated","title":"Not authenticated","status":401,"detail":"no"}`},
		{"waits are rounded up", problem.Unavailable("away", 1200*time.Millisecond), "POST",
			map[string]string{"Retry-After": "2"},
			`{"type":"urn:crier:problem:unavailable","title":"Unavailable","status":503,"detail":"away"}`},
		{"HEAD has no body", problem.NotFound("no"), "HEAD", map[string]string{"Content-Type": problem.ContentType}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("ETag", `"of another body"`)
			problem.Write(w, httptest.NewRequest(tt.method, "/", nil), tt.p)
			if w.Code != tt.p.Status {
				t.Errorf("status %d, want %d", w.Code, tt.p.Status)
			}
			for name, want := range tt.want {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := strings.TrimSpace(w.Body.String()); got != tt.body {
				t.Errorf("body\n%s\nwant\n%s", got, tt.body)
			}
			if tt.method != http.MethodHead && !json.Valid(w.Body.Bytes()) {
				t.Error("body is not JSON")
			}
		})
	}
}

func TestErrorIsTheDetail(t *testing.T) {
	if got := problem.BadRequest("why").Error(); got != "why" {
		t.Errorf("got %q", got)
	}
	if got := problem.BadRequest("").Error(); got != "Bad request" {
		t.Errorf("got %q", got)
	}
}

// The page for those who write clients lists what there is, and nothing else.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/problems.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range problem.Types() {
		row := fmt.Sprintf("| `%s` | %d | %s |", k.Type, k.Status, k.Meaning)
		if !strings.Contains(string(page), row) {
			t.Errorf("docs/problems.md lacks the row\n%s", row)
		}
	}
	if got, want := strings.Count(string(page), "| `urn:"), len(problem.Types()); got != want {
		t.Errorf("docs/problems.md has %d types, there are %d", got, want)
	}
}
