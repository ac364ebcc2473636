package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the crier that all tests run.
var binary string

func TestMain(m *testing.M) {
	code, err := buildAndRun(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func buildAndRun(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "crier-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "crier")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("build: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// outcome is what a command came to.
type outcome struct {
	code     int
	out, err string
}

// environment is the test's without what crier would read from it.
func environment(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CRIER_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// call is a command to run.
type call struct {
	t   *testing.T
	dir string
	env []string
	in  string
}

// run runs crier to its end.
func (c call) run(args ...string) outcome {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), binary, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = c.dir, environment(c.env...), strings.NewReader(c.in)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	failed := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](failed); failed != nil && !ok {
		c.t.Fatalf("crier %s: %v", strings.Join(args, " "), failed)
	} else if ok && exit.ExitCode() < 0 {
		c.t.Fatalf("crier %s: %v\n%s", strings.Join(args, " "), failed, err.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), err.String()}
}

// ok runs crier, which must succeed, and returns what it printed.
func (c call) ok(args ...string) string {
	c.t.Helper()
	o := c.run(args...)
	if o.code != 0 {
		c.t.Fatalf("crier %s: exit code %d\n%s", strings.Join(args, " "), o.code, o.err)
	}
	return o.out
}

// server is a crier serve.
type server struct {
	call
	cmd        *exec.Cmd
	api, admin string
	data       string
}

// serve starts a server over a data directory and waits until it listens.
// with is a call to which the server's addresses are given.
func serve(t *testing.T, data string, flags ...string) *server {
	t.Helper()
	s := &server{data: data}
	s.cmd = exec.Command(binary, append([]string{"serve", "--data-dir", data, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--qri-listen", "",
		"--log-format", "json", "--drain", "0s"}, flags...)...)
	s.cmd.Env = environment()
	log, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var entry struct{ API, Admin string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.API != "" && entry.Admin != "" {
			s.api, s.admin = entry.API, entry.Admin
			break
		}
	}
	if s.api == "" {
		t.Fatal("the server ended before it listened")
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // ends with the server
	s.call = call{t: t, dir: t.TempDir(), env: []string{"CRIER_SERVER=" + s.api, "CRIER_ADMIN=" + s.admin, "CRIER_DATA_DIR=" + data}}
	return s
}

// stop ends the server in order.
func (s *server) stop() {
	if s.cmd.ProcessState != nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // Wait tells
	done := time.AfterFunc(30*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer done.Stop()
	_ = s.cmd.Wait()
}

// kill ends it as a crash would.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}
