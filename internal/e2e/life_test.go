package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"crier/client"
)

// A server that is told to stop says so to everybody, a few at a time, and
// ends in order: what it kept needs no recovery.
func TestDrain(t *testing.T) {
	t.Parallel()
	const drain = 4 * time.Second
	s := startServer(t, "--drain", drain.String())
	s.manage(t, "POST", "/v1/domains", `{"name":"quick","durability":"async"}`, nil)
	c := s.dial(t)
	publish(t, c, "news", "one")
	if _, err := c.Publish(t.Context(), client.Draft{Domain: "quick", Topic: "news", Data: []byte("one")}); err != nil {
		t.Fatal(err)
	}

	topic := s.api + "/t/main/news"
	streams := []*sse{listen(t, web(), topic), listen(t, web(), topic)}
	sockets := []*socket{open(t, web(), topic), open(t, web(), topic, "crier.v1.json")}
	pages := make(chan answer, 1)
	go func() {
		a, _ := tryAsk(t.Context(), "GET", topic+"?wait=60", "") // an error has the status 0
		pages <- a
	}()
	eventually(t, "five connections", func() bool { return len(s.connections(t)) == 5 })
	if status := s.readyz(t); status != http.StatusOK {
		t.Errorf("readyz is %d before the end", status)
	}

	began := time.Now()
	s.terminate(t)
	s.log.await(t, "stopping")
	if status := s.readyz(t); status != http.StatusServiceUnavailable {
		t.Errorf("readyz is %d while the server stops", status)
	}
	eventually(t, "no more connections are taken", func() bool {
		_, err := tryAsk(t.Context(), "GET", s.api+"/", "")
		return err != nil
	})
	for _, stream := range streams {
		checkRestart(t, stream)
	}
	for i, socket := range sockets {
		if end := socket.closing(t); end.code != 1012 {
			t.Errorf("socket %d was closed with %d (%s), want 1012", i, end.code, end.reason)
		}
	}
	if a, _ := receive(t, pages); a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
		t.Errorf("the page that waited was answered %d %s", a.status, a.body)
	}
	if took := time.Since(began); took < drain*4/5 {
		t.Errorf("everybody was gone after %v, not over %v", took, drain)
	}
	if code := s.exit(t); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}

	s = s.restart(t)
	for _, domain := range []string{"main", "quick"} {
		page, err := s.dial(t).Page(t.Context(), client.PageOptions{Domain: domain, Topics: []string{"**"}})
		if err != nil || len(page.Messages) != 1 {
			t.Errorf("%s has %v, %v after a clean stop, want one message", domain, page.Messages, err)
		}
		var view struct{ Epochs []any }
		if s.manage(t, "GET", "/v1/domains/"+domain, "", &view); len(view.Epochs) != 1 {
			t.Errorf("%s has %d epochs after a clean stop, want one", domain, len(view.Epochs))
		}
	}
}

// checkRestart reads a stream to its end: what begins with a time after which
// to come back ends with a longer one.
func checkRestart(t *testing.T, s *sse) {
	t.Helper()
	blocks := s.rest(t)
	if len(blocks) == 0 {
		t.Fatal("the stream ended without a word")
	}
	for _, b := range blocks[:len(blocks)-1] {
		if ms, err := strconv.Atoi(b.Retry); err == nil && (ms < 2000 || ms > 6000) {
			t.Errorf("retry: %d at first, want 2 to 6 seconds", ms)
		}
	}
	last := blocks[len(blocks)-1]
	if ms, err := strconv.Atoi(last.Retry); last.Event != "crier-restart" || err != nil || ms < 5000 {
		t.Errorf("the stream ended with %+v, want crier-restart and a longer retry", last)
	}
}

// connection is one of those that the management API lists.
type connection struct {
	ID, Transport string
	Lag           uint64
	Bytes         uint64
}

func (s *server) connections(t *testing.T) []connection {
	t.Helper()
	var page struct{ Connections []connection }
	s.manage(t, "GET", "/v1/connections?limit=1000", "", &page)
	return page.Connections
}

