package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nodeDir has the clients of others, installed by npm ci.
const nodeDir = "testdata/node"

// needNode skips the test if Node or the packages are missing and this is not
// where they have to be.
func needNode(t *testing.T) {
	t.Helper()
	missing := ""
	if _, err := exec.LookPath("node"); err != nil {
		missing = "there is no node"
	} else if _, err := os.Stat(filepath.Join(nodeDir, "node_modules", "engine.io-client-6")); err != nil {
		missing = "the clients are not installed: run npm ci in internal/e2e/" + nodeDir
	}
	if missing == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
}

// node runs a script, and gives the lines of JSON that it wrote.
func node[T any](t *testing.T, stdin string, script string, args ...string) []T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
	cmd.Dir = nodeDir
	cmd.Stdin = strings.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %s: %v\n%s%s", script, err, out, &errs)
	}
	var lines []T
	for line := range bytes.Lines(out) {
		var v T
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("node %s: %q: %v", script, line, err)
		}
		lines = append(lines, v)
	}
	return lines
}

// trial is how one client fared in one way to connect.
type trial struct{ Client, Way, Error string }

// checkTrials wants every client to have come through in every way.
func checkTrials(t *testing.T, trials []trial) {
	t.Helper()
	for _, one := range trials {
		if one.Error != "" {
			t.Errorf("engine.io-client %s, %s: %s", one.Client, one.Way, one.Error)
		}
	}
	if len(trials) != 5*3 {
		t.Errorf("%d trials, want 15", len(trials))
	}
}
