//go:build unix

package main_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// An interrupt at a terminal is for the server that was started as well: it is
// no failure of the server's.
func TestBenchInterrupted(t *testing.T) {
	cmd := exec.Command(binary, "bench", "idle", "--subscribers", "2", "--settle", "1h")
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), "connecting") { // so the server is there
			if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 || strings.Contains(said.String(), "terminated") {
		t.Errorf("exit code %d:\n%s", code, said.String())
	}
}
