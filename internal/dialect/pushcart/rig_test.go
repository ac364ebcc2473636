package pushcart_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crier/internal/access"
	"crier/internal/dialect/pushcart"
	"crier/internal/dialect/pushcart/account"
	"crier/internal/engine"
	"crier/internal/engine/memory"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// patience is for what should take no time.
const patience = 20 * time.Second

// lease is short enough for a test that waits for another node, and long enough
// that a busy machine does not lose it.
const lease = 6 * time.Second

// node is a Crier with nothing but this dialect.
type node struct {
	t             *testing.T
	engine        engine.Engine
	hub           *hub.Hub
	domain        *hub.Domain
	access        *access.Authority
	table         *transport.Table
	apps, clients *account.Accounts
	messages      *hub.Encoding
	dialect       *pushcart.Dialect
	app           account.Account
	appToken      string
	clientToken   string
}

// newNode makes a node on an engine (nil: one of its own) with an app "My App"
// and a client.
func newNode(t *testing.T, eng engine.Engine, change ...func(*pushcart.Config)) *node {
	t.Helper()
	n := &node{t: t, engine: eng}
	if eng == nil {
		n.engine = memory.New(memory.Config{})
		t.Cleanup(func() { _ = n.engine.Close() })
	}
	reg := n.engine.Registry()
	var err error
	if n.access, err = access.New(t.Context(), access.Config{Registry: reg}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.access.Close)
	if n.hub, err = hub.New(t.Context(), hub.Config{Engine: n.engine, Defaults: hub.Settings{Durability: engine.Memory}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.hub.Close() })
	if n.domain, err = n.hub.Domain(hub.Main); err != nil {
		t.Fatal(err)
	}
	n.table = transport.NewTable(0, nil, nil)
	n.apps = &account.Accounts{Kind: account.App, Registry: reg}
	n.clients = &account.Accounts{Kind: account.Client, Registry: reg}
	n.messages = pushcart.Messages(n.hub)
	cfg := pushcart.Config{Hub: n.hub, Access: n.access, Table: n.table, Apps: n.apps, Clients: n.clients, AuthToken: "sesame", MaxMessage: 1000}
	for _, c := range change {
		c(&cfg)
	}
	n.dialect = pushcart.New(cfg, n.messages)
	if n.app, n.appToken, err = n.apps.Create(t.Context(), account.Spec{Name: "My App"}); err != nil {
		t.Fatal(err)
	}
	if _, n.clientToken, err = n.clients.Create(t.Context(), account.Spec{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	return n
}

type response struct {
	Code   int
	Header http.Header
	Body   string
}

// do sends a request, with header lines as name, value, ….
func (n *node) do(method, target, body string, header ...string) response {
	n.t.Helper()
	req := httptest.NewRequestWithContext(n.t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	n.dialect.Handler(http.NotFoundHandler()).ServeHTTP(w, req)
	return response{w.Code, w.Header(), w.Body.String()}
}

// post posts a message, which must succeed, and gives its id.
func (n *node) post(body string) string {
	n.t.Helper()
	r := n.do("POST", "/messages", body, "X-App-Token", n.appToken, "Content-Type", "application/json")
	if r.Code != 201 {
		n.t.Fatalf("POST /messages: %d %s", r.Code, r.Body)
	}
	var m struct {
		ID string `json:"_id"`
	}
	if err := json.Unmarshal([]byte(r.Body), &m); err != nil {
		n.t.Fatal(err)
	}
	return m.ID
}

func (n *node) get(query string) response {
	n.t.Helper()
	return n.do("GET", "/messages"+query, "", "X-Client-Token", n.clientToken)
}

type gotMessage struct {
	ID string `json:"_id"`
	N  int
}

// list gets messages, which must succeed.
func (n *node) list(query string) (all []gotMessage, header http.Header) {
	n.t.Helper()
	r := n.get(query)
	if r.Code != 200 {
		n.t.Fatalf("GET /messages%s: %d %s", query, r.Code, r.Body)
	}
	if err := json.Unmarshal([]byte(r.Body), &all); err != nil || all == nil {
		n.t.Fatalf("GET /messages%s: %v: %s", query, err, r.Body)
	}
	return all, r.Header
}

func ns(all []gotMessage) (ns []int) {
	for _, m := range all {
		ns = append(ns, m.N)
	}
	return ns
}

// native publishes as others do.
func (n *node) native(d message.Draft) message.ID {
	n.t.Helper()
	r, err := n.domain.Publish(context.Background(), engine.Block{Drafts: []message.Draft{d}})
	if err != nil {
		n.t.Fatal(err)
	}
	return r.First
}
