// Package account has the apps and clients of Pushcart: who publishes messages
// and who reads them, each with a token. They are entries of the registry, so
// that every node knows them, and a token that was revoked is worth nothing
// anywhere from that moment on. It knows nothing of messages or HTTP.
//
// A token is kept as its SHA-256. A second entry leads from the hash to the
// account; the account has the last word on which token is its own.
package account

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
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

// Kind is what an account is for.
type Kind string

// The kinds, which are also those of the registry's entries.
const (
	App    Kind = "app"    // publishes
	Client Kind = "client" // reads
)

// tokens is the kind of the entries that lead from a token's hash to the id.
func (k Kind) tokens() string { return string(k) + "-token" }

// Limits of an account.
const (
	MaxName = 128      // bytes of an app's name or a client's type
	MaxInfo = 64 << 10 // bytes of a client's info
)

// Lengths of what is drawn, in hex digits.
const (
	idLen    = 24
	tokenLen = 32
)

var (
	// ErrSpec is wrapped by errors about an account that cannot be made as
	// asked.
	ErrSpec = errors.New("not a valid account")
	// ErrToken: no account that is active has this token.
	ErrToken = errors.New("token not known, or revoked")
)

// Account is an app or a client as listings show it.
type Account struct {
	ID      string          `json:"id"`
	Name    string          `json:"name"`           // of an app; the type of a client
	Info    json.RawMessage `json:"info,omitempty"` // of a client: an object, as it was given; nil: none
	Created time.Time       `json:"created"`
	Rotated time.Time       `json:"rotated,omitzero"` // when it got another token
	Revoked time.Time       `json:"revoked,omitzero"`
}

// State says in a word how the account is: active or revoked.
func (a *Account) State() string {
	if !a.Revoked.IsZero() {
		return "revoked"
	}
	return "active"
}

type stored struct {
	Account
	Hash []byte `json:"sha256"`
}

// Spec says what account to make.
type Spec struct {
	Name string          // an app needs one
	Info json.RawMessage // an object, or nil; only for clients
}

func (s *Spec) validate(k Kind) error {
	what := "name"
	if k == Client {
		what = "type"
	}
	if k == App && s.Name == "" {
		return fmt.Errorf("%w: %s is empty", ErrSpec, what)
	}
	if len(s.Name) > MaxName || !utf8.ValidString(s.Name) || strings.ContainsFunc(s.Name, unicode.IsControl) {
		return fmt.Errorf("%w: %s is at most %d bytes of UTF-8 without control characters", ErrSpec, what, MaxName)
	}
	if s.Info == nil {
		return nil
	}
	if k == App {
		return fmt.Errorf("%w: an app has no info", ErrSpec)
	}
	if len(s.Info) > MaxInfo {
		return fmt.Errorf("%w: info is %d bytes long, the limit is %d", ErrSpec, len(s.Info), MaxInfo)
	}
	var fields map[string]json.RawMessage
	if !utf8.Valid(s.Info) || json.Unmarshal(s.Info, &fields) != nil || fields == nil {
		return fmt.Errorf("%w: info is not a JSON object such as {\"platform\":\"ios\"}", ErrSpec)
	}
	return nil
}

// Accounts makes, lists, revokes and checks accounts of one kind, straight in
// a registry: it needs no server. Its methods may be called concurrently; their
// errors wrap the engine's.
type Accounts struct {
	Kind     Kind
	Registry engine.Registry
	Now      func() time.Time // nil: time.Now
	Log      *slog.Logger     // says what was made and revoked, never a token; nil: nobody
}

func (a *Accounts) now() time.Time {
	if a.Now == nil {
		return time.Now().UTC().Truncate(time.Second)
	}
	return a.Now().UTC().Truncate(time.Second)
}

func (a *Accounts) audit(ctx context.Context, what string, acc *Account) {
	if a.Log != nil {
		a.Log.InfoContext(ctx, "pushcart: "+string(a.Kind)+" "+what, "id", acc.ID, "name", acc.Name)
	}
}

