package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"syscall"

	"crier/internal/engine"
	"crier/internal/seglog"
)

// plain are the errors that say already what callers decide on.
var plain = [...]error{
	engine.ErrUnavailable, engine.ErrCorrupt, engine.ErrDurability, engine.ErrKeyReused, engine.ErrTooManyKeys,
	engine.ErrNotFound, context.Canceled, context.DeadlineExceeded,
}

// failed says what the engine could not do, why, and what helps. The error
// wraps [engine.ErrUnavailable], unless it says something else already.
func failed(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrClosed), errors.Is(err, seglog.ErrClosed):
		return fmt.Errorf("%s: %w", doing, engine.ErrClosed)
	case slices.ContainsFunc(plain[:], func(known error) bool { return errors.Is(err, known) }):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, seglog.ErrVersion):
		return fmt.Errorf("%s: %w: %w; run the version of crier that wrote it", doing, engine.ErrCorrupt, err)
	}
	return fmt.Errorf("%s: %w: %w%s", doing, engine.ErrUnavailable, err, mend(err))
}

// mend says what an operator can do about an error.
func mend(err error) string {
	switch {
	case seglog.IsFull(err):
		return "; make room on the disk, or lower the retention: publishing goes on by itself"
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return "; the data directory must be writable: publishing goes on by itself"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "; raise the limit of open files"
	case errors.Is(err, syscall.EIO):
		return "; the disk is failing: look at the system's log"
	}
	return ""
}
