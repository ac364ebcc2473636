package admin_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

type accountAnswer struct {
	ID, Name, Type, State, Token string
	Info                         map[string]any
	Created, Rotated, Revoked    time.Time
}

func TestApps(t *testing.T) {
	r := newRig(t)
	a := r.post("/v1/apps", `{"name":"My App"}`)
	made := decode[accountAnswer](a, 201)
	if made.Name != "My App" || made.State != "active" || len(made.Token) != 32 || a.location() != "/v1/apps/"+made.ID {
		t.Fatalf("made %+v at %q", made, a.location())
	}
	got := decode[accountAnswer](r.get(a.location()), 200)
	if got.Token != "" || got.ID != made.ID {
		t.Errorf("GET gives %+v", got)
	}
	rotated := decode[accountAnswer](r.post(a.location()+"/token", ""), 200)
	if len(rotated.Token) != 32 || rotated.Token == made.Token || rotated.Rotated.IsZero() {
		t.Errorf("rotated: %+v", rotated)
	}
	if revoked := decode[accountAnswer](r.delete(a.location()), 200); revoked.State != "revoked" || revoked.Token != "" {
		t.Errorf("revoked: %+v", revoked)
	}
	r.post(a.location()+"/token", "").refused(400, "bad-request", "", "revoked")
	for _, token := range []string{made.Token, rotated.Token} {
		if strings.Contains(r.log.String(), token) {
			t.Error("a token is in the log")
		}
	}
	r.post("/v1/apps", `{"name":""}`).refused(400, "bad-request", "", "empty")
	r.post("/v1/apps", `{"name":"a\nb"}`).refused(400, "bad-request", "", "control")
	r.get("/v1/apps/000000000000000000000000").refused(404, "not-found", "", "GET /v1/apps")
	r.delete("/v1/apps/x").refused(404, "not-found", "", "GET /v1/apps")
}

func TestClients(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.post("/v1/clients", fmt.Sprintf(`{"type":"t%d","info":{"n":%d,"any":{"deep":[1]}}}`, i, i)).want(201)
		r.clock.advance(time.Second)
	}
	type page struct {
		Clients []accountAnswer
		Next    string
	}
	var all []accountAnswer
	for after := ""; ; {
		p := decode[page](r.get("/v1/clients?limit=2&after="+after), 200)
		all = append(all, p.Clients...)
		if after = p.Next; after == "" {
			break
		}
	}
	if got := joined(all, func(a accountAnswer) string { return a.Type }); got != "t0 t1 t2 t3 t4" {
		t.Errorf("listed %s", got)
	}
	if all[3].Info["n"] != 3.0 || all[3].Token != "" {
		t.Errorf("listed %+v", all[3])
	}
	if rotated := decode[accountAnswer](r.post("/v1/clients/"+all[0].ID+"/token", ""), 200); len(rotated.Token) != 32 {
		t.Errorf("rotated: %+v", rotated)
	}
	if revoked := decode[accountAnswer](r.delete("/v1/clients/"+all[0].ID), 200); revoked.State != "revoked" {
		t.Errorf("revoked: %+v", revoked)
	}
	if got := decode[accountAnswer](r.get("/v1/clients/"+all[0].ID), 200); got.State != "revoked" || got.Type != "t0" {
		t.Errorf("got %+v", got)
	}
	r.post("/v1/clients", `{"info":[]}`).refused(400, "bad-request", "", "JSON object")
}

// Who manages all that apps publish manages apps and clients, and nobody less.
func TestAccountsScope(t *testing.T) {
	r := newRig(t)
	all, one, other := r.manager("main", "pushcart/*"), r.manager("main", "pushcart/a"), r.manager("main", "news/**")
	r.as(all, "POST", "/v1/apps", `{"name":"x"}`).want(201)
	r.as(all, "GET", "/v1/clients", "").want(200)
	id := decode[accountAnswer](r.post("/v1/clients", `{}`), 201).ID
	for _, token := range []string{one, other} {
		r.as(token, "POST", "/v1/apps", `{"name":"x"}`).want(403)
		r.as(token, "GET", "/v1/apps", "").want(403)
		r.as(token, "DELETE", "/v1/clients/"+id, "").want(403)
		r.as(token, "POST", "/v1/clients/"+id+"/token", "").want(403)
	}
}