// newID draws an id in the form of an ObjectID: the second, and 8 random bytes.
func newID(now time.Time) string {
	var b [idLen / 2]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	binary.BigEndian.PutUint32(b[:], uint32(now.Unix()))
	return hex.EncodeToString(b[:])
}

func newToken() (token string, hash []byte) {
	var b [tokenLen / 2]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	token = hex.EncodeToString(b[:])
	sum := sha256.Sum256([]byte(token))
	return token, sum[:]
}

// Create makes an account and returns its token, which nobody can show again.
// Errors about the spec wrap [ErrSpec].
func (a *Accounts) Create(ctx context.Context, spec Spec) (Account, string, error) {
	if err := spec.validate(a.Kind); err != nil {
		return Account{}, "", err
	}
	now := a.now()
	acc := Account{ID: newID(now), Name: spec.Name, Info: compact(spec.Info), Created: now}
	token, hash := newToken()
	// The token first: an account that is listed has one that works.
	if err := a.lead(ctx, hash, acc.ID); err != nil {
		return Account{}, "", fmt.Errorf("create %s: %w", a.Kind, err)
	}
	value, err := json.Marshal(stored{acc, hash})
	if err == nil {
		_, err = a.Registry.Put(ctx, string(a.Kind), acc.ID, value, 0, nil)
	}
	if err != nil {
		return Account{}, "", fmt.Errorf("create %s: %w", a.Kind, err)
	}
	a.audit(ctx, "made", &acc)
	return acc, token, nil
}

// compact drops white space between tokens, which the registry's JSON would
// not keep either.
func compact(info json.RawMessage) json.RawMessage {
	if info == nil {
		return nil
	}
	var b bytes.Buffer
	_ = json.Compact(&b, info) // it was found valid
	return b.Bytes()
}

// lead writes the entry that leads from a token to its account.
func (a *Accounts) lead(ctx context.Context, hash []byte, id string) error {
	_, err := a.Registry.Put(ctx, a.Kind.tokens(), hex.EncodeToString(hash), []byte(id), 0, nil)
	return err
}

func (a *Accounts) read(ctx context.Context, id string) (stored, engine.Version, error) {
	e, err := a.Registry.Get(ctx, string(a.Kind), id)
	if err != nil {
		return stored{}, 0, fmt.Errorf("%s %.40q: %w", a.Kind, id, err)
	}
	s, err := a.decode(e)
	return s, e.Version, err
}

func (a *Accounts) decode(e engine.Entry) (stored, error) {
	var s stored
	if err := json.Unmarshal(e.Value, &s); err != nil {
		return s, fmt.Errorf("read %s %s: %w: %w", a.Kind, e.Name, engine.ErrCorrupt, err)
	}
	if s.ID != e.Name || len(s.Hash) != sha256.Size {
		return s, fmt.Errorf("read %s %s: %w: id or hash is not right", a.Kind, e.Name, engine.ErrCorrupt)
	}
	return s, nil
}

// Get returns an account, or [engine.ErrNotFound].
func (a *Accounts) Get(ctx context.Context, id string) (Account, error) {
	if len(id) != idLen {
		return Account{}, fmt.Errorf("%s %.40q: %w", a.Kind, id, engine.ErrNotFound)
	}
	s, _, err := a.read(ctx, id)
	return s.Account, err
}

// List returns at most limit accounts (at most 1,000) in the order of their
// ids, which is that of their making, after the given one ("": from the first);
// revoked ones too.
func (a *Accounts) List(ctx context.Context, after string, limit int) ([]Account, error) {
	entries, err := a.Registry.List(ctx, string(a.Kind), after, limit)
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", a.Kind, err)
	}
	all := make([]Account, len(entries))
	for i, e := range entries {
		s, err := a.decode(e)
		if err != nil {
			return nil, err
		}
		all[i] = s.Account
	}
	return all, nil
}

