package main_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// script runs the same management commands against a server and against a
// data directory that no server has.
func script(t *testing.T, c call) {
	o := c.run("key", "create", "--publish", "a/*", "--publish", "b", "--subscribe", "a,b/**", "--name", "shop's", "--expires", "90d")
	if o.code != 0 || !regexp.MustCompile(`^crier_[A-Z2-7]{12}_[A-Z2-7]{33}\n$`).MatchString(o.out) || !strings.Contains(o.err, "may publish a/* b, subscribe a,b/**") {
		t.Fatalf("key create: %+v", o)
	}
	secret := strings.TrimSpace(o.out)
	id := strings.Split(secret, "_")[1]
	type key struct {
		ID, Name, Domain, State, Secret string
		Publish, Subscribe, Manage      []string
	}
	var made key
	if err := json.Unmarshal([]byte(c.ok("key", "create", "--manage", "--json")), &made); err != nil || made.Secret == "" || made.Manage[0] != "**" || made.Domain != "main" {
		t.Errorf("key create --json: %+v, %v", made, err)
	}
	list := func() map[string]key {
		t.Helper()
		keys := map[string]key{}
		out := c.ok("key", "list", "--json")
		if strings.Contains(out, secret) || strings.Contains(out, "secret") {
			t.Errorf("the list has a secret:\n%s", out)
		}
		for _, line := range lines(out) {
			var k key
			if err := json.Unmarshal([]byte(line), &k); err != nil {
				t.Fatal(err)
			}
			keys[k.ID] = k
		}
		return keys
	}
	if k := list()[id]; k.Name != "shop's" || k.State != "active" || !slices.Equal(k.Publish, []string{"a/*", "b"}) || !slices.Equal(k.Subscribe, []string{"a,b/**"}) {
		t.Errorf("key list: %+v", k)
	}
	if out := c.ok("key", "list"); !strings.Contains(out, "LAST USED") || !strings.Contains(out, id) {
		t.Errorf("key list:\n%s", out)
	}
	if o := c.run("key", "revoke", "nobody", id); o.code != 1 || !strings.Contains(o.err, "nobody") || !strings.Contains(o.out, "revoked "+id) {
		t.Errorf("key revoke: %+v", o)
	}
	if k := list()[id]; k.State != "revoked" {
		t.Errorf("after revoke: %+v", k)
	}
	if o := c.run("key", "create", "--manage", "--domain", "none"); o.code != 1 || !strings.Contains(o.err, "no domain \"none\"") {
		t.Errorf("key of a domain that is not there: %+v", o)
	}
	scriptPubSubKeys(t, c)
	scriptDomains(t, c)
}

