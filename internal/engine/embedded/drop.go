package embedded

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/seglog"
)

// Drop deletes a domain's log for good, or returns [engine.ErrNotFound].
func (e *Engine) Drop(ctx context.Context, domain string) error {
	err := ctx.Err()
	if err == nil {
		err = e.drop(domain)
	}
	if err != nil {
		return failed("drop domain "+domain, err)
	}
	return nil
}

func (e *Engine) drop(domain string) error {
	e.opening.Lock()
	defer e.opening.Unlock()
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return engine.ErrClosed
	}
	dir := e.dirs[domain]
	l, open := e.logs[domain]
	if disk := e.replayed[domain]; disk != nil {
		l, open = disk, true
	}
	e.mu.Unlock()
	if !open && dir == "" {
		return engine.ErrNotFound
	}
	if err := e.dropEpochs(domain, dir); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.logs, domain)
	delete(e.replayed, domain)
	delete(e.dirs, domain)
	e.mu.Unlock()
	if disk, ok := l.(*Log); ok {
		disk.dropped.Store(true)
	}
	if open {
		if err := l.close(); err != nil {
			e.cfg.Logger.Warn("domain is dropped although its log was not closed well", "domain", domain, "error", err)
		}
		if disk, ok := l.(*Log); ok {
			e.journal.forget(disk)
		}
	}
	if dir != "" {
		e.destroy(dir)
	}
	return nil
}

// dropEpochs remembers the last epoch of a domain, so that one of the same
// name begins above it, and lets go of all else that is known.
func (e *Engine) dropEpochs(domain, dir string) error {
	if dir == "" {
		return nil // a log in memory, whose epoch is remembered
	}
	known := e.control.get(dir)
	past := e.control.get(lastEpochName(domain))
	last := known.Current().Epoch
	if last != (message.Epoch{}) && last.Began > past.Current().Epoch.Began {
		if err := e.noteLastEpoch(domain, last); err != nil {
			return err
		}
	}
	return e.control.drop(dir)
}

// destroy removes the files of a log that was deleted. What cannot be removed
// now is tried again at the next start.
func (e *Engine) destroy(name string) {
	dir := path.Join(domainsDir, name)
	names, err := e.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, n := range names {
		if strings.HasPrefix(n, marksPrefix) {
			if rerr := e.fs.Remove(path.Join(dir, n)); !errors.Is(rerr, fs.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	}
	if err == nil {
		err = seglog.Destroy(e.fs, dir)
	}
	if err == nil {
		err = e.control.gone(name)
	}
	if err != nil {
		e.cfg.Logger.Warn("a dropped domain's files are not all removed, the next start tries again", "directory", dir, "error", err)
	}
}
