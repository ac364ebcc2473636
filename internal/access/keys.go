package access

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"crier/internal/engine"
	"crier/internal/topic"
)

// The kinds of registry entries. When a key was last used is kept apart from
// the key, so that using keys does not ring those who watch for revocations.
const (
	kindKey  = "key"      // name: id, value: storedKey
	kindUsed = "key-used" // name: id, value: RFC 3339 time
	kindGate = "access"   // name: "closed", value: closedMark
)

// Limits of a key.
const (
	MaxKeyName = 128 // bytes
	MaxGrants  = 256 // patterns of a key or a JWT
)

// Key is a credential as listings show it. All of it but LastUsed and Revoked
// is fixed when it is made.
type Key struct {
	ID        string          `json:"id"`
	Name      string          `json:"name,omitempty"`
	Domain    string          `json:"domain"`
	Publish   []topic.Pattern `json:"publish,omitempty"`
	Subscribe []topic.Pattern `json:"subscribe,omitempty"`
	Manage    []topic.Pattern `json:"manage,omitempty"`
	Created   time.Time       `json:"created"`
	Expires   time.Time       `json:"expires,omitzero"`
	Revoked   time.Time       `json:"revoked,omitzero"`
	LastUsed  time.Time       `json:"lastUsed,omitzero"` // a minute coarse
}

type storedKey struct {
	Key
	Hash []byte `json:"sha256"`
}

// State says in a word how the key is: active, expired or revoked.
func (k *Key) State(now time.Time) string {
	switch {
	case !k.Revoked.IsZero():
		return "revoked"
	case !k.Expires.IsZero() && !now.Before(k.Expires):
		return "expired"
	}
	return "active"
}

// Grants lists what the key may do.
func (k *Key) Grants() []Grant {
	var gs []Grant
	for _, of := range []struct {
		action   Action
		patterns []topic.Pattern
	}{{Publish, k.Publish}, {Subscribe, k.Subscribe}, {Manage, k.Manage}} {
		for _, p := range of.patterns {
			gs = append(gs, Grant{of.action, k.Domain, p})
		}
	}
	return gs
}

// ErrKeySpec is wrapped by errors about a key that cannot be made as asked.
var ErrKeySpec = errors.New("not a valid key")

// KeySpec says what key to make.
type KeySpec struct {
	Name                       string
	Domain                     string
	Publish, Subscribe, Manage []topic.Pattern // at least one pattern in all
	Expires                    time.Time       // zero: never
}

func (s *KeySpec) validate(now time.Time) error {
	if err := topic.CheckDomain(s.Domain); err != nil {
		return fmt.Errorf("%w: %w", ErrKeySpec, err)
	}
	if len(s.Name) > MaxKeyName || !utf8.ValidString(s.Name) || strings.ContainsFunc(s.Name, unicode.IsControl) {
		return fmt.Errorf("%w: name is at most %d bytes of UTF-8 without control characters", ErrKeySpec, MaxKeyName)
	}
	n := len(s.Publish) + len(s.Subscribe) + len(s.Manage)
	if n == 0 {
		return fmt.Errorf("%w: it has no grant; give it at least one of publish, subscribe, manage", ErrKeySpec)
	}
	if n > MaxGrants {
		return fmt.Errorf("%w: it has %d patterns, the limit is %d", ErrKeySpec, n, MaxGrants)
	}
	if !s.Expires.IsZero() && !s.Expires.After(now) {
		return fmt.Errorf("%w: expires %s has passed already", ErrKeySpec, s.Expires.Format(time.RFC3339))
	}
	if s.Expires.UTC().Year() > 9999 { // which RFC 3339 cannot say
		return fmt.Errorf("%w: expires is after the year 9999; leave it out for a key that never ends", ErrKeySpec)
	}
	return nil
}

// Keys makes, lists and revokes keys, straight in a registry: it needs no
// server. The fields but Registry may be nil. Its methods may be called
// concurrently; their errors wrap the engine's.
type Keys struct {
	Registry engine.Registry
	Now      func() time.Time
	Log      *slog.Logger              // says what was made and revoked, never a secret
	changed  func(ctx context.Context) // has the authority look at once
}

func (k *Keys) now() time.Time {
	if k.Now == nil {
		return time.Now().UTC()
	}
	return k.Now().UTC()
}

func (k *Keys) audit(ctx context.Context, msg string, key *Key, more ...any) {
	if k.Log != nil {
		k.Log.InfoContext(ctx, msg, append([]any{"key", key.ID, "name", key.Name, "domain", key.Domain}, more...)...)
	}
}

func (k *Keys) tell(ctx context.Context) {
	if k.changed != nil {
		k.changed(ctx)
	}
}

// CreateKey is [Keys.Create] for those who have only a registry.
func CreateKey(ctx context.Context, reg engine.Registry, spec KeySpec) (Key, string, error) {
	return (&Keys{Registry: reg}).Create(ctx, spec)
}

