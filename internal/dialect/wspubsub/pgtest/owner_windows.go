package pgtest

import (
	"os/exec"
	"testing"
)

// asOwner changes nothing: there is no root here.
func asOwner(t *testing.T, _ string) func(*exec.Cmd) *exec.Cmd {
	t.Helper()
	return func(c *exec.Cmd) *exec.Cmd { return c }
}
