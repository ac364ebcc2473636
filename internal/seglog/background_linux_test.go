//go:build amd64 || arm64

package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// fileIn makes a file with something to sync, and what syncs it in the
// background with a clock of the test's; it skips where that is not done.
func fileIn(t *testing.T, now func() time.Time) (*background, *os.File) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.WriteString("to be synced"); err != nil {
		t.Fatal(err)
	}
	r, err := newRing()
	if err != nil {
		t.Skipf("the system does not sync in the background: %v", err)
	}
	b := &background{now: now, ring: r}
	t.Cleanup(func() { _ = b.close() })
	return b, f
}

func TestBackground(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	b, f := fileIn(t, func() time.Time { return now })
	for _, step := range []struct {
		name string
		wait time.Duration // before it
		want bool
	}{
		{"the first", 0, true},
		{"right after it", 0, false},
		{"just not rested", restedSync - 1, false},
		{"rested", restedSync, true},
		{"long after", time.Hour, true},
	} {
		now = now.Add(step.wait)
		done, err := b.sync(int(f.Fd()))
		b.over()
		if done != step.want || err != nil {
			t.Fatalf("%s: in the background %t, %v; want %t", step.name, done, err, step.want)
		}
	}
	now = now.Add(time.Hour)
	b.mu.Lock()
	if done, err := b.sync(int(f.Fd())); done || err != nil {
		t.Errorf("while another is under way: %t, %v", done, err)
	}
	b.mu.Unlock()
	if err := errors.Join(b.close(), b.close()); err != nil {
		t.Fatal(err)
	}
	if done, err := b.sync(int(f.Fd())); done || err != nil {
		t.Errorf("after close: %t, %v", done, err)
	}
}

// What cannot be synced is told, be it by the kernel's worker or the call.
func TestBackgroundFailure(t *testing.T) {
	b, f := fileIn(t, time.Now)
	fd := int(f.Fd())
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	if done, err := b.sync(int(pipe.Fd())); done || err != nil {
		t.Errorf("a pipe: %t, %v; want it left to fdatasync", done, err)
	}
	if done, err := b.sync(fd); !done || err != nil {
		t.Errorf("a file after it: %t, %v", done, err)
	}
	b.ring.ended.result = -int64(syscall.EIO)
	if err := b.ring.outcome(); err != syscall.EIO {
		t.Errorf("the worker's error is told as %v", err)
	}
	if b, err = nil, b.close(); err != nil {
		t.Error(err)
	}
	if done, err := b.sync(fd); done || err != nil {
		t.Errorf("without any: %t, %v", done, err)
	}
}

// Many files of one directory, synced at the same time and one after the other,
// while the directory is closed.
func TestBackgroundCrowd(t *testing.T) {
	dir := t.TempDir()
	d, err := OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if d.background != nil {
		var ticks time.Duration
		var mu sync.Mutex
		d.background.now = func() time.Time { // every sync has rested
			mu.Lock()
			defer mu.Unlock()
			ticks += restedSync
			return time.Unix(0, 0).Add(ticks)
		}
	}
	var crowd sync.WaitGroup
	half := make(chan struct{})
	for i := range 8 {
		name := fmt.Sprint(i)
		f, err := d.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		crowd.Go(func() {
			for j := range 40 {
				if j == 20 && i == 0 {
					close(half)
				}
				if _, err := f.WriteAt([]byte{byte(j)}, int64(j)); err != nil {
					t.Error(err)
				}
				if err := f.Datasync(); err != nil {
					t.Error(err)
				}
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	<-half
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	crowd.Wait()
	for i := range 8 {
		got, err := os.ReadFile(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil || len(got) != 40 || bytes.IndexByte(got, 39) != 39 {
			t.Errorf("file %d: %d bytes, %v", i, len(got), err)
		}
	}
}
