package admin_test

import (
	"fmt"
	"strings"
	"testing"

	"crier/internal/access"
	"crier/internal/engine"
)

type domainBody struct {
	Name, Durability, RetentionAge string
	RetentionBytes                 int64
	Own                            struct {
		Durability, RetentionAge string
		RetentionBytes           int64
	}
	Head, Earliest                 string
	Messages, Bytes, Subscriptions int
	Epochs                         []struct {
		Epoch       string
		First, Last int
	}
}

type domainsBody struct {
	Domains []domainBody
	Next    string
}

func nameOf(d domainBody) string { return d.Name }

func TestDomainLife(t *testing.T) {
	r := newRig(t)
	a := r.post("/v1/domains", `{"name":"Shop.1","retentionAge":"1d12h","retentionBytes":4096}`)
	d := decode[domainBody](a, 201)
	if a.location() != "/v1/domains/Shop.1" || d.Name != "Shop.1" || d.Durability != "memory" || d.RetentionAge != "36h0m0s" || d.RetentionBytes != 4096 {
		t.Errorf("%s %+v", a.location(), d)
	}
	if d.Own.Durability != "" || d.Own.RetentionAge != "36h0m0s" || d.Own.RetentionBytes != 4096 {
		t.Errorf("own: %+v", d.Own)
	}
	r.publish("Shop.1", "a", "b", "a")
	r.connect("sse", "Shop.1", "**")
	d = decode[domainBody](r.get(a.location()), 200)
	if d.Messages != 3 || d.Bytes != 6 || d.Subscriptions != 1 || len(d.Epochs) != 1 || d.Epochs[0].First != 1 || d.Epochs[0].Last != 3 {
		t.Errorf("got %+v", d)
	}
	if d.Head != d.Epochs[0].Epoch+"000000000003" || d.Earliest != d.Epochs[0].Epoch+"000000000000" {
		t.Errorf("head %s, earliest %s, epoch %s", d.Head, d.Earliest, d.Epochs[0].Epoch)
	}

	// A patch changes what it names; null has the server's default again.
	d = decode[domainBody](r.patch(a.location(), `{"retentionAge":"30d"}`), 200)
	if d.RetentionAge != "720h0m0s" || d.RetentionBytes != 4096 {
		t.Errorf("got %+v", d)
	}
	d = decode[domainBody](r.as(operator, "PATCH", a.location(), `{"retentionAge":null,"retentionBytes":8192,"durability":null}`, "Content-Type", "application/merge-patch+json"), 200)
	if d.RetentionAge != "168h0m0s" || d.Own.RetentionAge != "" || d.RetentionBytes != 8192 {
		t.Errorf("got %+v", d)
	}
	if d = decode[domainBody](r.patch(a.location(), `{}`), 200); d.RetentionBytes != 8192 {
		t.Errorf("got %+v", d)
	}

	// A new epoch begins above the last.
	var e struct{ Epoch, Head string }
	r.post(a.location()+"/epoch", "").into(201, &e)
	d = decode[domainBody](r.get(a.location()), 200)
	if len(d.Epochs) != 2 || d.Epochs[1].Epoch != e.Epoch || e.Epoch <= d.Epochs[0].Epoch || e.Head != e.Epoch+"000000000003" || d.Head != e.Head {
		t.Errorf("%+v, %+v", e, d)
	}
	r.publish("Shop.1", "a")
	d = decode[domainBody](r.get(a.location()), 200)
	if d.Epochs[1].First != 4 || d.Epochs[1].Last != 4 || d.Epochs[0].Last != 3 {
		t.Errorf("%+v", d.Epochs)
	}

	// Its keys end with it: they are worth nothing in a later one of the name.
	_, secret := r.key(access.KeySpec{Domain: "Shop.1", Manage: r.patterns("**")})
	r.as(secret, "GET", a.location(), "").want(200)
	r.delete(a.location()).want(204)
	r.get(a.location()).refused(404, "not-found", "", "no such domain")
	r.delete(a.location()).refused(404, "not-found", "", "no such domain")
	d = decode[domainBody](r.post("/v1/domains", `{"name":"Shop.1"}`), 201)
	if d.Messages != 0 || d.RetentionBytes != 1<<30 {
		t.Errorf("got %+v", d)
	}
	r.as(secret, "GET", a.location(), "").want(401)
	for _, line := range []string{"domain created", "domain changed", "new epoch", "domain deleted"} {
		if !strings.Contains(r.log.String(), line) {
			t.Errorf("the log lacks %q", line)
		}
	}
}

