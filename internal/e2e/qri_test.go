package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// qriPort is where QRI's backends publish.
func (s *server) qriPort(t *testing.T) string {
	t.Helper()
	return s.log.await(t, "qri backends publish").text("address")
}

// program finds a program, or skips the test if there is none and this is not
// where one has to be.
func program(t *testing.T, what string, good func(path string) bool, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil && (good == nil || good(path)) {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("there is no %s: none of %s", what, strings.Join(names, ", "))
	}
	t.Skipf("there is no %s: none of %s", what, strings.Join(names, ", "))
	return ""
}

// backend is QRI's Python library at work.
type backend struct {
	in    io.WriteCloser
	lines chan string
}

func startBackend(t *testing.T, address string) *backend {
	t.Helper()
	python := program(t, "Python 3 with pyasn1 (Debian's python3-pyasn1)", func(path string) bool {
		return exec.Command(path, "-c", "import pyasn1").Run() == nil
	}, "/usr/bin/python3", "python3")
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{}
	b.in, b.lines = start(t, python, "testdata/qri.py", host, port)
	return b
}

// start starts a program of another language and gives its input and the lines
// that it prints.
func start(t *testing.T, name string, args ...string) (io.WriteCloser, chan string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(lines)
		scanner := bufio.NewScanner(out)
		scanner.Buffer(nil, 4<<20)
		for scanner.Scan() {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	return in, lines
}

// say has the backend send a message, and waits until the kernel took it.
func (b *backend) say(t *testing.T, peer, checksum, text, form string) {
	t.Helper()
	line, _ := json.Marshal(map[string]string{"peer": peer, "checksum": checksum, "message": text, "form": form})
	if _, err := b.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	if got, ok := receive(t, b.lines); !ok || got != "sent" {
		t.Fatalf("the backend said %q", got)
	}
}

// heard is an event that a listener of QRI got, or what became of it.
type heard struct {
	ID, Kind, Data, Msg string
	Code                *int
}

// qriListener is somebody who listens to a stream, in whatever language.
type qriListener struct {
	name string
	next func(t *testing.T) heard
}

// message gives the next message that is no Tick.
func (l *qriListener) message(t *testing.T) heard {
	t.Helper()
	for {
		if h := l.next(t); h.Kind == "message" && h.Data != "Tick" {
			return h
		}
	}
}

func nodeListener(t *testing.T, address string) *qriListener {
	t.Helper()
	node := program(t, "Node", func(path string) bool { return exec.Command(path, "-e", "fetch").Run() == nil }, "node", "nodejs")
	_, lines := start(t, node, "testdata/qri.mjs", address)
	return &qriListener{"Node", func(t *testing.T) (h heard) {
		t.Helper()
		line, ok := receive(t, lines)
		if !ok {
			t.Fatal("Node ended")
		}
		decode(t, line, &h)
		return h
	}}
}

func pageListener(t *testing.T, b *browser, address string) *qriListener {
	t.Helper()
	page := b.page(t, "http://"+b.pages)
	page.run(t, "hear", address)
	taken := 0
	return &qriListener{"Chromium", func(t *testing.T) (h heard) {
		t.Helper()
		var got []seen
		eventually(t, "Chromium gets another event", func() bool {
			got = evaluate[[]seen](t, page, "got")
			return len(got) > taken
		})
		taken++
		s := got[taken-1]
		return heard{ID: s.ID, Kind: s.Kind, Data: s.Data}
	}}
}

// TestQRI has a backend in Python talk to listeners in Node, or in a browser,
// with notices from the command line, over a crash of the server.
func TestQRI(t *testing.T) {
	t.Parallel()
	t.Run("Node", func(t *testing.T) {
		t.Parallel()
		testQRI(t, nodeListener)
	})
	t.Run("Chromium", func(t *testing.T) {
		t.Parallel()
		b := startBrowser(t)
		testQRI(t, func(t *testing.T, address string) *qriListener { return pageListener(t, b, address) })
	})
}

func testQRI(t *testing.T, listener func(t *testing.T, address string) *qriListener) {
	s := startServer(t, "--drain", "0s", "--qri-listen", "127.0.0.1:0")
	stream := s.api + "/stream?p=" + url.QueryEscape("a/b") + "&s=2008521774"
	listeners := []*qriListener{listener(t, stream), listener(t, stream)} // who share the pair
	for _, l := range listeners {
		for h := l.next(t); h.Data != "Tick"; h = l.next(t) {
			if h.Kind != "open" || h.Data != "*" {
				t.Errorf("%s: %+v", l.name, h)
			}
		}
	}
	b := startBackend(t, s.qriPort(t))
	ids := map[string]string{}
	notice := "" // that is told with each Tick
	expect := func(want string) {
		t.Helper()
		for _, l := range listeners {
			h := l.message(t)
			for notice != "" && h.Data == notice && h.Data != want { // told again, with a Tick
				h = l.message(t)
			}
			if h.Data != want {
				t.Fatalf("%s got %+v, want %q", l.name, h, want)
			}
			if ids[want] == "" {
				ids[want] = h.ID
			} else if ids[want] != h.ID {
				t.Errorf("%s got %q with the id %s, the others with %s", l.name, want, h.ID, ids[want])
			}
			if l.name == "Node" && strings.HasPrefix(want, "200") && (h.Code == nil || *h.Code != 200 || h.Msg != want[3:]) {
				t.Errorf("QRI's library would see %+v", h)
			}
		}
	}
	for _, form := range []string{"definite", "indefinite", "pieces"} {
		b.say(t, "a/b", "2008521774", "200 "+form, form)
		b.say(t, "a/b", "another", "not for them", form)
		b.say(t, "a/b", "2008521774", "é\nand "+form, form)
		expect("200 " + form)
		expect("é\nand " + form)
	}
	long := strings.Repeat("long ", 20_000)
	b.say(t, "a/b", "2008521774", long, "indefinite")
	expect(long)

	// Notices, and how long they are told of.
	manage := []string{"--admin", s.admin, "--data-dir", s.dir}
	if _, stderr, code := crier(t, nil, append([]string{"notice", "set", "102", "We restart"}, manage...)...); code != 0 {
		t.Fatal(stderr)
	}
	notice = "102We restart"
	expect(notice)

	s.kill()
	s = s.restart(t)
	// Whatever comes while listeners are away, they get.
	b = startBackend(t, s.qriPort(t))
	b.say(t, "a/b", "2008521774", "while you were away", "definite")
	for _, l := range listeners {
		var texts []string
		for len(texts) == 0 || texts[len(texts)-1] != "while you were away" {
			texts = append(texts, l.message(t).Data)
		}
		// The notice is told again when they come, and with a Tick if one is due.
		if !slices.Equal(slices.Compact(texts), []string{notice, "while you were away"}) {
			t.Errorf("%s got %q after the server came back", l.name, texts)
		}
	}
	a := ask(t, "DELETE", s.api+"/backdoor", "type=102", "Authorization", "Bearer "+s.token(t), "Content-Type", "application/x-www-form-urlencoded")
	if a.status != 204 {
		t.Fatalf("DELETE /backdoor: %d %s", a.status, a.body)
	}
	expect("102delete")
}

// TestQRIListensOnLoopbackOnly, unless there are client certificates or the
// operator says otherwise.
func TestQRIListensOnLoopbackOnly(t *testing.T) {
	t.Parallel()
	_, stderr, code := crier(t, nil, "serve", "--data-dir", t.TempDir(), "--qri-listen", "0.0.0.0:0")
	if code == 0 || !strings.Contains(stderr, "--qri-client-ca") || !strings.Contains(stderr, "--qri-plaintext") {
		t.Errorf("exit code %d, it said %q", code, stderr)
	}
	s := startServer(t, "--qri-listen", "0.0.0.0:0", "--qri-plaintext")
	conn, err := net.Dial("tcp", strings.Replace(s.qriPort(t), "[::]", "127.0.0.1", 1))
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	// Off means off.
	s = startServer(t, "--dialects", "wspubsub")
	for _, path := range []string{"/stream?p=1&s=2", "/backdoor?type=102"} {
		if a := ask(t, "GET", s.api+path, ""); a.status != 404 {
			t.Errorf("%s of a dialect that is off: %d", path, a.status)
		}
	}
	if s.log.has("qri backends publish") {
		t.Error("the port of a dialect that is off is open")
	}
	_, stderr, code = crier(t, nil, "serve", "--data-dir", t.TempDir(), "--dialects", "qri,ftp")
	if code == 0 || !strings.Contains(stderr, fmt.Sprintf("%q", "ftp")) {
		t.Errorf("exit code %d, it said %q", code, stderr)
	}
}

// TestQRIWithCertificates: off loopback a backend shows a certificate, or is
// not listened to.
func TestQRIWithCertificates(t *testing.T) {
	t.Parallel()
	cert, key, roots := selfMade(t)
	otherCert, otherKey, _ := selfMade(t)
	s := startServer(t, "--qri-listen", "0.0.0.0:0", "--qri-tls-cert", cert, "--qri-tls-key", key, "--qri-client-ca", cert)
	address := strings.Replace(s.qriPort(t), "[::]", "127.0.0.1", 1)
	hi := []byte("\x30\x0C\x04\x03123\x04\x01s\x04\x02hi")
	send := func(c net.Conn) error {
		defer c.Close()
		if _, err := c.Write(hi); err != nil {
			return err
		}
		if half, ok := c.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, err := io.ReadAll(c) // until the server has closed it
		return err
	}
	for _, tt := range []struct {
		name, cert, key string
		good            bool
	}{
		{"no certificate", "", "", false}, {"another's", otherCert, otherKey, false}, {"one that is signed", cert, key, true},
	} {
		cfg := &tls.Config{RootCAs: roots}
		if tt.cert != "" {
			pair, err := tls.LoadX509KeyPair(tt.cert, tt.key)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Certificates = []tls.Certificate{pair}
		}
		c, err := tls.Dial("tcp", address, cfg)
		if err == nil {
			err = send(c)
		}
		if (err == nil) != tt.good {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	plain, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = send(plain) // is answered with an alert
	var page struct{ Messages []struct{ Data string } }
	decode(t, ask(t, "GET", s.api+"/t/main/qri/123/s", "").body, &page)
	if len(page.Messages) != 1 || page.Messages[0].Data != "hi" {
		t.Errorf("the log has %+v, want what came with a certificate", page)
	}
	for _, flags := range [][]string{{"--qri-tls-cert", cert}, {"--qri-client-ca", cert}} {
		if _, stderr, code := crier(t, nil, append([]string{"serve", "--data-dir", t.TempDir()}, flags...)...); code == 0 || !strings.Contains(stderr, "--qri-tls-key") {
			t.Errorf("%v: %d %s", flags, code, stderr)
		}
	}
}
