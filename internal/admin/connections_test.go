package admin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"crier/internal/transport"
)

type connBody struct {
	ID, Transport, Domain, Remote, Identity, Opened string
	Messages, Bytes, Received, Lag                  int
	Subscriptions                                   []struct {
		Patterns []string
		Cursor   string
		Lag      int
	}
}

type connsBody struct {
	Connections []connBody
	Next        string
}

func (r *rig) conns(token, query string) []string {
	r.t.Helper()
	page := decode[connsBody](r.as(token, "GET", "/v1/connections"+query, ""), 200)
	var ids []string
	for _, c := range page.Connections {
		if c.Subscriptions != nil {
			r.t.Error("a list has subscriptions")
		}
		ids = append(ids, c.ID)
	}
	return ids
}

func TestConnection(t *testing.T) {
	r := newRig(t)
	if page := decode[connsBody](r.get("/v1/connections"), 200); page.Connections == nil || len(page.Connections) != 0 {
		t.Errorf("got %+v", page)
	}
	r.publish("main", "a", "b", "a")
	r.settle("main", "z")
	conn := r.connect("websocket", "main", "a", "b/*")
	conn.Messages.Add(7)
	conn.Bytes.Add(700)
	conn.Received.Add(2)
	got := decode[connBody](r.get("/v1/connections/"+conn.ID()), 200)
	if got.ID != conn.ID() || got.Transport != "websocket" || got.Domain != "main" || got.Remote != "198.51.100.7" || got.Identity != "somebody" ||
		got.Messages != 7 || got.Bytes != 700 || got.Received != 2 || got.Lag != 4 {
		t.Errorf("got %+v", got)
	}
	if len(got.Subscriptions) != 1 {
		t.Fatalf("got %+v", got)
	}
	if s := got.Subscriptions[0]; !slices.Equal(s.Patterns, []string{"a", "b/*"}) || !strings.HasSuffix(s.Cursor, "000000000000") || s.Lag != 4 {
		t.Errorf("got %+v", s)
	}

	r.delete("/v1/connections/" + conn.ID()).want(204)
	<-conn.Context().Done()
	if cause := context.Cause(conn.Context()); !errors.Is(cause, transport.ErrKicked) {
		t.Errorf("it ended with %v", cause)
	}
	conn.Close()
	r.get("/v1/connections/"+conn.ID()).refused(404, "not-found", "", "no such connection")
	r.delete("/v1/connections/"+conn.ID()).refused(404, "not-found", "", "no such connection")
	r.get("/v1/connections?domain=a/b").refused(400, "bad-request", "domain", "byte 1")
	r.get("/v1/connections?limit=1.5").refused(400, "bad-request", "limit", "from 1 to 1000")
	r.get("/v1/connections?state=open").refused(400, "bad-request", "state", "domain, transport, after, limit")
}

func TestConnectionPages(t *testing.T) {
	r := newRig(t)
	r.post("/v1/domains", `{"name":"other"}`).want(201)
	by := map[string][]string{}
	for i := range 9 {
		kind, domain := []string{"sse", "websocket", "page"}[i%3], []string{"main", "other"}[i%2]
		id := r.connect(kind, domain, "a").ID()
		for _, query := range []string{"", "transport=" + kind, "domain=" + domain, "domain=" + domain + "&transport=" + kind} {
			by[query] = append(by[query], id)
		}
	}
	by["transport=pigeon"] = nil
	by["domain=nobody"] = nil
	for query, want := range by {
		slices.Sort(want)
		if got := r.conns(operator, "?"+query); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	var got []string
	after := ""
	for {
		page := decode[connsBody](r.get(fmt.Sprintf("/v1/connections?limit=4&after=%s", after)), 200)
		for _, c := range page.Connections {
			got = append(got, c.ID)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if !slices.Equal(got, by[""]) {
		t.Errorf("pages have %q, want %q", got, by[""])
	}
}

// A key with manage reaches connections that listen only to what it manages;
// those that listen to nothing only if it manages the whole domain.
func TestConnectionsOfAKey(t *testing.T) {
	r := newRig(t)
	r.post("/v1/domains", `{"name":"other"}`).want(201)
	inside := r.connect("sse", "main", "team/a", "team/*")
	outside := []*transport.Conn{
		r.connect("sse", "main", "team/a", "x"),
		r.connect("sse", "main", "**"),
		r.connect("websocket", "main"),
		r.connect("sse", "other", "team/a"),
	}
	part, whole := r.manager("main", "team/**"), r.manager("main", "**")
	if got := r.conns(part, ""); !slices.Equal(got, []string{inside.ID()}) {
		t.Errorf("a key sees %q", got)
	}
	if got := r.conns(whole, "?domain=main"); len(got) != 4 {
		t.Errorf("a key of the whole domain sees %q", got)
	}
	r.as(part, "GET", "/v1/connections?domain=other", "").refused(403, "forbidden", "", "no grant")
	for _, conn := range outside {
		r.as(part, "GET", "/v1/connections/"+conn.ID(), "").refused(404, "not-found", "", "no such connection")
		r.as(part, "DELETE", "/v1/connections/"+conn.ID(), "").refused(404, "not-found", "", "no such connection")
		if conn.Context().Err() != nil {
			t.Error("it was closed all the same")
		}
	}
	r.as(part, "GET", "/v1/connections/"+inside.ID(), "").want(200)
	r.as(part, "DELETE", "/v1/connections/"+inside.ID(), "").want(204)
	if inside.Context().Err() == nil {
		t.Error("it was not closed")
	}
	_, plain := r.manager("other", "**"), r.manager("other", "nothing")
	if got := r.conns(plain, ""); got != nil {
		t.Errorf("it sees %q", got)
	}
}
