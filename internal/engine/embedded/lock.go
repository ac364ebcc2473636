package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrLocked is returned by [Open] while another process has the data
// directory.
var ErrLocked = errors.New("data directory is in use")

// errHeld is what lockFile returns if somebody else has the lock.
var errHeld = errors.New("lock held")

// lockName is the file whose lock keeps a second process away. It has the
// process id of the holder, for people.
const lockName = "LOCK"

// lockDir takes the lock of a data directory until the file is closed. The
// lock ends with the process, however that ends.
func lockDir(dir string) (*os.File, error) {
	name := filepath.Join(dir, lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := lockFile(f); err != nil {
		defer f.Close()
		if !errors.Is(err, errHeld) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		holder := "another process"
		if b, err := io.ReadAll(io.LimitReader(f, 32)); err == nil {
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				holder = fmt.Sprintf("process %d", pid)
			}
		}
		return nil, fmt.Errorf("%w: %s has the lock of %s; stop it, or choose another data directory", ErrLocked, holder, dir)
	}
	// Who holds it is a courtesy: a full disk does not keep us from starting.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}
