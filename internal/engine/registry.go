package engine

import (
	"context"
	"time"
)

// Version counts the changes of a registry entry. 0 is "there is none".
type Version uint64

// AnyVersion as the expected version of a Put or Delete means: whatever is there.
const AnyVersion Version = 1<<64 - 1

// Limits of a registry entry.
const (
	MaxEntryName  = 512       // bytes of kind and of name, each
	MaxEntryValue = 256 << 10 // bytes
)

// Entry is one fact of the registry: a value under a kind ("key", "domain",
// "notice", …) and a name.
type Entry struct {
	Kind, Name string
	Value      []byte
	Version    Version
}

// Lease is the right to be the only one, for a time. Token is its fencing
// token: it grows with every acquisition of the same name, and writes that
// carry an older one, or come after Until, are refused.
type Lease struct {
	Name   string
	Holder string
	Token  uint64
	Until  time.Time
}

// Registry holds the small facts that several nodes must agree on: keys,
// apps, clients, notices, domains, owners. All methods may be called
// concurrently. Changes are durable when the call returns. It is meant for
// thousands of entries that change seldom, not for messages.
type Registry interface {
	// Get returns an entry, or [ErrNotFound].
	Get(ctx context.Context, kind, name string) (Entry, error)
	// List returns the entries of a kind in byte order of their names, after
	// the given name, at most limit (0: 1,000).
	List(ctx context.Context, kind, after string, limit int) ([]Entry, error)
	// Put writes an entry if it is at the expected version (0: must not
	// exist; AnyVersion: whatever), else [ErrConflict]. With a fence the
	// lease must still be held with that token, checked in the same commit,
	// else [ErrLeaseLost].
	Put(ctx context.Context, kind, name string, value []byte, expect Version, fence *Lease) (Version, error)
	// Delete removes an entry under the same conditions; one that is not
	// there is [ErrNotFound].
	Delete(ctx context.Context, kind, name string, expect Version, fence *Lease) error
	// Watch has fn called, from a goroutine of the registry, after entries of
	// the kind changed; several changes may be one call, and a call may come
	// without a change: the watcher lists again. fn does not block. stop
	// returns once fn is not running any more.
	Watch(kind string, fn func()) (stop func())

	// Acquire takes the lease of a name for ttl, or extends one that the
	// holder has already (same token). Held by another: [ErrLeaseHeld].
	Acquire(ctx context.Context, name, holder string, ttl time.Duration) (Lease, error)
	// Renew extends a lease, or returns [ErrLeaseLost].
	Renew(ctx context.Context, l Lease, ttl time.Duration) (Lease, error)
	// Release gives a lease back at once; one that is lost is no error.
	Release(ctx context.Context, l Lease) error
}
