package admin_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"crier/internal/access"
	"crier/internal/topic"
)

type keyBody struct {
	ID, Name, Domain, State, Secret string
	Publish, Subscribe, Manage      []string
	Created, Expires, Revoked       time.Time
	LastUsed                        time.Time
}

type keysBody struct {
	Keys []keyBody
	Next string
}

func TestKeyLife(t *testing.T) {
	r := newRig(t)
	a := r.post("/v1/keys", `{"name":"shop","publish":["orders/*"],"subscribe":["news/**","x"],"manage":["orders/**"],"expires":"90d"}`)
	made := decode[keyBody](a, 201)
	if made.Name != "shop" || made.Domain != "main" || made.State != "active" || a.location() != "/v1/keys/"+made.ID ||
		!slices.Equal(made.Publish, []string{"orders/*"}) || !slices.Equal(made.Subscribe, []string{"news/**", "x"}) || !slices.Equal(made.Manage, []string{"orders/**"}) ||
		!made.Created.Equal(r.clock.now()) || !made.Expires.Equal(r.clock.now().Add(90*24*time.Hour)) {
		t.Errorf("%s: %+v", a.location(), made)
	}
	who, err := r.access.AuthenticateToken(t.Context(), made.Secret, false)
	if err != nil {
		t.Fatalf("the secret is not good: %v", err)
	}
	if err := who.May(access.Publish, "main", topic.Exactly("orders/1")); err != nil {
		t.Error(err)
	}

	// Shown once.
	for _, look := range []*answer{r.get(a.location()), r.get("/v1/keys")} {
		look.want(200)
		if strings.Contains(look.Body, made.Secret) || strings.Contains(look.Body, "secret") || strings.Contains(look.Body, "sha256") {
			t.Errorf("a look shows the secret: %s", look.Body)
		}
	}
	if strings.Contains(r.log.String(), made.Secret) {
		t.Error("the log has the secret")
	}

	ended := make(chan error, 1)
	defer who.OnEnd(func(cause error) { ended <- cause })()
	for range 2 {
		if k := decode[keyBody](r.delete(a.location()), 200); k.State != "revoked" || !k.Revoked.Equal(r.clock.now()) {
			t.Errorf("got %+v", k)
		}
	}
	if cause := <-ended; cause != access.ErrRevoked {
		t.Errorf("ended with %v", cause)
	}
	if k := decode[keyBody](r.get(a.location()), 200); k.State != "revoked" {
		t.Errorf("got %+v", k)
	}
	for _, k := range []string{"nobody", strings.Repeat("x", 600)} {
		r.get("/v1/keys/"+k).refused(404, "not-found", "", "no such key")
		r.delete("/v1/keys/"+k).refused(404, "not-found", "", "no such key")
	}
}

func TestKeyExpiry(t *testing.T) {
	r := newRig(t)
	now := r.clock.now()
	for text, want := range map[string]time.Time{
		"":     {},
		"12h":  now.Add(12 * time.Hour),
		"1d1h": now.Add(25 * time.Hour),
		now.Add(time.Minute).Format(time.RFC3339):                                  now.Add(time.Minute),
		now.Add(time.Hour).In(time.FixedZone("", 3*3600)).Format(time.RFC3339Nano): now.Add(time.Hour),
	} {
		k := decode[keyBody](r.post("/v1/keys", fmt.Sprintf(`{"publish":["a"],"expires":%q}`, text)), 201)
		if !k.Expires.Equal(want) {
			t.Errorf("expires %q: %v, want %v", text, k.Expires, want)
		}
	}
	k := decode[keyBody](r.post("/v1/keys", `{"manage":true,"expires":"1m"}`), 201)
	if !slices.Equal(k.Manage, []string{"**"}) {
		t.Errorf("got %+v", k)
	}
	r.clock.advance(time.Minute)
	if k := decode[keyBody](r.get("/v1/keys/"+k.ID), 200); k.State != "expired" {
		t.Errorf("got %+v", k)
	}
}

