package memory

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/engine/watch"
)

// Registry is a registry in RAM. Its methods may be called concurrently.
type Registry struct {
	now     func() time.Time
	watches watch.Set

	mu      sync.RWMutex // guards the fields below
	closed  bool
	kinds   map[string][]engine.Entry // by name
	version engine.Version            // the last one given; one for all entries, so that none comes twice
	leases  map[string]engine.Lease
	token   uint64 // the last one given
}

var _ engine.Registry = (*Registry)(nil)

// NewRegistry makes an empty registry; now may be nil.
func NewRegistry(now func() time.Time) *Registry {
	if now == nil {
		now = time.Now
	}
	return &Registry{now: now, kinds: map[string][]engine.Entry{}, leases: map[string]engine.Lease{}}
}

// Get returns a copy of an entry.
func (r *Registry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if err := checkEntry(ctx, kind, name, nil); err != nil {
		return engine.Entry{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return engine.Entry{}, engine.ErrClosed
	}
	i, ok := r.find(kind, name)
	if !ok {
		return engine.Entry{}, fmt.Errorf("%s %q: %w", kind, name, engine.ErrNotFound)
	}
	return copyOf(r.kinds[kind][i]), nil
}

// List returns copies of entries.
func (r *Registry) List(ctx context.Context, kind, after string, limit int) ([]engine.Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return nil, engine.ErrClosed
	}
	i, ok := r.find(kind, after)
	if ok {
		i++
	}
	entries := r.kinds[kind][i:]
	entries = slices.Clone(entries[:min(len(entries), cmp.Or(max(limit, 0), defaultLimit))])
	for i := range entries {
		entries[i] = copyOf(entries[i])
	}
	return entries, nil
}

// Put writes an entry. The value is copied.
func (r *Registry) Put(ctx context.Context, kind, name string, value []byte, expect engine.Version, fence *engine.Lease) (engine.Version, error) {
	if err := checkEntry(ctx, kind, name, value); err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i, there, err := r.mayChange(kind, name, expect, fence)
	if err != nil {
		return 0, fmt.Errorf("put %s %q: %w", kind, name, err)
	}
	r.version++
	e := engine.Entry{Kind: kind, Name: name, Value: bytes.Clone(value), Version: r.version}
	if there {
		r.kinds[kind][i] = e
	} else {
		r.kinds[kind] = slices.Insert(r.kinds[kind], i, e)
	}
	r.watches.Changed(kind)
	return e.Version, nil
}

// Delete removes an entry.
func (r *Registry) Delete(ctx context.Context, kind, name string, expect engine.Version, fence *engine.Lease) error {
	if err := checkEntry(ctx, kind, name, nil); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i, there, err := r.mayChange(kind, name, expect, fence)
	if !there && (err == nil || errors.Is(err, engine.ErrConflict)) {
		err = engine.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("delete %s %q: %w", kind, name, err)
	}
	r.kinds[kind] = slices.Delete(r.kinds[kind], i, i+1)
	if len(r.kinds[kind]) == 0 {
		delete(r.kinds, kind)
	}
	r.watches.Changed(kind)
	return nil
}

// mayChange finds an entry and says whether it is as expected and the fence
// holds.
func (r *Registry) mayChange(kind, name string, expect engine.Version, fence *engine.Lease) (i int, there bool, err error) {
	if r.closed {
		return 0, false, engine.ErrClosed
	}
	if fence != nil && !r.holds(*fence) {
		return 0, false, engine.ErrLeaseLost
	}
	i, there = r.find(kind, name)
	version := engine.Version(0)
	if there {
		version = r.kinds[kind][i].Version
	}
	if expect != engine.AnyVersion && expect != version {
		err = fmt.Errorf("%w: expected version %d, it is at %d", engine.ErrConflict, expect, version)
	}
	return i, there, err
}

// find returns where an entry is or belongs among those of its kind.
func (r *Registry) find(kind, name string) (int, bool) {
	return slices.BinarySearchFunc(r.kinds[kind], name, func(e engine.Entry, name string) int {
		return strings.Compare(e.Name, name)
	})
}

// Watch has fn called after changes; see [engine.Registry].
func (r *Registry) Watch(kind string, fn func()) (stop func()) { return r.watches.Add(kind, fn) }

// Close ends the registry and its watches.
func (r *Registry) Close() error {
	r.mu.Lock()
	r.closed = true
	r.kinds, r.leases = nil, nil
	r.mu.Unlock()
	r.watches.Close()
	return nil
}

func copyOf(e engine.Entry) engine.Entry {
	e.Value = bytes.Clone(e.Value)
	return e
}

// checkEntry enforces the limits of an entry.
func checkEntry(ctx context.Context, kind, name string, value []byte) error {
	for _, field := range []struct{ what, s string }{{"kind", kind}, {"name", name}} {
		if n := len(field.s); n == 0 || n > engine.MaxEntryName {
			return fmt.Errorf("registry: %s is %d bytes long, it must be 1 to %d", field.what, n, engine.MaxEntryName)
		}
	}
	if len(value) > engine.MaxEntryValue {
		return fmt.Errorf("registry: value of %s %q is %d bytes long, the limit is %d", kind, name, len(value), engine.MaxEntryValue)
	}
	return ctx.Err()
}
