package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// buildDir is where the binary is built; set by TestMain.
var buildDir string

func TestMain(m *testing.M) {
	if runtime.GOOS == "windows" {
		fmt.Println("skipped: these tests stop servers by signals, which Windows has not")
		return
	}
	dir, err := os.MkdirTemp("", "crier-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	code := m.Run()
	mongoDB.Stop()
	os.RemoveAll(dir)
	os.Exit(code)
}

// binary builds the server once, when the first test needs it.
var binary = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("CRIER_BINARY"); given != "" {
		return filepath.Abs(given)
	}
	path := filepath.Join(buildDir, "crier")
	out, err := exec.Command("go", "build", "-o", path, "crier/cmd/crier").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return path, nil
})

// missing skips a test for want of something that a developer's machine may be
// without. CI has everything: there a test that did not run is a failure.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