// Check gives the account that has a token and is active, else [ErrToken].
func (a *Accounts) Check(ctx context.Context, token string) (Account, error) {
	if len(token) != tokenLen {
		return Account{}, ErrToken
	}
	sum := sha256.Sum256([]byte(token))
	e, err := a.Registry.Get(ctx, a.Kind.tokens(), hex.EncodeToString(sum[:]))
	if errors.Is(err, engine.ErrNotFound) {
		return Account{}, ErrToken
	}
	if err != nil {
		return Account{}, fmt.Errorf("check token: %w", err)
	}
	s, _, err := a.read(ctx, string(e.Value))
	if errors.Is(err, engine.ErrNotFound) { // one that was begun and never made
		return Account{}, ErrToken
	}
	if err != nil {
		return Account{}, fmt.Errorf("check token: %w", err)
	}
	if subtle.ConstantTimeCompare(s.Hash, sum[:]) != 1 || !s.Revoked.IsZero() {
		return Account{}, ErrToken
	}
	return s.Account, nil
}

// change writes an account again, as fn changes it; fn says whether it did.
// old is the hash that it had.
func (a *Accounts) change(ctx context.Context, id string, fn func(*stored) (bool, error)) (s stored, old []byte, err error) {
	if len(id) != idLen {
		return s, nil, fmt.Errorf("%s %.40q: %w", a.Kind, id, engine.ErrNotFound)
	}
	for range 10 { // others may write it meanwhile
		var version engine.Version
		if s, version, err = a.read(ctx, id); err != nil {
			return s, nil, err
		}
		old = s.Hash
		changed, err := fn(&s)
		if err != nil || !changed {
			return s, nil, err
		}
		value, err := json.Marshal(s)
		if err != nil {
			return s, nil, fmt.Errorf("change %s %s: %w", a.Kind, id, err)
		}
		_, err = a.Registry.Put(ctx, string(a.Kind), id, value, version, nil)
		if errors.Is(err, engine.ErrConflict) {
			continue
		}
		if err != nil {
			return s, nil, fmt.Errorf("change %s %s: %w", a.Kind, id, err)
		}
		return s, old, nil
	}
	return s, nil, fmt.Errorf("change %s %s: %w", a.Kind, id, engine.ErrConflict)
}

// forget takes away what led from a token to its account. It is worth nothing
// already.
func (a *Accounts) forget(ctx context.Context, hash []byte) {
	if hash == nil {
		return
	}
	err := a.Registry.Delete(ctx, a.Kind.tokens(), hex.EncodeToString(hash), engine.AnyVersion, nil)
	if err != nil && !errors.Is(err, engine.ErrNotFound) && a.Log != nil {
		a.Log.DebugContext(ctx, "pushcart: an entry of a token is left over", "error", err)
	}
}

// Revoke ends an account for good; one that is revoked stays as it is.
// [engine.ErrNotFound] if there is none.
func (a *Accounts) Revoke(ctx context.Context, id string) (Account, error) {
	s, old, err := a.change(ctx, id, func(s *stored) (bool, error) {
		if !s.Revoked.IsZero() {
			return false, nil
		}
		s.Revoked = a.now()
		return true, nil
	})
	if err != nil {
		return Account{}, err
	}
	if old != nil {
		a.forget(ctx, old)
		a.audit(ctx, "revoked", &s.Account)
	}
	return s.Account, nil
}

// Rotate gives an account another token, and returns it; the one it had is
// worth nothing from then on. One that is revoked is [ErrSpec].
func (a *Accounts) Rotate(ctx context.Context, id string) (Account, string, error) {
	token, hash := newToken()
	led := false
	s, old, err := a.change(ctx, id, func(s *stored) (bool, error) {
		if !s.Revoked.IsZero() {
			return false, fmt.Errorf("%w: %s %s is revoked, for good; make another", ErrSpec, a.Kind, id)
		}
		if !led {
			if err := a.lead(ctx, hash, id); err != nil {
				return false, fmt.Errorf("rotate token of %s %s: %w", a.Kind, id, err)
			}
			led = true
		}
		s.Hash, s.Rotated = hash, a.now()
		return true, nil
	})
	if err != nil {
		if led {
			a.forget(ctx, hash)
		}
		return Account{}, "", err
	}
	a.forget(ctx, old)
	a.audit(ctx, "got another token", &s.Account)
	return s.Account, token, nil
}