func scriptPubSubKeys(t *testing.T, c call) {
	o := c.run("key", "create", "--wspubsub", "--domain", "not made yet", "--name", "hello@example.com")
	if o.code != 0 || !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n$`).MatchString(o.out) {
		t.Fatalf("key create --wspubsub: %+v", o)
	}
	secret := strings.TrimSpace(o.out)
	type key struct{ ID, Name, Domain, State, Secret string }
	list := func(args ...string) (keys []key) {
		t.Helper()
		for _, line := range lines(c.ok(append([]string{"key", "list", "--wspubsub", "--json"}, args...)...)) {
			if line == "" {
				continue
			}
			var k key
			if err := json.Unmarshal([]byte(line), &k); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, k)
		}
		return keys
	}
	keys := list("--domain", "not made yet")
	if len(keys) != 1 || keys[0].Name != "hello@example.com" || keys[0].State != "active" || keys[0].Secret != "" {
		t.Fatalf("key list --wspubsub: %+v", keys)
	}
	if out := c.ok("key", "list", "--wspubsub"); !strings.Contains(out, keys[0].ID) || strings.Contains(out, secret) {
		t.Errorf("key list --wspubsub:\n%s", out)
	}
	if len(list("--domain", "other")) != 0 {
		t.Error("keys of another domain")
	}
	if o := c.run("key", "revoke", "--wspubsub", "nobody", keys[0].ID); o.code != 1 || !strings.Contains(o.err, "nobody") || !strings.Contains(o.out, "revoked "+keys[0].ID) {
		t.Errorf("key revoke --wspubsub: %+v", o)
	}
	if k := list(); len(k) != 1 || k[0].State != "revoked" {
		t.Errorf("after revoke: %+v", k)
	}
	if o := c.run("key", "create", "--wspubsub", "--domain", "d", "--manage"); o.code != 2 || !strings.Contains(o.err, "--manage") {
		t.Errorf("with a grant: %+v", o)
	}
	if o := c.run("key", "create", "--wspubsub", "--domain", strings.Repeat("d", 65)); o.code != 1 || !strings.Contains(o.err, "64 characters") {
		t.Errorf("a domain that is too long: %+v", o)
	}
}

// TestNotice: a notice is for those who listen to a server.
func TestNotice(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	s := serve(t, data)
	if o := s.run("notice", "list"); o.code != 0 || o.out != "" || !strings.Contains(o.err, "no notices") {
		t.Errorf("notice list: %+v", o)
	}
	if out := s.ok("notice", "set", "102", "We restart at noon"); out != "set 102: We restart at noon\n" {
		t.Errorf("notice set: %s", out)
	}
	var n struct{ Type, Message, Set string }
	if err := json.Unmarshal([]byte(s.ok("notice", "set", "103", "two\nlines", "--json")), &n); err != nil || n.Message != "two\nlines" || n.Set == "" {
		t.Errorf("notice set --json: %+v, %v", n, err)
	}
	if out := s.ok("notice", "get", "102"); out != "We restart at noon\n" {
		t.Errorf("notice get: %s", out)
	}
	if out := s.ok("notice", "list"); len(lines(out)) != 3 || !strings.Contains(out, `"two\nlines"`) {
		t.Errorf("notice list:\n%s", out)
	}
	if out := lines(s.ok("notice", "list", "--json")); len(out) != 2 || !strings.Contains(out[0], `"102"`) {
		t.Errorf("notice list --json: %q", out)
	}
	if o := s.run("notice", "delete", "10", "102"); o.code != 1 || o.out != "deleted 102\n" || !strings.Contains(o.err, "3 characters") {
		t.Errorf("notice delete: %+v", o)
	}
	if o := s.run("notice", "get", "102"); o.code != 1 || !strings.Contains(o.err, "no such notice") {
		t.Errorf("notice get of one that is deleted: %+v", o)
	}
	s.stop()
	if o := s.run("notice", "list"); o.code != 1 || !strings.Contains(o.err, "no server runs") {
		t.Errorf("without a server: %+v", o)
	}
}

func scriptDomains(t *testing.T, c call) {
	if out := c.ok("domain", "create", "shop", "--retention-age", "30d", "--retention-bytes", "2GiB"); !strings.Contains(out, "created shop") || !strings.Contains(out, "30d and 2GiB") {
		t.Errorf("domain create: %s", out)
	}
	if o := c.run("domain", "create", "shop"); o.code != 1 || !strings.Contains(o.err, "there is a domain \"shop\" already") {
		t.Errorf("created twice: %+v", o)
	}
	if o := c.run("domain", "create", "a b"); o.code != 1 || !strings.Contains(o.err, "byte 1") {
		t.Errorf("a bad name: %+v", o)
	}
	type domain struct {
		Name string
		Own  struct {
			Durability, RetentionAge string
			RetentionBytes           int64
		}
	}
	list := func() []domain {
		t.Helper()
		var all []domain
		for _, line := range lines(c.ok("domain", "list", "--json")) {
			var d domain
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatal(err)
			}
			all = append(all, d)
		}
		return all
	}
	if all := list(); len(all) != 2 || all[0].Name != "main" || all[1].Own.RetentionAge != "720h0m0s" || all[1].Own.RetentionBytes != 2<<30 {
		t.Errorf("domain list: %+v", all)
	}
	c.ok("domain", "set", "shop", "--retention-age", "default", "--durability", "async")
	if d := list()[1]; d.Own.RetentionAge != "" || d.Own.Durability != "async" || d.Own.RetentionBytes != 2<<30 {
		t.Errorf("after set: %+v", d)
	}
	if o := c.run("domain", "set", "none", "--durability", "async"); o.code != 1 || !strings.Contains(o.err, "none") {
		t.Errorf("set one that is not there: %+v", o)
	}
	if out := c.ok("domain", "list"); !strings.Contains(out, "durability async") {
		t.Errorf("domain list:\n%s", out)
	}
	var e struct{ Epoch, Head string }
	if err := json.Unmarshal([]byte(c.ok("domain", "new-epoch", "shop", "--json")), &e); err != nil || len(e.Epoch) != 12 || !strings.HasPrefix(e.Head, e.Epoch) {
		t.Errorf("new epoch: %+v, %v", e, err)
	}
	c.in = "no\n"
	if o := c.run("domain", "delete", "shop"); o.code != 1 || !strings.Contains(o.err, "nothing was deleted") || len(list()) != 2 {
		t.Errorf("not confirmed: %+v", o)
	}
	if o := c.run("key", "create", "--wspubsub", "--domain", "shop"); o.code != 0 {
		t.Fatalf("key create --wspubsub: %+v", o)
	}
	c.in = "shop\n"
	c.ok("domain", "delete", "shop")
	if out := c.ok("key", "list", "--wspubsub", "--domain", "shop", "--json"); !strings.Contains(out, `"state":"revoked"`) {
		t.Errorf("a key of wspubsub outlives its domain, and would make it anew: %s", out)
	}
	if o := c.run("domain", "delete", "--yes", "shop"); o.code != 1 || len(list()) != 1 {
		t.Errorf("deleted twice: %+v", o)
	}
}

func TestManageServer(t *testing.T) { script(t, serve(t, t.TempDir()).call) }

func TestManageDataDirectory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	script(t, call{t: t, dir: t.TempDir(), env: []string{"CRIER_ADMIN=http://127.0.0.1:1", "CRIER_DATA_DIR=" + data}})
}

// A server can be closed before its first start.
func TestClosedBeforeFirstStart(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	c := call{t: t, dir: t.TempDir(), env: []string{"CRIER_ADMIN=http://127.0.0.1:1", "CRIER_DATA_DIR=" + data}}
	secret := strings.TrimSpace(c.ok("key", "create", "--publish", "**"))
	s := serve(t, data)
	if o := s.run("publish", "a", "x"); o.code != 1 || !strings.Contains(o.err, "401") || !strings.Contains(o.err, "--token") {
		t.Errorf("without a key: %+v", o)
	}
	s.ok("publish", "a", "x", "--token", secret)
	if o := s.run("subscribe", "a", "--token", secret); o.code != 1 || !strings.Contains(o.err, "403") {
		t.Errorf("without the grant: %+v", o)
	}
	id := strings.Split(secret, "_")[1]
	s.ok("key", "revoke", id)
	if o := s.run("publish", "a", "x", "--token", secret); o.code != 1 || !strings.Contains(o.err, "revoked") {
		t.Errorf("with a revoked key: %+v", o)
	}
}

// A data directory that a server has is left alone.
func TestManageLocked(t *testing.T) {
	s := serve(t, t.TempDir())
	c := s.call
	if o := c.run("key", "list", "--admin", "http://127.0.0.1:1"); o.code != 1 || !strings.Contains(o.err, "one runs") || !strings.Contains(o.err, "--admin") {
		t.Errorf("%+v", o)
	}
	if o := c.run("key", "list", "--data-dir", t.TempDir()); o.code != 1 || !strings.Contains(o.err, "no token") {
		t.Errorf("no token: %+v", o)
	}
	if o := c.run("key", "list", "--admin-token", "crier_operator_wrong_and_long_enough"); o.code != 1 || !strings.Contains(o.err, "401") {
		t.Errorf("wrong token: %+v", o)
	}
	if o := c.run("key", "list", "--admin", "http://192.0.2.1:1"); o.code != 1 || !strings.Contains(o.err, "reach the operator's listener at http://192.0.2.1:1") {
		t.Errorf("far away: %+v", o)
	}
}