// Create makes a key and returns its secret, which nobody can show again. The
// first key closes the server for good: the mark is written before the key,
// so that there is no key in an open server. Errors about the spec wrap
// [ErrKeySpec].
func (k *Keys) Create(ctx context.Context, spec KeySpec) (Key, string, error) {
	now := k.now().Truncate(time.Second)
	if err := spec.validate(now); err != nil {
		return Key{}, "", err
	}
	if err := closeForGood(ctx, k.Registry, "a key was made", now); err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	for range 3 { // an id that is taken is one in 2^60
		id, secret := newSecret()
		key := Key{
			ID: id, Name: spec.Name, Domain: spec.Domain, Publish: spec.Publish, Subscribe: spec.Subscribe,
			Manage: spec.Manage, Created: now, Expires: spec.Expires.UTC(),
		}
		hash := digestOf(secret)
		value, err := json.Marshal(storedKey{key, hash[:]})
		if err != nil {
			return Key{}, "", fmt.Errorf("create key: %w", err)
		}
		_, err = k.Registry.Put(ctx, kindKey, id, value, 0, nil)
		if errors.Is(err, engine.ErrConflict) {
			continue
		}
		if err != nil {
			return Key{}, "", fmt.Errorf("create key: %w", err)
		}
		expires := "never"
		if !key.Expires.IsZero() {
			expires = key.Expires.Format(time.RFC3339)
		}
		k.audit(ctx, "key created", &key, "grants", fmt.Sprint(key.Grants()), "expires", expires)
		k.tell(ctx)
		return key, secret, nil
	}
	return Key{}, "", fmt.Errorf("create key: no free id: %w", engine.ErrConflict)
}

func decodeKey(e engine.Entry) (storedKey, error) {
	var s storedKey
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return storedKey{}, fmt.Errorf("read key %s: %w: %w", e.Name, engine.ErrCorrupt, err)
	}
	if s.ID != e.Name || len(s.Hash) != len(digest{}) {
		return storedKey{}, fmt.Errorf("read key %s: %w: id or hash is not right", e.Name, engine.ErrCorrupt)
	}
	return s, nil
}

// Get returns a key, or [engine.ErrNotFound].
func (k *Keys) Get(ctx context.Context, id string) (Key, error) {
	e, err := k.Registry.Get(ctx, kindKey, id)
	if err != nil {
		return Key{}, fmt.Errorf("key %.40q: %w", id, err)
	}
	s, err := decodeKey(e)
	if err != nil {
		return Key{}, err
	}
	used, err := k.Registry.Get(ctx, kindUsed, id)
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return Key{}, fmt.Errorf("last use of key %s: %w", id, err)
	}
	s.LastUsed = usedAt(used)
	return s.Key, nil
}

func usedAt(e engine.Entry) time.Time {
	t, err := time.Parse(time.RFC3339, string(e.Value))
	if err != nil {
		return time.Time{}
	}
	return t
}

// page is how many entries are read from the registry at once.
const page = 500

// List returns at most limit keys in the order of their ids, after the given
// one ("": from the first), of one domain or (domain "") of all; revoked and
// expired ones too.
func (k *Keys) List(ctx context.Context, domain, after string, limit int) ([]Key, error) {
	var keys []Key
	for len(keys) < limit {
		n := page
		if domain == "" {
			n = min(page, limit-len(keys))
		}
		entries, err := k.Registry.List(ctx, kindKey, after, n)
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		used, err := k.Registry.List(ctx, kindUsed, after, n)
		if err != nil {
			return nil, fmt.Errorf("list the last uses of keys: %w", err)
		}
		uses := make(map[string]time.Time, len(used))
		for _, e := range used {
			uses[e.Name] = usedAt(e)
		}
		for _, e := range entries {
			after = e.Name
			s, err := decodeKey(e)
			if err != nil {
				return nil, err
			}
			if domain != "" && s.Domain != domain {
				continue
			}
			if len(keys) == limit {
				return keys, nil
			}
			s.LastUsed = uses[s.ID]
			keys = append(keys, s.Key)
		}
		if len(entries) < n {
			break
		}
	}
	return keys, nil
}

// Revoke ends a key for good; its connections are closed within a second. A
// key that is revoked already stays as it is. [engine.ErrNotFound] if there
// is none.
func (k *Keys) Revoke(ctx context.Context, id string) (Key, error) {
	for range 10 { // others may write it meanwhile
		e, err := k.Registry.Get(ctx, kindKey, id)
		if err != nil {
			return Key{}, fmt.Errorf("revoke key %.40q: %w", id, err)
		}
		s, err := decodeKey(e)
		if err != nil {
			return Key{}, err
		}
		if !s.Revoked.IsZero() {
			return s.Key, nil
		}
		s.Revoked = k.now().Truncate(time.Second)
		value, err := json.Marshal(s)
		if err != nil {
			return Key{}, fmt.Errorf("revoke key %s: %w", id, err)
		}
		_, err = k.Registry.Put(ctx, kindKey, id, value, e.Version, nil)
		if errors.Is(err, engine.ErrConflict) {
			continue
		}
		if err != nil {
			return Key{}, fmt.Errorf("revoke key %s: %w", id, err)
		}
		k.audit(ctx, "key revoked", &s.Key)
		k.tell(ctx)
		return s.Key, nil
	}
	return Key{}, fmt.Errorf("revoke key %s: %w", id, engine.ErrConflict)
}

// RevokeDomain revokes all keys of a domain that is going to be deleted, so
// that they are worth nothing in a later one of the same name.
func (k *Keys) RevokeDomain(ctx context.Context, domain string) error {
	after := ""
	for {
		keys, err := k.List(ctx, domain, after, page)
		if err != nil {
			return err
		}
		for _, key := range keys {
			after = key.ID
			if _, err := k.Revoke(ctx, key.ID); err != nil {
				return err
			}
		}
		if len(keys) < page {
			return nil
		}
	}
}
