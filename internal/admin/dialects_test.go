package admin_test

import (
	"strings"
	"testing"

	"crier/internal/admin"
)

type noticeJSON struct{ Type, Message, Set string }

type noticeList struct {
	Notices []noticeJSON
	Next    string
}

func TestNotices(t *testing.T) {
	r := newRig(t)
	if got := decode[noticeList](r.get("/v1/notices"), 200); got.Notices == nil || len(got.Notices) != 0 {
		t.Errorf("%+v", got)
	}
	for _, typ := range []string{"103", "102", "a%2Fb"} {
		if got := decode[noticeJSON](r.as(operator, "PUT", "/v1/notices/"+typ, `{"message":"We restart"}`), 200); got.Message != "We restart" || got.Set == "" {
			t.Errorf("%+v", got)
		}
	}
	if got := decode[noticeJSON](r.get("/v1/notices/a%2Fb"), 200); got.Type != "a/b" {
		t.Errorf("%+v", got)
	}
	page := decode[noticeList](r.get("/v1/notices?limit=2"), 200)
	if joined(page.Notices, func(n noticeJSON) string { return n.Type }) != "102 103" || page.Next != "103" {
		t.Errorf("%+v", page)
	}
	page = decode[noticeList](r.get("/v1/notices?after=103"), 200)
	if joined(page.Notices, func(n noticeJSON) string { return n.Type }) != "a/b" || page.Next != "" {
		t.Errorf("%+v", page)
	}
	r.delete("/v1/notices/102").want(204)
	r.delete("/v1/notices/102").want(204)
	r.get("/v1/notices/102").refused(404, "not-found", "", "no such notice")
	r.get("/v1/notices/1022").refused(400, "bad-request", "", "3 characters")
	r.as(operator, "PUT", "/v1/notices/10", `{"message":"x"}`).refused(400, "bad-request", "", "3 characters")
	r.as(operator, "PUT", "/v1/notices/102", `{}`).refused(400, "bad-request", "message", "missing")
	r.as(operator, "PUT", "/v1/notices/102", `{"message":"`+strings.Repeat("x", 17<<10)+`"}`).refused(400, "bad-request", "", "limit")

	if got := r.as(r.manager("main", "**"), "GET", "/v1/notices", ""); got.Code != 200 {
		t.Errorf("a key that manages main: %d", got.Code)
	}
	for _, token := range []string{r.manager("main", "news/**"), r.manager("other", "**")} {
		for _, call := range [][2]string{{"GET", "/v1/notices"}, {"GET", "/v1/notices/103"}, {"PUT", "/v1/notices/103"}, {"DELETE", "/v1/notices/103"}} {
			body := ""
			if call[0] == "PUT" {
				body = `{"message":"x"}`
			}
			r.as(token, call[0], call[1], body).want(403)
		}
	}
}

type pubsubKey struct{ ID, Domain, Name, State, Secret, Created, Revoked string }

type pubsubKeys struct {
	Keys []pubsubKey
	Next string
}

func TestPubSubKeys(t *testing.T) {
	r := newRig(t)
	made := r.post("/v1/wspubsub/keys", `{"domain":"test","name":"hello@example.com"}`)
	k := decode[pubsubKey](made, 201)
	if k.ID == "" || k.Domain != "test" || k.State != "active" || len(k.Secret) != 36 || made.location() != "/v1/wspubsub/keys/"+k.ID {
		t.Errorf("%+v at %s", k, made.location())
	}
	odd := decode[pubsubKey](r.post("/v1/wspubsub/keys", `{"domain":"a b/c"}`), 201)
	for range 3 {
		decode[pubsubKey](r.post("/v1/wspubsub/keys", `{"domain":"other"}`), 201)
	}
	if got := decode[pubsubKey](r.get(made.location()), 200); got.ID != k.ID || got.Secret != "" || got.Name != "hello@example.com" {
		t.Errorf("%+v", got)
	}
	seen, after := 0, ""
	for {
		page := decode[pubsubKeys](r.get("/v1/wspubsub/keys?limit=2&after="+after), 200)
		seen += len(page.Keys)
		if after = page.Next; after == "" {
			break
		}
	}
	if seen != 5 {
		t.Errorf("%d keys in the pages", seen)
	}
	if got := decode[pubsubKeys](r.get("/v1/wspubsub/keys?domain=other"), 200); len(got.Keys) != 3 {
		t.Errorf("%+v", got)
	}
	for range 2 {
		if got := decode[pubsubKey](r.delete(made.location()), 200); got.State != "revoked" || got.Revoked == "" {
			t.Errorf("%+v", got)
		}
	}
	r.get("/v1/wspubsub/keys/0123456789abcdef").refused(404, "not-found", "", "no such key")
	r.get("/v1/wspubsub/keys/x").refused(404, "not-found", "", "no such key")
	r.post("/v1/wspubsub/keys", `{}`).refused(400, "bad-request", "domain", "missing")
	r.post("/v1/wspubsub/keys", `{"domain":"`+strings.Repeat("d", 65)+`"}`).refused(400, "bad-request", "", "64 characters")
	if !r.access.Open() {
		t.Error("a key of wspubsub closed the server")
	}

	// A key reaches what it manages wholly.
	test := r.manager("test", "**")
	if got := decode[pubsubKeys](r.as(test, "GET", "/v1/wspubsub/keys", ""), 200); len(got.Keys) != 1 || got.Keys[0].ID != k.ID {
		t.Errorf("%+v", got)
	}
	r.as(test, "POST", "/v1/wspubsub/keys", `{"domain":"test"}`).want(201)
	r.as(test, "POST", "/v1/wspubsub/keys", `{"domain":"other"}`).want(403)
	r.as(test, "GET", "/v1/wspubsub/keys?domain=other", "").want(403)
	r.as(test, "DELETE", "/v1/wspubsub/keys/"+odd.ID, "").want(404)
	r.as(r.manager("test", "news/**"), "POST", "/v1/wspubsub/keys", `{"domain":"test"}`).want(403)
	if log := r.log.String(); strings.Contains(log, k.Secret) {
		t.Error("a secret was logged")
	}
}

// TestPubSubKeysElsewhere: where keys are in PostgreSQL, that is said.
func TestPubSubKeysElsewhere(t *testing.T) {
	r := newRig(t, func(c *admin.Config) { c.PubSub, c.Notices = nil, nil })
	for _, call := range [][3]string{{"GET", "/v1/wspubsub/keys", ""}, {"POST", "/v1/wspubsub/keys", `{"domain":"d"}`}, {"DELETE", "/v1/wspubsub/keys/0123456789abcdef", ""}} {
		r.as(operator, call[0], call[1], call[2]).refused(409, "conflict", "", "--apikeys")
	}
	r.get("/v1/notices").refused(404, "not-found", "", "no notices")
}

// TestDeletedDomainRevokesPubSubKeys: none of them works in a later domain of
// the name.
func TestDeletedDomainRevokesPubSubKeys(t *testing.T) {
	r := newRig(t)
	k := decode[pubsubKey](r.post("/v1/wspubsub/keys", `{"domain":"test"}`), 201)
	other := decode[pubsubKey](r.post("/v1/wspubsub/keys", `{"domain":"other"}`), 201)
	r.post("/v1/domains", `{"name":"test"}`).want(201)
	r.delete("/v1/domains/test").want(204)
	for id, want := range map[string]string{k.ID: "revoked", other.ID: "active"} {
		if got := decode[pubsubKey](r.get("/v1/wspubsub/keys/"+id), 200); got.State != want {
			t.Errorf("key of %s is %s", got.Domain, got.State)
		}
	}
}
