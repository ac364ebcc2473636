package e2e

import (
	"net/http"
	"strings"
	"testing"

	"crier/internal/engine/mongodb/mongotest"
)

// TestPushcartInMongoDB has two servers on one database, as a Pushcart had it:
// both have the same messages under the same ids, also after one was killed
// and the database was away.
func TestPushcartInMongoDB(t *testing.T) {
	t.Parallel()
	db := mongotest.Ferret(t)
	env := []string{"MONGODB_URI=" + db.URL + "/cart"}
	start := func() *server {
		s := launchWith(t, env, t.TempDir(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--mongodb-durability", "fsync")
		s.ready(t)
		return s
	}
	one, two := start(), start()
	one.log.await(t, "a setting is taken from names of the system before")
	_, appToken := one.add(t, "addapp", "My App\n")
	_, clientToken := two.add(t, "addclient", "test\n\n")
	var want []string
	post := func(s *server, body string) {
		t.Helper()
		status, text := cart(t, "POST", s.api+"/messages", "X-App-Token", appToken, body)
		if status != http.StatusCreated {
			t.Fatalf("POST /messages: %d %s", status, text)
		}
		want = append(want, text)
	}
	same := func(when string, servers ...*server) {
		t.Helper()
		for _, s := range servers {
			status, got := cart(t, "GET", s.api+"/messages", "X-Client-Token", clientToken, "")
			if status != http.StatusOK || got != "["+strings.Join(want, ",")+"]" {
				t.Fatalf("%s: %d %s, want %q", when, status, got, want)
			}
		}
	}
	for range 5 {
		post(one, `{"hello":"one","n":12345678901234567890}`)
		post(two, `{"hello":"two"}`)
	}
	same("with two servers", one, two)

	one.kill()
	post(two, `{"one":"is away"}`)
	one = start()
	same("after a kill", one, two)

	db.Kill()
	eventually(t, "readyz is red", func() bool { return one.readyz(t) == http.StatusServiceUnavailable })
	if status, text := cart(t, "POST", one.api+"/messages", "X-App-Token", appToken, `{}`); status != http.StatusServiceUnavailable {
		t.Errorf("POST /messages without a database: %d %s", status, text)
	}
	db.Start(t)
	eventually(t, "ready again", func() bool { return one.readyz(t) == http.StatusOK && two.readyz(t) == http.StatusOK })
	post(one, `{"back":1}`)
	post(two, `{"back":2}`)
	same("after the database was away", one, two)
}
