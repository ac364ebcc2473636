// Package registry keeps a registry in one file, with bbolt: the embedded
// engine's keys, domains and leases. One process has the file at a time.
//
// The file has three buckets; numbers are big-endian, so that none is a
// matter of the machine:
//
//	meta      "format"     → "crier registry 1"
//	entries   <kind>       → a bucket: <name> → version (8 bytes), value
//	          its sequence is the last version that was given, to whichever
//	          entry, so that no entry is ever at one version twice
//	leases    <name>       → token (8), until in Unix nanoseconds (8), holder
//	          its sequence is the last fencing token that was given
//
// Every change is one commit of bbolt, durable when the call returns. Leases
// are kept in memory too. A lease that is extended again and again is written
// with an end that lies one time to live beyond what its holder was told, and
// not written again before it comes to that: most extensions cost no commit.
// The true end is known to this process, which refuses by it, and is written
// when the registry is closed; after a crash the lease counts as held up to
// the end in the file, so nobody takes over too early.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"crier/internal/engine"
	"crier/internal/engine/watch"
)

// ErrLocked: another process has the registry's file.
var ErrLocked = errors.New("another process holds it")

// DefaultLockTimeout is how long Open waits for another process to let go of
// the file, unless the configuration says otherwise.
const DefaultLockTimeout = time.Second

const format = "crier registry 1"

var (
	metaBucket    = []byte("meta")
	entriesBucket = []byte("entries")
	leasesBucket  = []byte("leases")
	formatKey     = []byte("format")
)

// Config is what a registry needs; the zero value will do.
type Config struct {
	Now         func() time.Time // nil: time.Now
	LockTimeout time.Duration    // how long Open waits for the file; 0: DefaultLockTimeout
}

// Registry is a registry in a file. Its methods may be called concurrently;
// changes wait for each other, for as long as their context lasts.
type Registry struct {
	path    string
	now     func() time.Time
	db      *bbolt.DB
	watches watch.Set

	writer chan struct{} // holds one element; who has it changes the file, and the fields below
	closed bool
	leases map[string]*held
}

var _ engine.Registry = (*Registry)(nil)

// Open opens the registry in the file at path, or makes it (mode 0600). The
// file's directory must exist. Errors wrap [ErrLocked] if another process has
// the file, [engine.ErrCorrupt] if its bytes do not mean what they should.
func Open(path string, cfg Config) (*Registry, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LockTimeout <= 0 {
		cfg.LockTimeout = DefaultLockTimeout
	}
	r := &Registry{path: path, now: cfg.Now, writer: make(chan struct{}, 1), leases: map[string]*held{}}
	if err := r.open(cfg.LockTimeout); err != nil {
		return nil, fmt.Errorf("registry %s: %w", path, err)
	}
	r.writer <- struct{}{}
	return r, nil
}

func (r *Registry) open(timeout time.Duration) error {
	if _, err := os.Stat(r.path); errors.Is(err, fs.ErrNotExist) {
		if err := create(r.path, timeout); err != nil {
			return err
		}
	}
	db, err := openFile(r.path, timeout)
	if err != nil {
		return err
	}
	r.db = db
	if err := guard(r.load); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// openFile opens a bbolt file and says what is wrong with it in our words.
func openFile(path string, timeout time.Duration) (db *bbolt.DB, err error) {
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			Timeout: timeout, FreelistType: bbolt.FreelistMapType, NoStatistics: true,
		})
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w (waited %s)", ErrLocked, timeout)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", engine.ErrCorrupt, err)
	}
	return db, err
}

// create makes an empty registry under another name and then links it to its
// own, so that a crash never leaves half of one there, nor does a second
// process that does the same at that moment replace what the first has begun
// to use.
func create(path string, timeout time.Duration) error {
	draft := path + ".new"
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openFile(draft, timeout)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket, entriesBucket, leasesBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(formatKey, []byte(format))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(draft, path); err != nil && !errors.Is(err, fs.ErrExist) {
		// No hard links here: what is left is to replace, if nothing is there.
		if _, statErr := os.Stat(path); !errors.Is(statErr, fs.ErrNotExist) {
			return err
		}
		if err := os.Rename(draft, path); err != nil {
			return err
		}
	}
	if err := os.Remove(draft); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	if runtime.GOOS == "windows" { // which has no such call, nor the need
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// load checks the format, looks at every entry once, so that a file that was
// damaged is refused now and not in the middle of a publish, and reads the
// leases.
func (r *Registry) load() error {
	return r.db.View(func(tx *bbolt.Tx) error {
		meta, entries, leases := tx.Bucket(metaBucket), tx.Bucket(entriesBucket), tx.Bucket(leasesBucket)
		if meta == nil || entries == nil || leases == nil {
			return fmt.Errorf("%w: it is no registry of Crier", engine.ErrCorrupt)
		}
		if got := string(meta.Get(formatKey)); got != format {
			return fmt.Errorf("%w: its format is %q, this version of Crier reads %q", engine.ErrCorrupt, got, format)
		}
		err := entries.ForEachBucket(func(kind []byte) error {
			return entries.Bucket(kind).ForEach(func(name, stored []byte) error {
				_, err := decodeEntry(string(kind), string(name), stored)
				return err
			})
		})
		if err != nil {
			return err
		}
		return leases.ForEach(func(name, stored []byte) error {
			h, err := decodeLease(string(name), stored)
			r.leases[h.Name] = h
			return err
		})
	})
}

// Close writes the true ends of the leases, ends all watches and gives the
// file back. It waits for calls that are under way; a second Close does
// nothing.
func (r *Registry) Close() error {
	<-r.writer
	defer func() { r.writer <- struct{}{} }()
	if r.closed {
		return nil
	}
	r.closed = true
	err := r.settle()
	r.watches.Close()
	if err = errors.Join(err, r.db.Close()); err != nil {
		return fmt.Errorf("close registry %s: %w", r.path, err)
	}
	return nil
}

// lock waits until no other call changes the registry.
func (r *Registry) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case <-r.writer:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	unlock = func() { r.writer <- struct{}{} }
	if err := ctx.Err(); err != nil {
		unlock()
		return nil, err
	}
	if r.closed {
		unlock()
		return nil, engine.ErrClosed
	}
	return unlock, nil
}

// update commits what fn does; the caller has the lock. If the commit itself
// fails, bbolt takes it back, unless the very last sync failed: then it may
// be there.
func (r *Registry) update(fn func(tx *bbolt.Tx) error) error {
	return outcome(guard(func() error { return r.db.Update(fn) }))
}

func (r *Registry) view(ctx context.Context, fn func(tx *bbolt.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return outcome(guard(func() error { return r.db.View(fn) }))
}

// outcome maps the errors of bbolt to those of the contract.
func outcome(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return engine.ErrClosed
	}
	for _, known := range []error{engine.ErrNotFound, engine.ErrConflict, engine.ErrLeaseLost, engine.ErrLeaseHeld, engine.ErrCorrupt} {
		if errors.Is(err, known) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
}

// guard calls fn, and makes an error of the panics and faults with which bbolt
// meets a damaged file.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", engine.ErrCorrupt, p)
		}
	}()
	return fn()
}
