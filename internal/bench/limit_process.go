package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// LimitCommand is the hidden command of the binary that runs the limit: it
// prints its address as a line, and ends when its standard input does.
const LimitCommand = "__limit"

// limitProcess is the limit, started beside a server.
type limitProcess struct {
	cmd  *exec.Cmd
	in   io.Closer
	says bytes.Buffer // on standard error
}

// StartLimit starts the limit: a process that does the least there is to do
// (package limit). It is a target like a server, as far as loads need it.
func StartLimit(ctx context.Context, executable string, together bool) (*Target, error) {
	args := []string{LimitCommand}
	if together {
		args = append(args, "--together")
	}
	p := &limitProcess{cmd: exec.Command(executable, args...)}
	p.cmd.Stderr = &p.says
	t := &Target{limit: p}
	if err := t.startLimit(ctx); err != nil {
		return nil, fmt.Errorf("start the limit: %w", err)
	}
	return t, nil
}

func (t *Target) startLimit(ctx context.Context) error {
	p := t.limit
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, in.Close())
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.in = in
	defer context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		err = errors.Join(p.close(), context.Cause(ctx))
		return fmt.Errorf("it ended before it was ready: %w: %s", err, strings.TrimSpace(p.says.String()))
	}
	t.URL, t.PID = strings.TrimSpace(line), p.cmd.Process.Pid
	return nil
}

// close ends the process and waits for it.
func (p *limitProcess) close() error {
	_ = p.in.Close() // ends it
	timeout := time.AfterFunc(stopTimeout, func() { _ = p.cmd.Process.Kill() })
	defer timeout.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the limit: %w", err)
	}
	return nil
}

// restartLimit ends the process and starts another.
func (t *Target) restartLimit(ctx context.Context) error {
	old := t.limit.cmd
	if err := t.limit.close(); err != nil {
		return err
	}
	t.limit = &limitProcess{cmd: exec.Command(old.Path, old.Args[1:]...)}
	t.limit.cmd.Stderr = &t.limit.says
	return t.startLimit(ctx)
}

// setBlock gives the limit the messages that it is to write again and again:
// n of a sender, numbered from 0.
func (t *Target) setBlock(ctx context.Context, srv *server, n, size int) error {
	var lines []byte
	payload := append(newPayload(0, size), '\n')
	for i := range n {
		stamp(payload, uint64(i), 0)
		lines = append(lines, payload...)
	}
	e, err := srv.exchange(ctx)
	if err != nil {
		return err
	}
	head := srv.head("PUT", "/block", "Content-Length", fmt.Sprint(len(lines)))
	return errors.Join(e.do(append(head, lines...), http.StatusCreated), e.Close())
}
