package embedded

import (
	"context"
	"errors"
	"io/fs"

	"crier/internal/engine"
)

// pingName is the file that Ping writes.
const pingName = "ping"

// pingBytes is how much of it has to fit: what a log takes when it begins a
// segment, and more.
const pingBytes = 256 << 10

// Ping writes a file and syncs it: that is what a publish needs.
func (e *Engine) Ping(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return engine.ErrClosed
	}
	e.pinging.Lock()
	defer e.pinging.Unlock()
	return failed("write to the data directory "+e.cfg.Dir, e.probe())
}

func (e *Engine) probe() error {
	if err := e.fs.Remove(pingName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := e.fs.Create(pingName)
	if err != nil {
		return err
	}
	err = f.Allocate(0, pingBytes)
	if err == nil {
		_, err = f.WriteAt(make([]byte, 4096), 0)
	}
	if err == nil {
		err = f.Datasync()
	}
	return errors.Join(err, f.Close(), e.fs.Remove(pingName))
}
