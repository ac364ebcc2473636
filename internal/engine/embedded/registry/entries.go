package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"crier/internal/engine"
)

// defaultLimit is how many entries List gives if it is not told.
const defaultLimit = 1000

// Get returns an entry; its value is the caller's.
func (r *Registry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if err := checkEntry(kind, name, nil); err != nil {
		return engine.Entry{}, err
	}
	var e engine.Entry
	err := r.view(ctx, func(tx *bbolt.Tx) error {
		var there bool
		var err error
		e, there, err = find(tx.Bucket(entriesBucket).Bucket([]byte(kind)), kind, name)
		if err == nil && !there {
			err = engine.ErrNotFound
		}
		return err
	})
	if err != nil {
		return engine.Entry{}, fmt.Errorf("get %s %q: %w", kind, name, err)
	}
	return e, nil
}

// List returns entries in order; their values are the caller's.
func (r *Registry) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	var entries []engine.Entry
	err := r.view(ctx, func(tx *bbolt.Tx) error {
		names := tx.Bucket(entriesBucket).Bucket([]byte(kind))
		if names == nil {
			return nil
		}
		c := names.Cursor()
		name, stored := c.Seek([]byte(after))
		if name != nil && string(name) == after {
			name, stored = c.Next()
		}
		for ; name != nil && len(entries) < limit; name, stored = c.Next() {
			e, err := decodeEntry(kind, string(name), stored)
			if err != nil {
				return err
			}
			entries = append(entries, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", kind, err)
	}
	return entries, nil
}

// Put writes an entry; see [engine.Registry].
func (r *Registry) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	if err := checkEntry(kind, name, value); err != nil {
		return 0, err
	}
	var version engine.Version
	err := r.change(ctx, kind, name, expect, fence, nil, func(tx *bbolt.Tx) error {
		entries := tx.Bucket(entriesBucket)
		names, err := entries.CreateBucketIfNotExists([]byte(kind))
		if err != nil {
			return err
		}
		seq, err := entries.NextSequence()
		if err != nil {
			return err
		}
		version = engine.Version(seq)
		return names.Put([]byte(name), encodeEntry(version, value))
	})
	if err != nil {
		return 0, fmt.Errorf("put %s %q: %w", kind, name, err)
	}
	return version, nil
}

// Delete removes an entry; see [engine.Registry]. A kind's bucket goes with
// its last entry.
func (r *Registry) Delete(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease) error {
	if err := checkEntry(kind, name, nil); err != nil {
		return err
	}
	err := r.change(ctx, kind, name, expect, fence, engine.ErrNotFound, func(tx *bbolt.Tx) error {
		entries := tx.Bucket(entriesBucket)
		names := entries.Bucket([]byte(kind))
		if err := names.Delete([]byte(name)); err != nil {
			return err
		}
		if first, _ := names.Cursor().First(); first == nil {
			return entries.DeleteBucket([]byte(kind))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete %s %q: %w", kind, name, err)
	}
	return nil
}

// change commits what fn does to an entry if the fence holds and the entry is
// as expected, all in one commit: leases change under the same lock. If the
// entry is not there and missing is not nil, that is the error.
func (r *Registry) change(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease, missing error, fn func(tx *bbolt.Tx) error) error {
	unlock, err := r.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	err = r.update(func(tx *bbolt.Tx) error {
		if fence != nil && !r.holds(*fence) {
			return engine.ErrLeaseLost
		}
		e, there, err := find(tx.Bucket(entriesBucket).Bucket([]byte(kind)), kind, name)
		switch {
		case err != nil:
			return err
		case !there && missing != nil:
			return missing
		case expect != engine.AnyVersion && expect != e.Version:
			return fmt.Errorf("%w: expected version %d, it is at %d", engine.ErrConflict, expect, e.Version)
		}
		return fn(tx)
	})
	if err == nil {
		r.watches.Changed(kind)
	}
	return err
}

// Watch has fn called after changes of the kind; see [engine.Registry].
func (r *Registry) Watch(kind string, fn func()) (stop func()) { return r.watches.Add(kind, fn) }

// find returns an entry, or one at version 0 and false. names is the bucket
// of its kind, nil if there is none.
func find(names *bbolt.Bucket, kind, name string) (engine.Entry, bool, error) {
	if names == nil {
		return engine.Entry{}, false, nil
	}
	stored := names.Get([]byte(name))
	if stored == nil {
		return engine.Entry{}, false, nil
	}
	e, err := decodeEntry(kind, name, stored)
	return e, err == nil, err
}

func encodeEntry(v engine.Version, value []byte) []byte {
	stored := make([]byte, 0, 8+len(value))
	stored = binary.BigEndian.AppendUint64(stored, uint64(v))
	return append(stored, value...)
}

func decodeEntry(kind, name string, stored []byte) (engine.Entry, error) {
	if len(stored) < 8 || len(stored) > 8+engine.MaxEntryValue {
		return engine.Entry{}, fmt.Errorf("%w: %s %q is %d bytes long", engine.ErrCorrupt, kind, name, len(stored))
	}
	return engine.Entry{
		Kind: kind, Name: name,
		Version: engine.Version(binary.BigEndian.Uint64(stored)),
		Value:   bytes.Clone(stored[8:]),
	}, nil
}

// checkEntry enforces the limits of an entry.
func checkEntry(kind, name string, value []byte) error {
	for _, field := range []struct{ what, s string }{{"kind", kind}, {"name", name}} {
		if n := len(field.s); n == 0 || n > engine.MaxEntryName {
			return fmt.Errorf("registry: %s is %d bytes long, it must be 1 to %d", field.what, n, engine.MaxEntryName)
		}
	}
	if len(value) > engine.MaxEntryValue {
		return fmt.Errorf("registry: value of %s %q is %d bytes long, the limit is %d", kind, name, len(value), engine.MaxEntryValue)
	}
	return nil
}
