package embedded_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/embedded"
	"crier/internal/engine/enginetest"
	"crier/internal/seglog"
)

// gate is a file system that a crash shuts: what the process wrote stays, and
// nothing comes after.
type gate struct {
	seglog.FS
	mu   sync.RWMutex // held for writing to shut it, so that no call is under way then
	shut bool
}

var errShut = errors.New("the process is dead")

func (g *gate) pass(call func() error) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.shut {
		return errShut
	}
	return call()
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
}

func (g *gate) Create(name string) (f seglog.File, err error) {
	err = g.pass(func() error {
		inner, err := g.FS.Create(name)
		f = gatedFile{inner, g}
		return err
	})
	return f, err
}

func (g *gate) OpenWrite(name string) (f seglog.File, err error) {
	err = g.pass(func() error {
		inner, err := g.FS.OpenWrite(name)
		f = gatedFile{inner, g}
		return err
	})
	return f, err
}

func (g *gate) Remove(name string) error {
	return g.pass(func() error { return g.FS.Remove(name) })
}

func (g *gate) Rename(oldName, newName string) error {
	return g.pass(func() error { return g.FS.Rename(oldName, newName) })
}

func (g *gate) MkdirAll(name string) error {
	return g.pass(func() error { return g.FS.MkdirAll(name) })
}

type gatedFile struct {
	seglog.File
	g *gate
}

func (f gatedFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.g.pass(func() error {
		n, err = f.File.WriteAt(p, off)
		return err
	})
	return n, err
}

func (f gatedFile) Truncate(size int64) error {
	return f.g.pass(func() error { return f.File.Truncate(size) })
}

func (f gatedFile) Allocate(off, n int64) error {
	return f.g.pass(func() error { return f.File.Allocate(off, n) })
}

func (f gatedFile) Datasync() error {
	return f.g.pass(f.File.Datasync)
}

func harness(configure func(*embedded.Config)) enginetest.Harness {
	return enginetest.Harness{
		New: func(t testing.TB, now func() time.Time) enginetest.Store {
			dir := t.TempDir()
			gates := map[engine.Engine]*gate{}
			return enginetest.Store{
				Open: func(t testing.TB) engine.Engine {
					t.Helper()
					real, err := seglog.OpenDir(dir)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = real.Close() })
					g := &gate{FS: real}
					cfg := embedded.Config{Dir: dir, Now: now, FS: g}
					if configure != nil {
						configure(&cfg)
					}
					e, err := embedded.Open(t.Context(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					gates[e] = g
					return e
				},
				Crash: func(t testing.TB, e engine.Engine) {
					gates[e].close()
					e.(*embedded.Engine).Abandon()
				},
			}
		},
		Durabilities: []engine.Durability{engine.Fsync, engine.Async, engine.Memory},
		Clock:        true,
		Reopens:      true,
	}
}

func TestLog(t *testing.T) { enginetest.RunLog(t, harness(nil)) }

func TestLogSmallSegments(t *testing.T) {
	enginetest.RunLog(t, harness(func(c *embedded.Config) {
		c.SegmentSize, c.JournalFrom = 16<<10, 1
	}))
}

func TestRegistry(t *testing.T) { enginetest.RunRegistry(t, harness(nil)) }
