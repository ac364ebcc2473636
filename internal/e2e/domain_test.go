package e2e

import (
	"net/http"
	"strings"
	"testing"

	"crier/client"
)

// Deleting a domain ends its keys and their connections; a later domain of the
// same name has neither its keys nor its messages, and no id of it is good.
func TestDeletedDomain(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	command := func(admin string, args ...string) {
		t.Helper()
		args = append(args, "--data-dir", s.dir, "--admin", admin)
		if _, stderr, code := crier(t, nil, args...); code != 0 {
			t.Fatalf("crier %v: exit code %d, %s", args, code, stderr)
		}
	}
	everything := []string{"--publish", "**", "--subscribe", "**"}
	command(s.admin, "domain", "create", "shop")
	operator := makeKeyIn(t, s.dir, s.admin, everything...) // of main: it stays
	old := makeKeyIn(t, s.dir, s.admin, append(everything, "--domain", "shop")...)
	address := s.api + "/t/shop/orders"
	first := ask(t, "POST", address, "secret of the old shop", bearer(old)...)
	if first.status != http.StatusCreated {
		t.Fatalf("publish: %d %s", first.status, first.body)
	}
	var receipt client.Receipt
	decode(t, first.body, &receipt)
	stream := listen(t, web(), address, bearer(old)...)

	command(s.admin, "domain", "delete", "--yes", "shop")
	checkExpired(t, stream)
	check := func(secret string) {
		t.Helper()
		a := ask(t, "POST", address, "x", bearer(secret)...)
		if a.status != http.StatusUnauthorized || !strings.Contains(a.problem(t).Detail, "revoked") {
			t.Errorf("a key of the deleted domain: %d %s, want 401", a.status, a.body)
		}
	}
	check(old)
	if a := ask(t, "POST", s.api+"/t/main/a", "x", bearer(operator)...); a.status != http.StatusCreated {
		t.Errorf("a key of another domain: %d %s", a.status, a.body)
	}

	renewed := func(admin string) (secret string) {
		t.Helper()
		command(admin, "domain", "create", "shop")
		return makeKeyIn(t, s.dir, admin, append(everything, "--domain", "shop")...)
	}
	empty := func(secret string) {
		t.Helper()
		a := ask(t, "GET", address+"?since="+receipt.ID, "", bearer(secret)...)
		if a.status != http.StatusOK || !strings.Contains(a.body, `"messages":[]`) || !strings.Contains(a.body, `"reason":"epoch"`) {
			t.Errorf("the new domain from a cursor of the old: %d %s, want a gap and nothing else", a.status, a.body)
		}
	}
	second := renewed(s.admin)
	check(old)
	empty(second)

	// The same without a server.
	s.kill()
	command(nobody, "domain", "delete", "--yes", "shop")
	third := renewed(nobody)
	s = s.restart(t)
	check(old)
	check(second)
	empty(third)
}
