package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"crier/internal/dialect/redistest"
)

// TestPushcartRedis: what was acknowledged gets to Redis, in order, also over
// kills of the server.
func TestPushcartRedis(t *testing.T) {
	t.Parallel()
	addr := redistest.Addr(t)
	s := startServer(t, "--redis", "redis://"+addr)
	app, token := s.add(t, "addapp", "My App\n")
	c := talkToRedis(t, addr)
	c.subscribe(t, "pushcart:messages")
	const rounds, each = 3, 40
	for round := range rounds {
		if round > 0 {
			s.kill()
			s = s.restart(t)
		}
		for i := range each {
			if status, text := cart(t, "POST", s.api+"/messages", "X-App-Token", token, fmt.Sprintf(`{"n":%d}`, round*each+i)); status != 201 {
				t.Fatal(status, text)
			}
		}
	}
	for next := 0; next < rounds*each; {
		var m struct {
			N   int
			App struct {
				ID string `json:"_id"`
			}
		}
		if json.Unmarshal([]byte(c.message(t)), &m) != nil || m.App.ID != app { // what others publish
			continue
		}
		if m.N > next {
			t.Fatalf("message %d comes, and %d did not", m.N, next)
		}
		next = max(next, m.N+1)
	}
}
