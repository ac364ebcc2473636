package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
	maxLogLine   = 64 << 10
)

// child is a server process of our own.
type child struct {
	cfg        Config
	dir        string
	cmd        *exec.Cmd
	api, admin string
	exited     chan error // has what Wait returned, once
}

// start starts the process and waits for the log line that says where it
// listens.
func (c *child) start(ctx context.Context) error {
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--qri-listen", "", "--data-dir", c.dir,
		"--log-format", "json", "--drain", "0s"}, c.cfg.Args...)
	if c.cfg.Durability != "" {
		args = append(args, "--durability", c.cfg.Durability)
	}
	c.cmd = exec.Command(c.cfg.Executable, args...)
	for _, v := range os.Environ() { // the settings are those given here
		if !strings.HasPrefix(v, "CRIER_") {
			c.cmd.Env = append(c.cmd.Env, v)
		}
	}
	log, err := c.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	ready := make(chan struct{})
	exited := make(chan error, 1)
	c.exited = exited
	go func() { // ends with the process
		said := c.follow(log, ready)
		err := c.cmd.Wait()
		if err != nil && said != "" {
			err = fmt.Errorf("%w: it said: %s", err, said)
		}
		exited <- err
	}()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-ready:
		return nil
	case err := <-exited:
		exited <- err
		return fmt.Errorf("it ended before it was ready: %w", err)
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timeout.C:
		return fmt.Errorf("it was not ready within %v", startTimeout)
	}
}

// follow reads the log to its end and closes ready when the server listens.
// It returns the last line.
func (c *child) follow(log io.Reader, ready chan<- struct{}) (last string) {
	lines := bufio.NewReaderSize(log, maxLogLine)
	listens := false
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			last = strings.TrimSpace(string(line))
			var entry struct{ Msg, API, Admin string }
			if !listens && json.Unmarshal(line, &entry) == nil && entry.API != "" && entry.Admin != "" {
				listens = true
				c.api, c.admin = strings.Fields(entry.API)[0], entry.Admin
				close(ready)
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return last
		}
	}
}

// stop ends the process in order and waits for it.
func (c *child) stop() error {
	if c.exited == nil {
		return nil
	}
	defer func() { c.exited = nil }()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(err, c.kill())
	}
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case err := <-c.exited:
		return unlessStopped(err)
	case <-timeout.C:
		return errors.Join(fmt.Errorf("it did not stop within %v", stopTimeout), c.kill())
	}
}

// unlessStopped is the error of a process that was sent SIGTERM, without what
// the signal did: who interrupts a terminal interrupts the server too, and a
// server that stops ends at once at a second signal.
func unlessStopped(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return err
	}
	if how, ok := exit.Sys().(syscall.WaitStatus); ok && how.Signaled() && how.Signal() == syscall.SIGTERM {
		return nil
	}
	return err
}

func (c *child) kill() error {
	err := c.cmd.Process.Kill()
	<-c.exited
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// close stops the process and removes its data.
func (c *child) close() error {
	return errors.Join(c.stop(), os.RemoveAll(c.dir))
}
