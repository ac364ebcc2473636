package e2e

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"crier/internal/dialect/redistest"
)

func tcpAnswers(addr string) bool {
	nc, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	_ = nc.Close()
	return true
}

// startEcho builds and starts the example that echoes, and gives its address.
func startEcho(t *testing.T, flags ...string) (url string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "engineio-echo")
	if out, err := exec.Command("go", "build", "-o", path, "crier/examples/engineio-echo").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(path, append([]string{"--listen", addr}, flags...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		if err := cmd.Wait(); err != nil || !late.Stop() {
			t.Errorf("engineio-echo ended with %v", err)
		}
	})
	eventually(t, "engineio-echo listens", func() bool { return tcpAnswers(addr) })
	return "http://" + addr
}

// TestEngineIOClients has the real clients of every protocol and transport
// exchange text and binary with the transport alone, with heartbeats in
// between.
func TestEngineIOClients(t *testing.T) {
	t.Parallel()
	needNode(t)
	url := startEcho(t, "--ping-interval", "300ms", "--ping-timeout", "5s", "--path", "/engine.io/")
	checkTrials(t, node[trial](t, "", "matrix.mjs", url, "/engine.io"))
}

// TestRealizehitClients has the real clients subscribe, and hear what is
// posted; with Redis also what realizehit-publisher publishes there, and
// nothing twice.
func TestRealizehitClients(t *testing.T) {
	t.Parallel()
	needNode(t)
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		s := startServer(t)
		checkTrials(t, node[trial](t, "", "realizehit.mjs", s.api))
	})
	t.Run("with Redis", func(t *testing.T) {
		t.Parallel()
		redis := "redis://" + redistest.Addr(t)
		s := startServer(t, "--redis", redis)
		eventually(t, "ready", func() bool { return s.readyz(t) == http.StatusOK })
		checkTrials(t, node[trial](t, "", "realizehit.mjs", s.api, redis))
	})
}

// TestCrowd has 1,000 clients at once, half of them beginning on polling, get
// every message once and in order while they connect and upgrade.
func TestCrowd(t *testing.T) {
	needNode(t)
	// They are one process, which connects a thousand times before it sends.
	s := startServer(t, "--durability", "async", "--max-handshakes", "5000", "--head-timeout", "1m")
	clients, messages := "1000", "100"
	if testing.Short() {
		clients, messages = "100", "50"
	}
	got := node[struct {
		Error                     string
		Clients, Upgraded, During int
	}](t, "", "crowd.mjs", s.api, clients, messages)
	if len(got) != 1 || got[0].Error != "" || got[0].Upgraded < got[0].Clients*4/10 {
		t.Errorf("%+v", got)
	}
	t.Logf("%+v", got)
}

// TestEngineIOInABrowser has engine.io-client 6.6 in a page of another origin
// poll, upgrade and hear.
func TestEngineIOInABrowser(t *testing.T) {
	t.Parallel()
	needNode(t)
	b := startBrowser(t)
	library, err := os.ReadFile(filepath.Join(nodeDir, "node_modules", "engine.io-client-6", "dist", "engine.io.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	s := startServer(t)
	c := s.dial(t)
	ids := map[string]string{"polling": "cf277fbc", "websocket": "b0936f96"}
	for way, transports := range map[string][]string{
		"polling only": {"polling"}, "WebSocket only": {"websocket"}, "polling with upgrade": {"polling", "websocket"},
	} {
		page := b.page(t, "http://"+b.pages)
		evaluate[chromedp.Void](t, page, string(library))
		page.run(t, "engineIO", s.api, transports, `{"id":"x1","act":"sub","pat":{"browser":"`+transports[0]+`"}}`)
		page.expect(t, way, []seen{{"engine.io", "", `{"id":"x1"}`}})
		if len(transports) == 2 {
			page.awaitLife(t, "upgraded", 1)
		}
		// The id is the beginning of the MD5 of browser:polling or browser:websocket.
		publish(t, c, "realizehit/browser/"+transports[0], "grüße")
		page.expect(t, way, []seen{{"engine.io", "", `{"id":"x1"}`}, {"engine.io", "", ids[transports[0]] + `?"grüße"`}})
	}
}