func TestKeyRefusals(t *testing.T) {
	r := newRig(t)
	many := `"` + strings.Repeat(`a","`, 256) + `a"`
	for _, tt := range []struct {
		name, body         string
		code               int
		typ, field, detail string
	}{
		{"no grant", `{"name":"x"}`, 400, "bad-request", "", "it has no grant"},
		{"manage nothing", `{"manage":false}`, 400, "bad-request", "", "it has no grant"},
		{"too many", `{"publish":[` + many + `]}`, 400, "bad-request", "", "the limit is 256"},
		{"bad pattern", `{"publish":["a","b//c"]}`, 400, "bad-request", "publish[1]", "publish[1]: bad name: pattern"},
		{"bad pattern", `{"subscribe":["**/x"]}`, 400, "bad-request", "subscribe[0]", "which only the last may be"},
		{"bad pattern", `{"manage":[""]}`, 400, "bad-request", "manage[0]", "empty"},
		{"manage a word", `{"manage":"all"}`, 400, "bad-request", "manage", "true, for the whole domain, or a list"},
		{"manage numbers", `{"manage":[1]}`, 400, "bad-request", "manage", "true, for the whole domain, or a list"},
		{"publish true", `{"publish":true}`, 400, "bad-request", "publish", "it should be a list"},
		{"long name", `{"name":"` + strings.Repeat("x", 129) + `","publish":["a"]}`, 400, "bad-request", "", "128 bytes"},
		{"control name", `{"name":"a\u0007","publish":["a"]}`, 400, "bad-request", "", "control characters"},
		{"bad domain", `{"domain":"a b","publish":["a"]}`, 400, "bad-request", "domain", "byte 1"},
		{"no domain", `{"domain":"nobody","publish":["a"]}`, 400, "bad-request", "domain", "make it first"},
		{"unknown member", `{"domain":"main","publish":["a"],"grants":[]}`, 400, "bad-request", "grants", "grants is not a member"},
		{"expiry", `{"publish":["a"],"expires":"tomorrow"}`, 400, "bad-request", "expires", "90d, 12h"},
		{"expiry is now", `{"publish":["a"],"expires":"0s"}`, 400, "bad-request", "expires", "has passed already"},
		{"expiry was", `{"publish":["a"],"expires":"2001-01-01T00:00:00Z"}`, 400, "bad-request", "expires", "has passed already"},
		{"expiry is a number", `{"publish":["a"],"expires":90}`, 400, "bad-request", "expires", "it should be a string"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.on(t).post("/v1/keys", tt.body).refused(tt.code, tt.typ, tt.field, tt.detail)
		})
	}
	r.get("/v1/keys?domain=a/b").refused(400, "bad-request", "domain", "byte 1")
	r.get("/v1/keys?limit=x").refused(400, "bad-request", "limit", "from 1 to 1000")
	if !r.access.Open() {
		t.Error("a refused key closed the server")
	}
}

func TestKeyPages(t *testing.T) {
	r := newRig(t)
	r.post("/v1/domains", `{"name":"other"}`).want(201)
	var main, all []string
	for i := range 7 {
		domain := "main"
		if i%3 == 2 {
			domain = "other"
		}
		k, _ := r.key(access.KeySpec{Domain: domain, Publish: r.patterns("a")})
		all = append(all, k.ID)
		if domain == "main" {
			main = append(main, k.ID)
		}
	}
	for query, want := range map[string][]string{"": all, "domain=main&": main, "domain=nobody&": nil} {
		slices.Sort(want)
		for _, limit := range []int{1, 2, 3, 5, 100} {
			var got []string
			after := ""
			for {
				page := decode[keysBody](r.get(fmt.Sprintf("/v1/keys?%slimit=%d&after=%s", query, limit, after)), 200)
				for _, k := range page.Keys {
					got = append(got, k.ID)
				}
				if len(page.Keys) > limit || page.Next != "" && len(page.Keys) != limit {
					t.Fatalf("a page of %d with limit %d", len(page.Keys), limit)
				}
				if after = page.Next; after == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s limit %d: %q, want %q", query, limit, got, want)
			}
		}
	}
}

