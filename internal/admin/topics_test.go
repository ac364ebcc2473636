package admin_test

import (
	"strings"
	"testing"
)

type topicsBody struct {
	Topics []struct {
		Topic    string
		Messages int
		Last     string
	}
	Next string
}

func (r *rig) topics(token, query string) string {
	r.t.Helper()
	page := decode[topicsBody](r.as(token, "GET", "/v1/domains/main/topics"+query, ""), 200)
	var names []string
	for _, topic := range page.Topics {
		names = append(names, topic.Topic)
	}
	if page.Next != "" {
		names = append(names, "next="+page.Next)
	}
	return strings.Join(names, " ")
}

func TestTopics(t *testing.T) {
	r := newRig(t)
	if page := decode[topicsBody](r.get("/v1/domains/main/topics"), 200); page.Topics == nil || len(page.Topics) != 0 {
		t.Errorf("got %+v", page)
	}
	r.publish("main", "team/a", "team/b", "x", "team/a/deep", "x", "ü/é")
	for query, want := range map[string]string{
		"":                           "team/a team/a/deep team/b x ü/é",
		"?pattern=team/*":            "team/a team/b",
		"?pattern=team/**":           "team/a team/a/deep team/b",
		"?pattern=**":                "team/a team/a/deep team/b x ü/é",
		"?pattern=x":                 "x",
		"?pattern=none":              "",
		"?limit=2":                   "team/a team/a/deep next=team/a/deep",
		"?limit=2&after=team/a/deep": "team/b x next=x",
		"?limit=2&after=x":           "ü/é",
		"?limit=5":                   "team/a team/a/deep team/b x ü/é",
	} {
		if got := r.topics(operator, query); got != want {
			t.Errorf("topics%s: %s, want %s", query, got, want)
		}
	}
	page := decode[topicsBody](r.get("/v1/domains/main/topics?pattern=x"), 200)
	if x := page.Topics[0]; x.Messages != 2 || !strings.HasSuffix(x.Last, "000000000005") {
		t.Errorf("got %+v", x)
	}

	// Slashes of a topic may stand as they are or be encoded.
	r.delete("/v1/domains/main/topics/team/a").want(204)
	r.delete("/v1/domains/main/topics/team%2Fa%2Fdeep").want(204)
	r.delete("/v1/domains/main/topics/%C3%BC/%C3%A9").want(204)
	r.delete("/v1/domains/main/topics/never/was").want(204)
	if got := r.topics(operator, ""); got != "team/b x" {
		t.Errorf("topics are %s", got)
	}
}

func TestTopicRefusals(t *testing.T) {
	r := newRig(t)
	const path = "/v1/domains/main/topics"
	for _, tt := range []struct {
		name, method, path string
		code               int
		typ, field, detail string
	}{
		{"pattern", "GET", path + "?pattern=a**", 400, "bad-request", "pattern", "segment 1"},
		{"after", "GET", path + "?after=" + strings.Repeat("x", 513), 400, "bad-request", "after", "512 bytes"},
		{"limit", "GET", path + "?limit=-1", 400, "bad-request", "limit", "from 1 to 1000"},
		{"domain", "GET", "/v1/domains/nobody/topics", 404, "not-found", "", "no such domain"},
		{"domain", "DELETE", "/v1/domains/nobody/topics/a", 404, "not-found", "", "no such domain"},
		{"a pattern", "DELETE", path + "/a/*", 400, "bad-request", "topic", "only patterns"},
		{"no topic", "DELETE", path + "/", 400, "bad-request", "topic", "empty"},
		{"slash at the end", "DELETE", path + "/a/", 400, "bad-request", "topic", "segment 2 is empty"},
		{"control character", "DELETE", path + "/a%00", 400, "bad-request", "topic", "byte 1"},
		{"not UTF-8", "DELETE", path + "/a%ff", 400, "bad-request", "topic", "byte 1"},
	} {
		t.Run(tt.method+" "+tt.name, func(t *testing.T) {
			r.on(t).as(operator, tt.method, tt.path, "").refused(tt.code, tt.typ, tt.field, tt.detail)
		})
	}
}

func TestTopicsOfAKey(t *testing.T) {
	r := newRig(t)
	r.publish("main", "team/a", "team/b/c", "x", "lone")
	key := r.manager("main", "team/**", "lone")
	if got := r.topics(key, ""); got != "lone team/a team/b/c" {
		t.Errorf("a key sees %s", got)
	}
	if got := r.topics(key, "?pattern=team/*"); got != "team/a" {
		t.Errorf("a key sees %s", got)
	}
	r.as(key, "GET", "/v1/domains/main/topics?pattern=**", "").refused(403, "forbidden", "", `no grant to manage "**"`)
	r.as(key, "GET", "/v1/domains/other/topics", "").refused(403, "forbidden", "", "no grant")
	r.as(key, "DELETE", "/v1/domains/main/topics/x", "").refused(403, "forbidden", "", `no grant to manage "x"`)
	r.as(key, "DELETE", "/v1/domains/main/topics/never", "").refused(403, "forbidden", "", `no grant to manage "never"`)
	r.as(key, "DELETE", "/v1/domains/main/topics/team/b/c", "").want(204)
	if got := r.topics(operator, ""); got != "lone team/a x" {
		t.Errorf("topics are %s", got)
	}
}

// A checksum of QRI, which lets who knows it listen, is not in the log.
func TestForgottenIsLogged(t *testing.T) {
	r := newRig(t)
	r.delete("/v1/domains/main/topics/qri/peer/c0ffee").want(204)
	if got := r.log.String(); !strings.Contains(got, "topic=qri/peer/…") || strings.Contains(got, "c0ffee") {
		t.Errorf("logged %s", got)
	}
}
