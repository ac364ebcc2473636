package main_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// scriptAccounts makes, lists, rotates and revokes apps and clients.
func scriptAccounts(t *testing.T, c call) {
	c.in = "My App\n"
	made := regexp.MustCompile(`^Name: \nOK\nid: ([0-9a-f]{24})\ntoken: ([0-9a-f]{32})\n$`).FindStringSubmatch(c.ok("addapp"))
	if made == nil {
		t.Fatalf("addapp: %q", c.ok("addapp"))
	}
	for in, asks := range map[string]string{"ios\n\n": "Type: Info: ", "ios\n{\"v\": 1}\n": "Type: Info: ", "ios\r\n{}": "Type: Info: ", "": "Type: Info: "} {
		c.in = in
		if out := c.ok("addclient"); !regexp.MustCompile(`^` + asks + `\nOK\nid: [0-9a-f]{24}\ntoken: [0-9a-f]{32}\n$`).MatchString(out) {
			t.Errorf("addclient with %q: %q", in, out)
		}
	}
	c.in = ""
	if out := c.ok("addapp", "--name", "Other"); !strings.HasPrefix(out, "\nOK\nid: ") {
		t.Errorf("addapp --name: %q", out)
	}
	if o := c.run("addapp"); o.code != 2 || !strings.Contains(o.err, "needs a name") {
		t.Errorf("addapp without a name: %+v", o)
	}
	if o := c.run("addclient", "--type", "x", "--info", "[]"); o.code != 2 || !strings.Contains(o.err, "JSON object") {
		t.Errorf("bad info: %+v", o)
	}
	if o := c.run("addapp", "--name", "a\tb"); o.code != 1 || !strings.Contains(o.err, "control characters") {
		t.Errorf("bad name: %+v", o)
	}
	var client struct {
		ID, Type, Token string
		Info            json.RawMessage
	}
	if err := json.Unmarshal([]byte(c.ok("addclient", "--type", "web", "--info", `{"v":2}`, "--json")), &client); err != nil || client.Type != "web" || string(client.Info) != `{"v":2}` || len(client.Token) != 32 {
		t.Errorf("addclient --json: %+v, %v", client, err)
	}
	out := c.ok("app", "list")
	if !strings.Contains(out, made[1]) || !strings.Contains(out, "My App") || strings.Contains(out, made[2]) {
		t.Errorf("app list:\n%s", out)
	}
	if all := lines(c.ok("client", "list", "--json")); len(all) != 5 {
		t.Errorf("client list: %q", all)
	}
	if out := c.ok("app", "rotate", made[1]); !strings.HasPrefix(out, "id: "+made[1]+"\ntoken: ") || strings.Contains(out, made[2]) {
		t.Errorf("app rotate: %q", out)
	}
	if out := c.ok("client", "revoke", client.ID); out != "revoked "+client.ID+" web\n" {
		t.Errorf("client revoke: %q", out)
	}
	if o := c.run("client", "rotate", client.ID); o.code != 1 || !strings.Contains(o.err, "revoked") {
		t.Errorf("client rotate of a revoked one: %+v", o)
	}
	if out := c.ok("client", "list"); strings.Count(out, "revoked") != 1 || !strings.Contains(out, `{"v":2}`) {
		t.Errorf("client list:\n%s", out)
	}
	if o := c.run("app", "revoke", made[1], strings.Repeat("0", 24)); o.code != 1 || !strings.Contains(o.out, "revoked "+made[1]) || !strings.Contains(o.err, "there is no") {
		t.Errorf("app revoke: %+v", o)
	}
}

func TestAccountsServer(t *testing.T) { scriptAccounts(t, serve(t, t.TempDir()).call) }

func TestAccountsDataDirectory(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	scriptAccounts(t, call{t: t, dir: t.TempDir(), env: []string{"CRIER_ADMIN=http://127.0.0.1:1", "CRIER_DATA_DIR=" + data}})
}