func TestDomainRefusals(t *testing.T) {
	r := newRig(t)
	const domains, main = "/v1/domains", "/v1/domains/main"
	for _, tt := range []struct {
		name, method, path, body string
		code                     int
		typ, field, detail       string
	}{
		{"no name", "POST", domains, `{}`, 400, "bad-request", "name", "domain is empty"},
		{"bad name", "POST", domains, `{"name":"a/b"}`, 400, "bad-request", "name", "byte 1"},
		{"long name", "POST", domains, `{"name":"` + strings.Repeat("x", 65) + `"}`, 400, "bad-request", "name", "the limit is 64"},
		{"there already", "POST", domains, `{"name":"main"}`, 409, "conflict", "name", "PATCH"},
		{"unknown member", "POST", domains, `{"name":"x","retention":1}`, 400, "bad-request", "retention", "retention is not a member"},
		{"wrong type", "POST", domains, `{"name":1}`, 400, "bad-request", "name", "name is a JSON number; it should be a string"},
		{"wrong type", "POST", domains, `{"name":"x","retentionBytes":"1GiB"}`, 400, "bad-request", "retentionBytes", "it should be a number"},
		{"a fraction", "POST", domains, `{"name":"x","retentionBytes":2048.5}`, 400, "bad-request", "retentionBytes", "it should be a number"},
		{"too few bytes", "POST", domains, `{"name":"x","retentionBytes":1023}`, 400, "bad-request", "retentionBytes", "the least, 1024"},
		{"negative bytes", "POST", domains, `{"name":"x","retentionBytes":-1}`, 400, "bad-request", "retentionBytes", "the least, 1024"},
		{"no duration", "POST", domains, `{"name":"x","retentionAge":"soon"}`, 400, "bad-request", "retentionAge", "90d, 12h or 30s"},
		{"too short", "POST", domains, `{"name":"x","retentionAge":"999ms"}`, 400, "bad-request", "retentionAge", "the least, 1s"},
		{"negative", "POST", domains, `{"name":"x","retentionAge":"-1h"}`, 400, "bad-request", "retentionAge", "90d, 12h or 30s"},
		{"too long", "POST", domains, `{"name":"x","retentionAge":"65535d2000000h"}`, 400, "bad-request", "retentionAge", "90d, 12h or 30s"},
		{"no durability", "POST", domains, `{"name":"x","durability":"eternal"}`, 400, "bad-request", "durability", "fsync, async or memory"},
		{"not this engine's", "POST", domains, `{"name":"x","durability":"fsync"}`, 422, "not-supported", "durability", "the engine of this server"},
		{"empty body", "POST", domains, ``, 415, "unsupported-media-type", "Content-Type", "application/json"},
		{"a list", "POST", domains, `[]`, 400, "bad-request", "", "the body is a JSON array; send an object"},
		{"no JSON", "POST", domains, `name=x`, 400, "bad-request", "", "the body is not JSON"},
		{"half of it", "POST", domains, `{"name":`, 400, "bad-request", "", "ends within"},
		{"white space", "POST", domains, ` `, 400, "bad-request", "", "the body is empty"},
		{"two of them", "POST", domains, `{"name":"x"}{"name":"y"}`, 400, "bad-request", "", "more after its JSON object"},
		{"too much", "POST", domains, `{"name":"` + strings.Repeat("x", 70_000) + `"}`, 413, "too-large", "", "65536 bytes"},
		{"too much after", "POST", domains, `{"name":"x"}` + strings.Repeat(" ", 70_000), 413, "too-large", "", "65536 bytes"},
		{"query", "POST", domains + "?dry=1", `{"name":"x"}`, 400, "bad-request", "dry", "this path takes nothing"},

		{"bad path", "GET", "/v1/domains/a*b", ``, 400, "bad-request", "name", "byte 1"},
		{"unknown", "GET", "/v1/domains/nobody", ``, 404, "not-found", "", "no such domain"},
		{"unknown", "PATCH", "/v1/domains/nobody", `{}`, 404, "not-found", "", "no such domain"},
		{"unknown", "POST", "/v1/domains/nobody/epoch", ``, 404, "not-found", "", "no such domain"},
		{"unknown", "DELETE", "/v1/domains/nobody", ``, 404, "not-found", "", "no such domain"},
		{"main stays", "DELETE", main, ``, 409, "conflict", "name", "main stays"},
		{"patch: unknown member", "PATCH", main, `{"name":"x"}`, 400, "bad-request", "name", "name is not a member"},
		{"patch: wrong type", "PATCH", main, `{"retentionAge":3600}`, 400, "bad-request", "retentionAge", "it should be a string"},
		{"patch: too short", "PATCH", main, `{"retentionAge":"0s"}`, 400, "bad-request", "retentionAge", "the least, 1s"},
		{"patch: too few", "PATCH", main, `{"retentionBytes":0}`, 400, "bad-request", "retentionBytes", "the least, 1024"},
		{"patch: no durability", "PATCH", main, `{"durability":""}`, 400, "bad-request", "durability", "fsync, async or memory"},
		{"patch: not this engine's", "PATCH", main, `{"durability":"async"}`, 422, "not-supported", "durability", "the engine of this server"},

		{"limit", "GET", domains + "?limit=0", ``, 400, "bad-request", "limit", "from 1 to 1000"},
		{"limit", "GET", domains + "?limit=1001", ``, 400, "bad-request", "limit", "from 1 to 1000"},
		{"limit", "GET", domains + "?limit=many", ``, 400, "bad-request", "limit", "from 1 to 1000"},
		{"twice", "GET", domains + "?limit=1&limit=2", ``, 400, "bad-request", "limit", "give it once"},
		{"unknown parameter", "GET", domains + "?page=2", ``, 400, "bad-request", "page", "this path takes after, limit"},
		{"bad query", "GET", domains + "?a=%zz", ``, 400, "bad-request", "", "the query cannot be read"},
	} {
		t.Run(tt.method+" "+tt.name, func(t *testing.T) {
			r.on(t).as(operator, tt.method, tt.path, tt.body).refused(tt.code, tt.typ, tt.field, tt.detail)
		})
	}
	r.as(operator, "POST", domains, `{"name":"x"}`, "Content-Type", "text/plain").refused(415, "unsupported-media-type", "Content-Type", "application/json")
	r.as(operator, "POST", domains, `{"name":"x"}`, "Content-Type", "application/json; charset=utf-8").want(201)
	// A domain that was refused is not there, and not half there.
	if got := joined(decode[domainsBody](r.get(domains), 200).Domains, nameOf); got != "main x" {
		t.Errorf("domains are %s", got)
	}
	entries, err := r.engine.Registry().List(t.Context(), "domain", "", 0)
	if got := joined(entries, func(e engine.Entry) string { return e.Name }); err != nil || got != "main x" {
		t.Errorf("the registry has %s, %v", got, err)
	}
}

