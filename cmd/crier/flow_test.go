package main_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// lines of text, without the last line's end.
func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

func TestPublishAndSubscribe(t *testing.T) {
	s := serve(t, t.TempDir())
	id := strings.TrimSpace(s.ok("publish", "news/today", "hello <world>"))
	if len(id) != 24 {
		t.Errorf("a publish prints %q, want an id", id)
	}
	s.ok("publish", "news/empty", "", "--type", "nothing", "--ttl", "1h")
	s.in = "one\n\n two \n"
	if out := lines(s.ok("publish", "news/lines", "--json")); len(out) != 2 || !strings.Contains(out[1], `"durability":"fsync"`) {
		t.Errorf("lines print %q", out)
	}
	s.in = "\x00\xff"
	s.ok("publish", "news/bytes", "--file", "-", "--binary")
	s.in = `{"a": 1}` + "\n" + `"two"` + "\n"
	if o := s.run("publish", "news/json", "-", "--content-type", "application/json"); o.code != 0 || o.out != "" || !strings.Contains(o.err, "published 2 messages") {
		t.Errorf("%+v", o)
	}
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte("a\nb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.ok("publish", "news/file", "--file", file, "--content-type", "text/html")

	want := "hello <world>\n\none\n two \n\x00\xff\n{\"a\": 1}\n\"two\"\na\nb\n"
	if got := s.ok("subscribe", "news/*", "--until-latest"); got != want {
		t.Errorf("subscribe prints %q, want %q", got, want)
	}
	if got := s.ok("subscribe", "news/**", "--since", "earliest", "--limit", "3"); got != "hello <world>\n\none\n" {
		t.Errorf("the first three are %q", got)
	}
	if got := s.ok("subscribe", "news/**", "--since", "last:1", "--limit", "1"); got != "a\nb\n" {
		t.Errorf("the last one is %q", got)
	}
	got := lines(s.ok("subscribe", "news/**", "--since", id, "--until-latest", "--json"))
	var m struct{ Topic, Type, ContentType, Data, Encoding string }
	if err := json.Unmarshal([]byte(got[0]), &m); err != nil || len(got) != 7 || m.Topic != "news/empty" || m.Type != "nothing" {
		t.Errorf("as JSON after %s: %q", id, got)
	}
	if err := json.Unmarshal([]byte(got[3]), &m); err != nil || m.Data != "AP8=" || m.Encoding != "base64" || m.ContentType != "application/octet-stream" {
		t.Errorf("bytes as JSON: %q", got[3])
	}
}

func TestPublishRefusals(t *testing.T) {
	s := serve(t, t.TempDir(), "--max-message", "1KiB")
	for _, tt := range []struct {
		args []string
		in   string
		want []string
	}{
		{[]string{"publish", "a//b", "x"}, "", []string{"publish to main/a//b", "400", "segment"}},
		{[]string{"publish", "a", "x", "--domain", "none"}, "", []string{"404"}},
		{[]string{"publish", "a", strings.Repeat("x", 2000)}, "", []string{"413", "1024"}},
		{[]string{"publish", "a"}, "ok\n" + strings.Repeat("x", 2000) + "\n", []string{"publish", "nothing was published|published 1 message"}},
		{[]string{"publish", "a", "--content-type", "application/json", "--key", "k"}, "1\n2\n{\n", []string{"lines 1 to 3", "message 3 is not JSON", "nothing was published"}},
		{[]string{"subscribe", "a", "--since", "yesterday"}, "", []string{"subscribe to main/a", "400"}},
		{[]string{"subscribe", "a/***"}, "", []string{"400"}},
	} {
		t.Run(strings.Join(tt.args, " ")[:min(40, len(strings.Join(tt.args, " ")))], func(t *testing.T) {
			c := s.call
			c.t, c.in = t, tt.in
			o := c.run(tt.args...)
			for _, want := range tt.want {
				either, or, _ := strings.Cut(want, "|")
				if o.code != 1 || !strings.Contains(o.err, either) && (or == "" || !strings.Contains(o.err, or)) {
					t.Errorf("exit code %d, want 1 with %q:\n%s", o.code, want, o.err)
				}
			}
		})
	}
}

// The same key stores nothing again.
func TestPublishKey(t *testing.T) {
	s := serve(t, t.TempDir())
	first := s.ok("publish", "a", "x", "--key", "k")
	if again := s.ok("publish", "a", "x", "--key", "k"); again != first {
		t.Errorf("%q, then %q", first, again)
	}
	if o := s.run("publish", "a", "y", "--key", "k"); o.code != 1 || !strings.Contains(o.err, "422") {
		t.Errorf("another body: %+v", o)
	}
	s.in = "1\n2\n3\n4\n5\n"
	for range 2 {
		s.ok("publish", "lines", "--key", "import", "--batch", "2")
	}
	if got := s.ok("subscribe", "lines", "--until-latest"); got != s.in {
		t.Errorf("published twice with a key there are %q", got)
	}
}

// follow is a crier subscribe that runs.
type follow struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
	notes chan string
}