// A key with manage reaches keys whose patterns all lie within its own, makes
// no others, and none that outlives it.
func TestKeysOfAKey(t *testing.T) {
	r := newRig(t)
	r.post("/v1/domains", `{"name":"other"}`).want(201)
	end := r.clock.now().Add(time.Hour)
	self, key := r.key(access.KeySpec{Domain: "main", Manage: r.patterns("team/**"), Expires: end})
	inside, _ := r.key(access.KeySpec{Domain: "main", Publish: r.patterns("team/a"), Subscribe: r.patterns("team/*")})
	outside := map[string]access.KeySpec{
		"half":   {Domain: "main", Publish: r.patterns("team/a", "x")},
		"whole":  {Domain: "main", Subscribe: r.patterns("**")},
		"above":  {Domain: "main", Manage: r.patterns("*")},
		"abroad": {Domain: "other", Publish: r.patterns("team/a")},
	}
	for name, spec := range outside {
		k, _ := r.key(spec)
		r.as(key, "GET", "/v1/keys/"+k.ID, "").refused(404, "not-found", "", "no such key")
		r.as(key, "DELETE", "/v1/keys/"+k.ID, "").refused(404, "not-found", "", "no such key")
		if got := decode[keyBody](r.get("/v1/keys/"+k.ID), 200); got.State != "active" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	want := []string{self.ID, inside.ID}
	slices.Sort(want)
	for _, query := range []string{"", "?domain=main"} {
		page := decode[keysBody](r.as(key, "GET", "/v1/keys"+query, ""), 200)
		if got := joined(page.Keys, func(k keyBody) string { return k.ID }); got != strings.Join(want, " ") {
			t.Errorf("a key sees %s, want %s", got, want)
		}
	}
	r.as(key, "GET", "/v1/keys?domain=other", "").refused(403, "forbidden", "", "no grant")

	made := decode[keyBody](r.as(key, "POST", "/v1/keys", `{"publish":["team/x"],"subscribe":["team/*/y"],"manage":["team/z/**"]}`), 201)
	if !made.Expires.Equal(end) {
		t.Errorf("it outlives its maker: %v", made.Expires)
	}
	made = decode[keyBody](r.as(key, "POST", "/v1/keys", `{"publish":["team/x"],"expires":"30m"}`), 201)
	if !made.Expires.Equal(r.clock.now().Add(30 * time.Minute)) {
		t.Errorf("got %v", made.Expires)
	}
	for _, tt := range []struct{ body, field, detail string }{
		{`{"publish":["x"]}`, "", `no grant to manage "x"`},
		{`{"publish":["team/a","*/b"]}`, "", `no grant to manage "*/b"`},
		{`{"subscribe":["**"]}`, "", `no grant to manage "**"`},
		{`{"manage":true}`, "", `no grant to manage "**"`},
		{`{"manage":["team"]}`, "", `no grant to manage "team"`},
		{`{"domain":"other","publish":["team/a"]}`, "", `no grant to manage anything in domain "other"`},
		{`{"domain":"nobody","publish":["team/a"]}`, "", `no grant to manage anything in domain "nobody"`},
		{`{"publish":["team/a"],"expires":"2h"}`, "expires", "when the key that asks ends itself"},
	} {
		r.as(key, "POST", "/v1/keys", tt.body).refused(403, "forbidden", tt.field, tt.detail)
	}

	// One that manages nothing reaches nothing, itself neither.
	plain, secret := r.key(access.KeySpec{Domain: "main", Publish: r.patterns("**")})
	if page := decode[keysBody](r.as(secret, "GET", "/v1/keys", ""), 200); len(page.Keys) != 0 {
		t.Errorf("it sees %+v", page)
	}
	r.as(secret, "GET", "/v1/keys/"+plain.ID, "").refused(404, "not-found", "", "no such key")
	r.as(secret, "POST", "/v1/keys", `{"publish":["a"]}`).refused(403, "forbidden", "", "no grant to manage")

	// It may end itself, and then is nobody.
	r.as(key, "DELETE", "/v1/keys/"+self.ID, "").want(200)
	r.as(key, "GET", "/v1/keys", "").want(401)
}
