package e2e

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// redis gives the address of a Redis, HOST:PORT: the one of the environment,
// the usual one of this machine, or one that is started.
func redis(t *testing.T) string {
	t.Helper()
	addr := strings.TrimPrefix(cmp.Or(os.Getenv("CRIER_REDIS"), "redis://127.0.0.1:6379"), "redis://")
	answers := func() bool {
		nc, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			_ = nc.Close()
		}
		return err == nil
	}
	if answers() {
		return addr
	}
	program, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "no Redis answers at %s, and there is no redis-server to start", addr)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(program, "--port", fmt.Sprint(l.Addr().(*net.TCPAddr).Port), "--save", "", "--dir", t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	eventually(t, "redis-server answers", answers)
	return addr
}

// TestPushcartRedis: what was acknowledged gets to Redis, in order, also over
// kills of the server.
func TestPushcartRedis(t *testing.T) {
	t.Parallel()
	addr := redis(t)
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