func TestDomainPages(t *testing.T) {
	r := newRig(t)
	for i := range 5 {
		r.post("/v1/domains", fmt.Sprintf(`{"name":"d%d"}`, i)).want(201)
	}
	var pages []string
	after := ""
	for {
		page := decode[domainsBody](r.get("/v1/domains?limit=2&after="+after), 200)
		pages = append(pages, joined(page.Domains, nameOf))
		if after = page.Next; after == "" {
			break
		}
	}
	if got := strings.Join(pages, "|"); got != "d0 d1|d2 d3|d4 main" {
		t.Errorf("pages are %s", got)
	}
	if page := decode[domainsBody](r.get("/v1/domains?after=zzz"), 200); page.Domains == nil || len(page.Domains) != 0 || page.Next != "" {
		t.Errorf("got %+v", page)
	}
}

// Who has a key with manage sees its domain, and no other, and changes none.
func TestDomainsOfAKey(t *testing.T) {
	r := newRig(t)
	r.post("/v1/domains", `{"name":"other"}`).want(201)
	all, part := r.manager("main", "**"), r.manager("main", "team/**")
	_, none := r.key(access.KeySpec{Domain: "main", Publish: r.patterns("**"), Subscribe: r.patterns("**")})
	for _, key := range []string{all, part} {
		if got := joined(decode[domainsBody](r.as(key, "GET", "/v1/domains", ""), 200).Domains, nameOf); got != "main" {
			t.Errorf("a key sees %s", got)
		}
		r.as(key, "GET", "/v1/domains/main", "").want(200)
		for _, domain := range []string{"other", "nobody"} { // it does not learn which is there
			r.as(key, "GET", "/v1/domains/"+domain, "").refused(403, "forbidden", "", "no grant to manage anything in domain")
		}
		for _, tt := range []struct{ method, path, body string }{
			{"POST", "/v1/domains", `{"name":"mine"}`},
			{"PATCH", "/v1/domains/main", `{"retentionAge":"1s"}`},
			{"DELETE", "/v1/domains/main", ``},
			{"DELETE", "/v1/domains/other", ``},
			{"POST", "/v1/domains/main/epoch", ``},
		} {
			r.as(key, tt.method, tt.path, tt.body).refused(403, "forbidden", "", "only the operator's token may")
		}
	}
	if got := decode[domainsBody](r.as(none, "GET", "/v1/domains", ""), 200); len(got.Domains) != 0 {
		t.Errorf("a key that manages nothing sees %+v", got)
	}
	r.as(none, "GET", "/v1/domains/main", "").refused(403, "forbidden", "", "no grant to manage")
}
