package e2e

import (
	"bytes"
	"context"
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

	"crier/client"
)

// server is a crier serve, perhaps one that has ended.
type server struct {
	api, admin string // such as http://127.0.0.1:1234, set by ready
	dir        string
	flags      []string
	log        *logbook
	cmd        *exec.Cmd
	ended      chan struct{} // closed when the process has ended and the log was read
	err        error         // what Wait said; to be read after ended
}

// startServer starts a server in a data directory of its own, on ports that
// the kernel chooses, with more flags, and returns once it listens. It is
// killed, and waited for, when the test ends.
func startServer(t *testing.T, flags ...string) *server {
	t.Helper()
	return startServerIn(t, t.TempDir(), flags...)
}

// startServerIn is startServer in a given data directory.
func startServerIn(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	s := launch(t, dir, append([]string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, flags...)...)
	s.flags = flags
	s.ready(t)
	return s
}

// launch starts a server and does not wait for anything.
func launch(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	return launchWith(t, nil, dir, flags...)
}

// launchWith is launch with an environment.
func launchWith(t *testing.T, env []string, dir string, flags ...string) *server {
	t.Helper()
	args := append([]string{"serve", "--data-dir", dir, "--log-format", "json", "--qri-listen", ""}, flags...)
	return run(t, dir, command(t, env, args...))
}

// startWithin is startServer with so many descriptors.
func startWithin(t *testing.T, descriptors int, flags ...string) *server {
	t.Helper()
	dir := t.TempDir()
	cmd := command(t, nil, append([]string{"serve", "--data-dir", dir, "--log-format", "json", "--qri-listen", "", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, flags...)...)
	cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, descriptors), "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	s := run(t, dir, cmd)
	s.ready(t)
	return s
}

// run starts a server by a command.
func run(t *testing.T, dir string, cmd *exec.Cmd) *server {
	t.Helper()
	s := &server{dir: dir, log: newLogbook(), cmd: cmd, ended: make(chan struct{})}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("start the server: %v", err)
	}
	go func() {
		defer close(s.ended)
		s.log.follow(stderr)
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			t.Logf("server %d said:\n%s", s.cmd.Process.Pid, s.log)
		}
	})
	return s
}

// command is a run of the binary, without settings of the environment that
// the test is run in, and with those of env.
func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "CRIER_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// crier runs a command that ends by itself.
func crier(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, env, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	late := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	if !late.Stop() {
		t.Fatalf("crier %s did not end within %v; it said:\n%s%s", strings.Join(args, " "), patience, &out, &errs)
	}
	if _, exit := errors.AsType[*exec.ExitError](err); err != nil && !exit {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// ready waits until the server listens.
func (s *server) ready(t *testing.T) {
	t.Helper()
	l := s.log.await(t, "crier listens")
	s.api, s.admin = strings.Fields(l.text("api"))[0], l.text("admin")
}

// listening reports whether the server came up; false: it ended instead.
func (s *server) listening(t *testing.T) bool {
	t.Helper()
	return s.log.find(t, `"crier listens"`, func(l logLine) bool { return l.msg() == "crier listens" }) != nil
}

// token is the operator's.
func (s *server) token(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "admin-token"))
	if err != nil {
		t.Fatalf("the operator's token: %v", err)
	}
	return strings.TrimSpace(string(b))
}

// kill is kill -9; it returns once the process has ended.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// terminate sends SIGTERM.
func (s *server) terminate(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatalf("SIGTERM: %v", err)
	}
}

// exit waits for the end and gives the exit code.
func (s *server) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		t.Fatalf("the server did not end within %v; the log:\n%s", patience, s.log)
	}
	return s.cmd.ProcessState.ExitCode()
}

// relaunch starts a server that has ended again, in the same data directory
// and on the same ports, and does not wait for it.
func (s *server) relaunch(t *testing.T) *server {
	t.Helper()
	flags := append([]string{"--listen", hostPort(s.api), "--admin-listen", hostPort(s.admin)}, s.flags...)
	again := launch(t, s.dir, flags...)
	again.flags, again.api, again.admin = s.flags, s.api, s.admin
	return again
}

// restart is relaunch, until the server listens. Somebody's outgoing
// connection may have one of the ports for a moment.
func (s *server) restart(t *testing.T) *server {
	t.Helper()
	for began := time.Now(); ; {
		again := s.relaunch(t)
		if again.listening(t) {
			return again
		}
		if !strings.Contains(again.log.String(), "address already in use") || time.Since(began) > patience {
			t.Fatalf("the server did not start again:\n%s", again.log)
		}
	}
}

func hostPort(address string) string {
	_, after, _ := strings.Cut(address, "://")
	return after
}

// dial makes a client that goes on trying for as long as its context lives.
func (s *server) dial(t *testing.T, opts ...client.Option) *client.Client {
	t.Helper()
	opts = append([]client.Option{client.WithRetry(client.Retry{
		Tries: 1 << 30, Min: 5 * time.Millisecond, Max: 50 * time.Millisecond,
	})}, opts...)
	c, err := client.New(s.api, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// publish stores a text.
func publish(t *testing.T, c *client.Client, topic, text string) client.Receipt {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := c.Publish(ctx, client.Draft{Topic: topic, Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// eventually waits until cond is true, asking it again and again.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for began := time.Now(); !cond(); pause(t.Context(), 20*time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// pause lies between two tries of something.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drained reads and closes a body.
func drained(body io.ReadCloser) string {
	defer body.Close()
	b, _ := io.ReadAll(io.LimitReader(body, 1<<20))
	return string(b)
}

// write makes a file of a test.
func write(t *testing.T, name, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// receive waits for what a channel has next; ok is false if it is closed.
func receive[T any](t *testing.T, from <-chan T) (v T, ok bool) {
	t.Helper()
	select {
	case v, ok = <-from:
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
	}
	return v, ok
}
