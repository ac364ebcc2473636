package qri_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"crier/internal/access"
	"crier/internal/dialect/qri/notice"
	"crier/internal/topic"
)

const (
	form     = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func TestBackdoor(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		auth := []string{"Authorization", "Bearer " + operator}
		call := func(method, target, body, contentType string) (int, string) {
			t.Helper()
			headers := auth
			if contentType != "" {
				headers = append(headers[:2:2], "Content-Type", contentType)
			}
			status, answer, header := r.call(method, target, body, headers...)
			if header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s %s: a page could not read the answer", method, target)
			}
			if status == 200 && header.Get("Content-Type") != jsonType {
				t.Errorf("Content-Type %s", header.Get("Content-Type"))
			}
			return status, answer
		}
		want := func(typ, message string) {
			t.Helper()
			if status, answer := call("GET", "/backdoor?type="+url.QueryEscape(typ), "", ""); status != 200 || answer != message {
				t.Errorf("%s: %d %s, want %s", typ, status, answer, message)
			}
		}
		want("102", `{"type":"102","message":null}`)
		for _, tt := range []struct{ method, target, body, contentType, typ, message string }{
			{"POST", "/backdoor", "type=102&message=We+restart+%C3%A9", form, "102", `"We restart é"`},
			{"DELETE", "/backdoor", "type=102", form, "102", "null"},
			{"POST", "/backdoor", "type=102&message=no+content+type", "", "102", `"no content type"`},
			{"DELETE", "/backdoor?type=102", "", "", "102", "null"},
			{"POST", "/backdoor", `{"type":"103","message":"<json>\n"}`, jsonType + "; charset=utf-8", "103", `"<json>\n"`},
			{"DELETE", "/backdoor", `{"type":"103"}`, jsonType, "103", "null"},
			{"POST", "/backdoor?type=104&message=in+the+query", "", "", "104", `"in the query"`},
			{"POST", "/backdoor?type=104&message=in+the+query", "message=in+the+body", form, "104", `"in the body"`},
			{"POST", "/backdoor?type=10%26", `{"message":""}`, jsonType, "10&", `""`},
			{"DELETE", "/backdoor", "type=999", form, "999", "null"}, // one that is not set
		} {
			if status, answer := call(tt.method, tt.target, tt.body, tt.contentType); status != 204 || answer != "" {
				t.Errorf("%s %s %s: %d %s", tt.method, tt.target, tt.body, status, answer)
			}
			typ, _ := json.Marshal(tt.typ)
			want(tt.typ, strings.ReplaceAll(`{"type":`+string(typ)+`,"message":`+tt.message+`}`, `\u0026`, "&"))
		}
		for _, tt := range []struct {
			method, target, body, contentType string
			status                            int
			part                              string
		}{
			{"GET", "/backdoor", "", "", 400, "type is missing"},
			{"GET", "/backdoor?type=10", "", "", 400, "3 characters"},
			{"GET", "/backdoor?type=1022", "", "", 400, "3 characters"},
			{"GET", "/backdoor?type=%zz", "", "", 400, "query"},
			{"POST", "/backdoor", "", "", 400, "type is missing"},
			{"POST", "/backdoor", "type=102", form, 400, "message is missing"},
			{"POST", "/backdoor", "type=10&message=x", form, 400, "3 characters"},
			{"POST", "/backdoor", "type=102&message=%zz", form, 400, "form"},
			{"POST", "/backdoor", "{", jsonType, 400, "JSON object"},
			{"POST", "/backdoor", `{"type":102,"message":"x"}`, jsonType, 400, "JSON object"},
			{"POST", "/backdoor", `["102"]`, jsonType, 400, "JSON object"},
			{"POST", "/backdoor", `{"type":null,"message":"x"}`, jsonType, 400, "type is missing"},
			{"POST", "/backdoor", "x", "text/plain", 415, "form-urlencoded"},
			{"POST", "/backdoor", "x", ";", 415, "Content-Type"},
			{"POST", "/backdoor", "type=102&message=" + strings.Repeat("x", notice.MaxMessage+1), form, 400, "limit is 16384"},
			{"POST", "/backdoor", "type=102&message=" + strings.Repeat("x", 5*notice.MaxMessage), form, 413, "limit"},
			{"DELETE", "/backdoor", "", "", 400, "type is missing"},
			{"DELETE", "/backdoor", "type=10", form, 400, "3 characters"},
			{"PUT", "/backdoor", "type=102&message=x", form, 405, "GET, POST, DELETE"},
		} {
			if status, answer := call(tt.method, tt.target, tt.body, tt.contentType); status != tt.status || !strings.Contains(answer, tt.part) {
				t.Errorf("%s %s %.40s: %d %s, want %d %s", tt.method, tt.target, tt.body, status, answer, tt.status, tt.part)
			}
		}
	})
}