// A second SIGTERM is for somebody who does not want to wait.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t, "--drain", "10m")
	listen(t, web(), s.api+"/t/main/news")
	s.terminate(t)
	s.log.await(t, "stopping")
	eventually(t, "the end", func() bool {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		return closed(s.ended)
	})
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	stdout, stderr, code := crier(t, nil, "serve", "--data-dir", s.dir, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0")
	if code != 1 || stdout != "" {
		t.Errorf("exit code %d, stdout %q, want 1 and nothing", code, stdout)
	}
	last := lastLine(stderr)
	for _, want := range []string{s.dir, "process " + strconv.Itoa(s.cmd.Process.Pid), "another data directory"} {
		if !strings.Contains(last, want) {
			t.Errorf("it said %q, which does not name %q", last, want)
		}
	}
	publish(t, s.dial(t), "news", "the first one goes on")
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// A port that is taken is told before anything is served.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, flags := range [][]string{
		{"--listen", hostPort(s.api), "--admin-listen", "127.0.0.1:0"},
		{"--listen", "127.0.0.1:0", "--admin-listen", hostPort(s.admin)},
	} {
		_, stderr, code := crier(t, nil, append([]string{"serve", "--data-dir", t.TempDir()}, flags...)...)
		if last := lastLine(stderr); code != 1 || !strings.Contains(last, "address already in use") || !strings.Contains(last, "listen (--") && !strings.Contains(last, "listen)") {
			t.Errorf("%v: exit code %d, it said %q", flags, code, last)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	file := write(t, "crier.conf", "# what is said once\n\ndurability = async\nmax-message = \"2KiB\"\nlisten = 127.0.0.1:0\nlisten = 127.0.0.1:0\n")
	for _, tt := range []struct {
		name       string
		env, flags []string
		durability string
		largest    int
		listeners  int
	}{
		{name: "file by flag", flags: []string{"--config", file}, durability: "async", largest: 2 << 10, listeners: 2},
		{name: "file by environment", env: []string{"CRIER_CONFIG=" + file}, durability: "async", largest: 2 << 10, listeners: 2},
		{name: "environment over file", env: []string{"CRIER_DURABILITY=memory"}, flags: []string{"--config", file}, durability: "memory", largest: 2 << 10, listeners: 2},
		{name: "flag over environment", env: []string{"CRIER_DURABILITY=memory", "CRIER_MAX_MESSAGE=4KiB"},
			flags: []string{"--config", file, "--durability", "fsync", "--listen", "127.0.0.1:0"}, durability: "fsync", largest: 4 << 10, listeners: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := launchWith(t, tt.env, t.TempDir(), append([]string{"--admin-listen", "127.0.0.1:0"}, tt.flags...)...)
			s.ready(t)
			if n := len(strings.Fields(s.log.await(t, "crier listens").text("api"))); n != tt.listeners {
				t.Errorf("it listens at %d addresses, want %d", n, tt.listeners)
			}
			if r := publish(t, s.dial(t), "x", strings.Repeat("x", tt.largest)); r.Durability != tt.durability {
				t.Errorf("durability is %s, want %s", r.Durability, tt.durability)
			}
			a := ask(t, "POST", s.api+"/t/main/x", strings.Repeat("x", tt.largest+1))
			if a.status != http.StatusRequestEntityTooLarge || !strings.Contains(a.problem(t).Detail, strconv.Itoa(tt.largest)) {
				t.Errorf("a byte more: %d %s, want 413 with the limit", a.status, a.body)
			}
		})
	}
}

