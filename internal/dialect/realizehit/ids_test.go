package realizehit_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"crier/internal/dialect/realizehit"
)

// TestIDsOfOthers compares canonical forms and ids with those of the packages
// realizehit-subscription and realizehit-pattern-to-id.
func TestIDsOfOthers(t *testing.T) {
	const dir = "../../e2e/testdata/node"
	_, err := os.Stat(filepath.Join(dir, "node_modules", "realizehit-subscription"))
	if _, noNode := exec.LookPath("node"); err != nil || noNode != nil {
		const missing = "no node, or its packages are not installed: run npm ci in internal/e2e/testdata/node"
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	patterns := []string{
		`{"testing":"yolasda"}`, `{"kind":"news","channel":"CNN"}`, `{"foo":"bar"}`, `{"n":3}`, `{"n":"3"}`,
		`{"b":"1","a":"2"}`, `{"B":"1","a":"2","C":"3"}`, `{"a1":"x","a":"y","a10":"z","a2":"w"}`, `{"z":"Z","y":12,"x":"0x1F"}`,
	}
	cmd := exec.CommandContext(t.Context(), "node", "ids.mjs")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(strings.Join(patterns, "\n") + "\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(patterns) {
		t.Fatalf("%d answers, want %d", len(lines), len(patterns))
	}
	for i, line := range lines {
		var theirs struct{ Canonical, ID, Subscription string }
		if err := json.Unmarshal(line, &theirs); err != nil {
			t.Fatal(err)
		}
		p, err := realizehit.ParsePattern([]byte(patterns[i]), false)
		if err != nil || p.Canonical() != theirs.Canonical || p.ID() != theirs.ID || theirs.ID != theirs.Subscription {
			t.Errorf("%s: %s, %s, %v; they say %+v", patterns[i], p.Canonical(), p.ID(), err, theirs)
		}
	}
}