// TestBackdoorPreflight: a page of any origin may ask.
func TestBackdoorPreflight(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		status, _, header := r.call("OPTIONS", "/backdoor", "", "Origin", "https://example.com", "Access-Control-Request-Method", "DELETE")
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Headers": "Content-Type, Authorization",
			"Access-Control-Allow-Methods": "GET, POST, DELETE",
		} {
			if got := header.Get(name); status != 204 || got != want {
				t.Errorf("%d, %s: %q, want %q", status, name, got, want)
			}
		}
	})
}

// TestBackdoorIsNeverOpen: it asks for a credential also while everybody on
// this machine may publish.
func TestBackdoorIsNeverOpen(t *testing.T) {
	bubble(t, options{}, func(t *testing.T, r *rig) {
		if !r.access.Open() {
			t.Fatal("the server is closed")
		}
		manage := func(domain, pattern string) string {
			p, err := topic.ParsePattern(pattern)
			if err != nil {
				t.Fatal(err)
			}
			spec := access.KeySpec{Domain: domain, Manage: []topic.Pattern{p}, Publish: []topic.Pattern{topic.All()}}
			if pattern == "none" {
				spec.Manage = nil
			}
			_, secret, err := r.access.Keys().Create(t.Context(), spec)
			if err != nil {
				t.Fatal(err)
			}
			return secret
		}
		check := func(name string, want int, target string, headers ...string) {
			t.Helper()
			for method, ok := range map[string]int{"GET": 200, "POST": 204, "DELETE": 204} {
				if want != 200 {
					ok = want
				}
				if status, answer, _ := r.call(method, target, "", headers...); status != ok {
					t.Errorf("%s: %s is answered %d %s, want %d", name, method, status, answer, ok)
				}
			}
		}
		const target = "/backdoor?type=102&message=x"
		check("nobody, while the server is open", 401, target)
		check("a wrong token", 401, target, "Authorization", "Bearer the-operators-own-tokex")
		check("another scheme", 401, target, "Authorization", "Basic dXNlcjpwYXNz")
		check("the operator's token", 200, target, "Authorization", "Bearer "+operator)
		check("the operator's token in the URL", 403, target+"&access_token="+operator)
		all := manage("main", "**")
		check("a key that manages main", 200, target, "Authorization", "Bearer "+all)
		check("such a key in the URL", 403, target+"&access_token="+all)
		check("a key that manages the notices", 200, target, "Authorization", "Bearer "+manage("main", "qri-notice/*"))
		check("a key that manages something else", 403, target, "Authorization", "Bearer "+manage("main", "news/**"))
		check("a key of another domain", 403, target, "Authorization", "Bearer "+manage("other", "**"))
		check("a key that only publishes", 403, target, "Authorization", "Bearer "+manage("main", "none"))
	})
	bubble(t, options{open: true}, func(t *testing.T, r *rig) {
		for _, method := range []string{"POST", "GET", "DELETE"} {
			if status, answer, _ := r.call(method, "/backdoor?type=102&message=x", ""); status/100 != 2 {
				t.Errorf("--open-dialects qri: %s is answered %d %s", method, status, answer)
			}
		}
	})
}

func TestBackdoorEngineAway(t *testing.T) {
	bubble(t, options{open: true}, func(t *testing.T, r *rig) {
		r.engine.is.Store(true)
		status, answer, header := r.call("POST", "/backdoor?type=102&message=x", "")
		if status != 503 || header.Get("Retry-After") == "" {
			t.Errorf("%d %s", status, answer)
		}
		r.engine.is.Store(false)
		if status, answer, _ := r.call("POST", "/backdoor?type=102&message=x", ""); status != 204 {
			t.Errorf("again: %d %s", status, answer)
		}
		if got := r.history(); len(got) != 1 || got[0] != "qri-notice/102 102x" {
			t.Errorf("told: %q", got)
		}
	})
}
