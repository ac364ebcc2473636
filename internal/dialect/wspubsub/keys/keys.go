// Package keys has the credentials of wspubsub's publishers: each is good for
// one domain, under the name that the outside gives it. This package keeps
// those that Crier makes itself, in the registry; package pgkeys, beside it,
// asks the ancestor's table in PostgreSQL. Both are a [Source], and both end
// the connections of a key that stops being good.
//
// These are no keys of package access: making one neither grants anything else
// nor closes a server that is open.
package keys

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"crier/internal/engine"
)

// Errors that callers decide on.
var (
	// ErrBad: the key is not good for the domain: wrong, not active, or of
	// another domain.
	ErrBad = errors.New("the key is not active for this domain")
	// ErrUnavailable: whether it is good cannot be asked now.
	ErrUnavailable = errors.New("keys cannot be checked now")
	// ErrRevoked ends the connections of a key.
	ErrRevoked = errors.New("key is not active any more")
	// ErrSpec is wrapped by errors about a key that cannot be made as asked.
	ErrSpec = errors.New("not a valid key")
)

// Source says which keys are good. It may be asked concurrently. Errors wrap
// [ErrBad] or [ErrUnavailable].
type Source interface {
	Check(ctx context.Context, domain, key string) (*Grant, error)
}

// Limits of a key's domain and name.
const (
	MaxDomain = 64  // characters: as many as the ancestor's table has room for
	MaxName   = 254 // bytes
	idLen     = 16
)

const kind = "wspubsub-key"

// Key is a key as listings show it.
type Key struct {
	ID      string    `json:"id"`
	Domain  string    `json:"domain"` // as the outside names it
	Name    string    `json:"name,omitempty"`
	Created time.Time `json:"created"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// State is active or revoked.
func (k *Key) State() string {
	if k.Revoked.IsZero() {
		return "active"
	}
	return "revoked"
}

// Registry makes, lists, revokes and checks keys in a registry. Its methods may
// be called concurrently; their errors wrap the engine's.
type Registry struct {
	Registry engine.Registry
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // nil: none; says what was made and revoked, never a secret
}

func (r *Registry) now() time.Time {
	if r.Now == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return r.Now().UTC().Truncate(time.Second)
}

func (r *Registry) audit(ctx context.Context, msg string, k *Key) {
	if r.Log != nil {
		r.Log.InfoContext(ctx, msg, "key", k.ID, "name", k.Name, "domain", k.Domain)
	}
}

// entryName is where a secret is kept: under its SHA-256. Its id is how that
// begins.
func entryName(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// newSecret gives a random UUID, which is what the ancestor's clients have.
func newSecret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Create makes a key and returns its secret, which nobody can show again.
func (r *Registry) Create(ctx context.Context, domain, name string) (Key, string, error) {
	if domain == "" || utf8.RuneCountInString(domain) > MaxDomain || !printable(domain) {
		return Key{}, "", fmt.Errorf("%w: domain is 1 to %d characters without control characters", ErrSpec, MaxDomain)
	}
	if len(name) > MaxName || !printable(name) {
		return Key{}, "", fmt.Errorf("%w: name is at most %d bytes without control characters", ErrSpec, MaxName)
	}
	secret := newSecret()
	where := entryName(secret)
	k := Key{ID: where[:idLen], Domain: domain, Name: name, Created: r.now()}
	value, err := json.Marshal(k)
	if err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	if _, err := r.Registry.Put(ctx, kind, where, value, 0, nil); err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	r.audit(ctx, "wspubsub key created", &k)
	return k, secret, nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func decode(e engine.Entry) (Key, error) {
	var k Key
	if err := json.Unmarshal(e.Value, &k); err != nil {
		return k, fmt.Errorf("wspubsub key %.16s: %w: %w", e.Name, engine.ErrCorrupt, err)
	}
	return k, nil
}

// page is how many entries are read at once.
const page = 500

// List returns at most limit keys in the order of their ids, after the given
// one, of one domain or (domain "") of all; revoked ones too.
func (r *Registry) List(ctx context.Context, domain, after string, limit int) ([]Key, error) {
	if len(after) == idLen {
		after += strings.Repeat("g", 2*sha256.Size-idLen) // beyond every hash that begins so
	}
	var all []Key
	for {
		entries, err := r.Registry.List(ctx, kind, after, page)
		if err != nil {
			return nil, fmt.Errorf("list wspubsub keys: %w", err)
		}
		for _, e := range entries {
			after = e.Name
			k, err := decode(e)
			if err != nil {
				return nil, err
			}
			if domain == "" || k.Domain == domain {
				all = append(all, k)
			}
			if len(all) == limit {
				return all, nil
			}
		}
		if len(entries) < page {
			return all, nil
		}
	}
}

// find returns the entry of an id, or [engine.ErrNotFound].
func (r *Registry) find(ctx context.Context, id string) (engine.Entry, error) {
	if len(id) == idLen {
		entries, err := r.Registry.List(ctx, kind, id, 1)
		if err != nil {
			return engine.Entry{}, fmt.Errorf("wspubsub key %s: %w", id, err)
		}
		if len(entries) == 1 && strings.HasPrefix(entries[0].Name, id) {
			return entries[0], nil
		}
	}
	return engine.Entry{}, fmt.Errorf("wspubsub key %.40q: %w", id, engine.ErrNotFound)
}

// Get returns a key, or [engine.ErrNotFound].
func (r *Registry) Get(ctx context.Context, id string) (Key, error) {
	e, err := r.find(ctx, id)
	if err != nil {
		return Key{}, err
	}
	return decode(e)
}

// Revoke ends a key for good; one that is revoked already stays as it is.
// [engine.ErrNotFound] if there is none.
func (r *Registry) Revoke(ctx context.Context, id string) (Key, error) {
	for range 10 { // others may write it meanwhile
		e, err := r.find(ctx, id)
		if err != nil {
			return Key{}, err
		}
		k, err := decode(e)
		if err != nil || !k.Revoked.IsZero() {
			return k, err
		}
		k.Revoked = r.now()
		value, err := json.Marshal(k)
		if err != nil {
			return k, fmt.Errorf("revoke wspubsub key: %w", err)
		}
		_, err = r.Registry.Put(ctx, kind, e.Name, value, e.Version, nil)
		switch {
		case err == nil:
			r.audit(ctx, "wspubsub key revoked", &k)
			return k, nil
		case !errors.Is(err, engine.ErrConflict):
			return k, fmt.Errorf("revoke wspubsub key: %w", err)
		}
	}
	return Key{}, fmt.Errorf("revoke wspubsub key: %w", engine.ErrConflict)
}

// RevokeAll revokes the keys that are chosen.
func (r *Registry) RevokeAll(ctx context.Context, which func(*Key) bool) error {
	for after := ""; ; {
		some, err := r.List(ctx, "", after, page)
		if err != nil {
			return err
		}
		for i := range some {
			after = some[i].ID
			if !which(&some[i]) {
				continue
			}
			if _, err := r.Revoke(ctx, some[i].ID); err != nil {
				return err
			}
		}
		if len(some) < page {
			return nil
		}
	}
}

// look finds the key that a secret is, if it is good for a domain.
func (r *Registry) look(ctx context.Context, domain, secret string) (Key, error) {
	e, err := r.Registry.Get(ctx, kind, entryName(secret))
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return Key{}, ErrBad
	case err != nil:
		return Key{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	k, err := decode(e)
	if err != nil {
		return k, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if k.Domain != domain || !k.Revoked.IsZero() {
		return k, ErrBad
	}
	return k, nil
}
