package registry_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded/registry"
	"crier/internal/engine/enginetest"
)

func open(t *testing.T, path string, cfg registry.Config) *registry.Registry {
	t.Helper()
	r, err := registry.Open(path, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestASecondOpenerIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry")
	open(t, path, registry.Config{})
	began := time.Now()
	_, err := registry.Open(path, registry.Config{LockTimeout: 100 * time.Millisecond})
	if !errors.Is(err, registry.ErrLocked) || !strings.Contains(fmt.Sprint(err), "another process holds it") {
		t.Errorf("second opener: %v, want ErrLocked", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the refusal took %s", took)
	}
}

func TestTheFileIsForItsOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	open(t, filepath.Join(dir, "registry"), registry.Config{})
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v (%v), want the registry alone", files, err)
	}
	info, err := files[0].Info()
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
}

func TestADraftOfAnInterruptedFirstStartIsNoHarm(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry")
	if err := os.WriteFile(path+".new", []byte("half of it"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := open(t, path, registry.Config{})
	if _, err := r.Put(t.Context(), "key", "a", []byte("x"), 0, nil); err != nil {
		t.Error(err)
	}
}

func TestADamagedFileIsAnErrorAndNoPanic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry")
	r, err := registry.Open(path, registry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		value := bytes.Repeat([]byte{byte(i)}, 1000)
		if _, err := r.Put(t.Context(), "key", fmt.Sprintf("name-%03d", i), value, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func([]byte) []byte{
		"other bytes":        func(b []byte) []byte { return bytes.Repeat([]byte("x"), len(b)) },
		"both heads gone":    func(b []byte) []byte { clear(b[:8192]); return b },
		"cut in the middle":  func(b []byte) []byte { return b[:len(b)/8] },
		"pages turned to 0":  func(b []byte) []byte { clear(b[8192:]); return b },
		"pages of all kinds": func(b []byte) []byte { copy(b[8192:], bytes.Repeat([]byte{0xff}, len(b)-8192)); return b },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "registry")
			if err := os.WriteFile(path, damage(bytes.Clone(whole)), 0o600); err != nil {
				t.Fatal(err)
			}
			r, err := registry.Open(path, registry.Config{})
			if err == nil {
				_ = r.Close()
			}
			if !errors.Is(err, engine.ErrCorrupt) {
				t.Errorf("opening: %v, want ErrCorrupt", err)
			}
		})
	}
}

// node is an engine that has nothing but its registry.
type node struct {
	engine.Engine
	registry *registry.Registry
}

func (n node) Registry() engine.Registry { return n.registry }
func (n node) Close() error              { return n.registry.Close() }

func TestRegistry(t *testing.T) {
	enginetest.RunRegistry(t, enginetest.Harness{
		New: func(t testing.TB, now func() time.Time) enginetest.Store {
			path := filepath.Join(t.TempDir(), "registry")
			return enginetest.Store{
				Open: func(t testing.TB) engine.Engine {
					r, err := registry.Open(path, registry.Config{Now: now})
					if err != nil {
						t.Fatal(err)
					}
					return node{registry: r}
				},
				// The file as it is at a moment between two commits is what a
				// process that is killed there leaves.
				Crash: func(t testing.TB, _ engine.Engine) {
					whole, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					path = filepath.Join(t.TempDir(), "registry")
					if err := os.WriteFile(path, whole, 0o600); err != nil {
						t.Fatal(err)
					}
				},
			}
		},
		Clock:   true,
		Reopens: true,
	})
}
