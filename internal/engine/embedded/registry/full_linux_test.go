package registry

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"crier/internal/engine"
)

// When there is no room, changes are refused with ErrUnavailable; what was
// acknowledged can be read, and when there is room again all goes on. A limit
// on the size of files stands for a full disk.
func TestNoRoom(t *testing.T) {
	path := filepath.Join(t.TempDir(), "registry")
	r := openAt(t, path, nil)
	value := make([]byte, 20_000)
	put := func(i int) error {
		_, err := r.Put(t.Context(), "key", fmt.Sprintf("n%d", i), value, 0, nil)
		return err
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}

	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limited := was
	limited.Cur = uint64(info.Size())
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limited); err != nil {
		t.Fatal(err)
	}
	acked := 1
	var failure error
	for i := 1; i < 20; i++ {
		if err := put(i); err != nil {
			failure = errors.Join(failure, err)
			continue
		}
		acked++
		if failure != nil {
			t.Errorf("put %d was acknowledged after one that failed for lack of room", i)
		}
	}
	entries, listErr := r.List(t.Context(), "key", "", 0)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}

	if failure == nil || !errors.Is(failure, engine.ErrUnavailable) {
		t.Fatalf("20 entries of 20 kB in a file of %d: %v, want ErrUnavailable", info.Size(), failure)
	}
	if listErr != nil || len(entries) != acked {
		t.Errorf("%d entries (%v) while there was no room, want the %d that were acknowledged", len(entries), listErr, acked)
	}
	for i := acked; i < 20; i++ {
		if err := put(i); err != nil {
			t.Errorf("put %d, when there is room again: %v", i, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openAt(t, path, nil)
	if entries, err = r.List(t.Context(), "key", "", 0); err != nil || len(entries) != 20 {
		t.Errorf("%d entries (%v) after opening again, want 20", len(entries), err)
	}
}