func (c call) follow(args ...string) *follow {
	c.t.Helper()
	f := &follow{cmd: exec.Command(binary, append([]string{"subscribe"}, args...)...), notes: make(chan string, 100)}
	f.cmd.Env = environment(c.env...)
	out, err := f.cmd.StdoutPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	notes, err := f.cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	f.lines = bufio.NewScanner(out)
	go func() { // ends with the process
		s := bufio.NewScanner(notes)
		for s.Scan() {
			f.notes <- s.Text()
		}
		close(f.notes)
	}()
	c.t.Cleanup(func() {
		_ = f.cmd.Process.Kill()
		_, _ = f.cmd.Process.Wait()
	})
	return f
}

// next reads a line of output.
func (f *follow) next(t *testing.T) string {
	t.Helper()
	if !f.lines.Scan() {
		t.Fatalf("subscribe ended: %v", f.lines.Err())
	}
	return f.lines.Text()
}

// end interrupts and gives the exit code.
func (f *follow) end(t *testing.T) int {
	t.Helper()
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for range f.notes {
	}
	_ = f.cmd.Wait()
	return f.cmd.ProcessState.ExitCode()
}

// A subscriber goes on after the server was killed and came back.
func TestSubscribeOverRestart(t *testing.T) {
	t.Parallel() // it waits for most of its time
	data := t.TempDir()
	s := serve(t, data)
	s.ok("publish", "a", "one")
	f := s.follow("a", "--since", "earliest")
	if got := f.next(t); got != "one" {
		t.Fatalf("first %q", got)
	}
	s.kill()
	if note := <-f.notes; !strings.Contains(note, "trying again in") {
		t.Errorf("said %q", note)
	}
	again := serve(t, data, "--listen", strings.TrimPrefix(s.api, "http://"))
	// The first --listen of serve is of a free port: the API is at both.
	again.env[0] = s.env[0]
	again.ok("publish", "a", "two")
	if got := f.next(t); got != "two" {
		t.Errorf("after the restart %q", got)
	}
	if code := f.end(t); code != 0 {
		t.Errorf("interrupted: exit code %d", code)
	}
}

// A pipe is not waited for: what is there goes out.
func TestPublishFromSlowPipe(t *testing.T) {
	s := serve(t, t.TempDir())
	f := s.follow("a", "--since", "earliest")
	in, out := io.Pipe()
	cmd := exec.Command(binary, "publish", "a")
	cmd.Env, cmd.Stdin = environment(s.env...), in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		fmt.Fprintf(out, "line %d\n", i)
		if got := f.next(t); got != fmt.Sprintf("line %d", i) {
			t.Errorf("got %q", got)
		}
	}
	out.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// An interrupted publish fails and says how far it got.
func TestPublishInterrupted(t *testing.T) {
	s := serve(t, t.TempDir())
	f := s.follow("a", "--since", "earliest")
	in, out := io.Pipe()
	defer out.Close()
	cmd := exec.Command(binary, "publish", "a")
	cmd.Env = environment(s.env...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(stdin, in) }() // ends when out is closed
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(out, "x")
	f.next(t)
	// The message may be here before its acknowledgement is there.
	time.AfterFunc(100*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(said.String(), "publish") {
		t.Errorf("exit code %d: %s", code, said.String())
	}
}

// A secret often comes out of a file, with the end of its line; what no header
// can hold is refused before anything is tried.
func TestSecretsFromFiles(t *testing.T) {
	s := serve(t, t.TempDir())
	secret := strings.TrimSpace(s.ok("key", "create", "--publish", "a"))
	with := s.call
	with.env = append(slices.Clone(s.env), "CRIER_TOKEN="+secret+"\n")
	with.ok("publish", "a", "x")
	if o := s.run("publish", "a", "x", "--token", secret+"\n"+secret); o.code != 2 || !strings.Contains(o.err, "--token") || strings.Contains(o.err, secret) {
		t.Errorf("exit code %d, want 2 with --token, and not the secret:\n%s", o.code, o.err)
	}
}