// What cannot be understood is told with its place, and nothing is started.
func TestSettingsThatAreWrong(t *testing.T) {
	t.Parallel()
	unknown := write(t, "unknown.conf", "# a comment\ndrain = 1s\ndurabilty = async\n")
	bad := write(t, "bad.conf", "durability = sometimes\n")
	for name, tt := range map[string]struct {
		env, flags []string
		want       []string
	}{
		"unknown line":         {flags: []string{"--config", unknown}, want: []string{unknown, "line 3", `"durabilty"`}},
		"no file":              {flags: []string{"--config", unknown + "x"}, want: []string{unknown + "x"}},
		"bad value in file":    {flags: []string{"--config", bad}, want: []string{"durability", "sometimes"}},
		"bad value in env":     {env: []string{"CRIER_RETENTION_AGE=soon"}, want: []string{"retention-age", "soon"}},
		"bad value in flag":    {flags: []string{"--max-message", "much"}, want: []string{"--max-message", "much"}},
		"unknown flag":         {flags: []string{"--durabilty", "async"}, want: []string{"--durabilty"}},
		"half a certificate":   {flags: []string{"--tls-cert", bad}, want: []string{"--tls-cert", "--tls-key"}},
		"origin with a path":   {flags: []string{"--origins", "https://example.org/"}, want: []string{"--origins", "https://example.org/"}},
		"address without port": {flags: []string{"--listen", "localhost"}, want: []string{"localhost", "HOST:PORT"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir() + "/data"
			stdout, stderr, code := crier(t, tt.env, append([]string{"serve", "--data-dir", dir}, tt.flags...)...)
			if code == 0 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("it said %q, which does not name %q", stderr, want)
				}
			}
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"--help"}, {"serve", "--help"}, {"publish", "--help"}, {"key", "create", "--help"}} {
		stdout, stderr, code := crier(t, nil, args...)
		if code != 0 || stderr != "" || !strings.HasPrefix(stdout, "Usage: crier") {
			t.Errorf("crier %v: exit code %d, stderr %q, stdout %.100q", args, code, stderr, stdout)
		}
	}
	stdout, _, _ := crier(t, nil, "serve", "--help")
	for _, want := range []string{
		"--listen", "127.0.0.1:8080", "CRIER_LISTEN", "--data-dir", "./crier-data", "--durability", "fsync", "--retention-age", "7d", "--drain", "5s", "CRIER_TLS_CERT",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("crier serve --help does not have %q:\n%s", want, stdout)
		}
	}
	if _, stderr, code := crier(t, nil, "sevre"); code != 2 || !strings.Contains(stderr, "sevre") {
		t.Errorf("an unknown command: exit code %d, %q", code, stderr)
	}
}

// The two lines that an open server logs work when copied.
func TestLinesToCopy(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	hear := s.log.await(t, "try: ").msg()
	say := s.log.await(t, "and: ").msg()
	var heard, said string
	if _, err := fmt.Sscanf(hear, "try: curl -N -H 'Accept: text/event-stream' %s", &heard); err != nil {
		t.Errorf("the line %q: %v", hear, err)
	}
	if _, err := fmt.Sscanf(say, "and: curl -d 'hello, world' %s", &said); err != nil {
		t.Errorf("the line %q: %v", say, err)
	}
	stream := listen(t, web(), heard)
	if a := ask(t, "POST", said, "hello, world", "Content-Type", "application/x-www-form-urlencoded"); a.status != http.StatusCreated {
		t.Errorf("published: %d %s", a.status, a.body)
	}
	if b := stream.event(t); b.Data != "hello, world" {
		t.Errorf("heard %+v", b)
	}
}

// A server without files is told its operator's token, and says what it
// cannot keep.
func TestEngineMemory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/data"
	listen := []string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--engine", "memory"}
	if _, stderr, code := crier(t, nil, append([]string{"serve", "--data-dir", dir}, listen...)...); code != 1 || !strings.Contains(lastLine(stderr), "--admin-token") {
		t.Errorf("without a token: exit code %d, it said %q", code, stderr)
	}
	const token = "operators-token-of-some-length-0123456789"
	s := launch(t, dir, append(listen, "--admin-token", token)...)
	s.ready(t)
	if r := publish(t, s.dial(t), "x", "hello"); r.Durability != "memory" {
		t.Errorf("durability is %s", r.Durability)
	}
	if a := ask(t, "GET", s.admin+"/v1/domains", "", bearer(token)...); a.status != http.StatusOK {
		t.Errorf("with the token: %d %s", a.status, a.body)
	}
	if a := ask(t, "GET", s.admin+"/v1/domains", "", bearer(token+"x")...); a.status != http.StatusUnauthorized {
		t.Errorf("with another token: %d %s", a.status, a.body)
	}
	if s.log.has(token) {
		t.Error("the token is in the log")
	}
	s.terminate(t)
	if code := s.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the data directory: %v, want that there is none", err)
	}
}
