package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"crier/internal/dialect/redistest"
)

// TestPushcartRedis: what was acknowledged gets to Redis, in order, also over
// kills of the server.
func TestPushcartRedis(t *testing.T) {
	t.Parallel()
	addr := redistest.Addr(t)
	s := startServer(t, "--redis", "redis://"+addr)
	app, token := s.add(t, "addapp", "My App\n")
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	lines := bufio.NewReader(nc)
	if _, err := io.WriteString(nc, "SUBSCRIBE pushcart:messages\r\n"); err != nil {
		t.Fatal(err)
	}
	for line := ""; line != ":1\r\n"; {
		if line, err = lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
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
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	for next := 0; next < rounds*each; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("message %d: %v", next, err)
		}
		var m struct {
			N   int
			App struct {
				ID string `json:"_id"`
			}
		}
		if json.Unmarshal([]byte(line), &m) != nil || m.App.ID != app { // what is between, and what others publish
			continue
		}
		if m.N > next {
			t.Fatalf("message %d comes, and %d did not", m.N, next)
		}
		next = max(next, m.N+1)
	}
}
