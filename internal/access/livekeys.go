package access

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
)

// DefaultKeyCache is how many keys that nobody holds are remembered.
const DefaultKeyCache = 10_000

// liveKeys remembers keys that were shown with their right secret. A key that
// a connection holds stays until it is let go of, so that its revocation
// reaches the connection; of the others the least recently used go when there
// are too many.
type liveKeys struct {
	reg   engine.Registry
	now   func() time.Time
	log   *slog.Logger
	max   int
	uses  *usage
	ring  func() // have refresh called soon
	round atomic.Uint64

	mu   sync.Mutex // guards the fields below, and held and place of each key
	byID map[string]*liveKey
	idle *list.List // of *liveKey, most recently used first
}

type liveKey struct {
	owner   *liveKeys
	id      string
	hash    digest
	version engine.Version
	life    life
	header  Identity // for a token that came in a header
	url     Identity // and in a URL
	noted   atomic.Int64

	seen  uint64        // the last round that met it
	held  int           // connections that wait for its end
	place *list.Element // in idle, or nil
}

func newLiveKeys(cfg Config, uses *usage, ring func()) *liveKeys {
	return &liveKeys{
		reg: cfg.Registry, now: cfg.Now, log: cfg.Log, max: cfg.KeyCache, uses: uses, ring: ring,
		byID: map[string]*liveKey{}, idle: list.New(),
	}
}

func (l *liveKeys) newKey(s storedKey, version engine.Version) *liveKey {
	k := &liveKey{owner: l, id: s.ID, hash: digest(s.Hash), version: version}
	k.header = Identity{
		Kind: KindKey, ID: s.ID, Name: s.Name, Grants: s.Grants(), credential: "key:" + s.ID,
		Expires: s.Expires, life: &k.life, live: k, now: l.now,
	}
	k.url = k.header
	k.url.fromURL = true
	return k
}

// authenticate returns the identity of a secret, or a refusal.
func (l *liveKeys) authenticate(ctx context.Context, secret string, fromURL bool) (*Identity, error) {
	id, ok := keyID(secret)
	if !ok {
		return nil, unauthenticated(BadCredential, "the key is not well formed; was it copied whole?")
	}
	hash := digestOf(secret)
	k := l.remembered(id)
	if k == nil || !k.hash.is(hash) {
		var err error
		if k, err = l.load(ctx, id, hash); err != nil {
			return nil, err
		}
	}
	who := &k.header
	if fromURL {
		who = &k.url
	}
	switch cause := who.Ended(); cause {
	case nil:
	case ErrExpired:
		return nil, keyExpired(id)
	default:
		return nil, keyRevoked(id)
	}
	l.note(k)
	return who, nil
}

func keyExpired(id string) *Refusal {
	return unauthenticated(Expired, "key "+id+" has expired; ask the operator for a new one")
}

func keyRevoked(id string) *Refusal {
	return unauthenticated(Revoked, "key "+id+" was revoked; ask the operator for a new one")
}

func (l *liveKeys) remembered(id string) *liveKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.byID[id]
	if k != nil && k.place != nil {
		l.idle.MoveToFront(k.place)
	}
	return k
}

// load gets a key from the registry. It is remembered only if the secret was
// right, so that guessing pushes nobody's key out.
func (l *liveKeys) load(ctx context.Context, id string, hash digest) (*liveKey, error) {
	round := l.round.Load()
	e, err := l.reg.Get(ctx, kindKey, id)
	if errors.Is(err, engine.ErrNotFound) {
		return nil, unauthenticated(BadCredential, "there is no such key")
	}
	var s storedKey
	if err == nil {
		s, err = decodeKey(e)
	}
	if err != nil {
		return nil, unavailable("keys cannot be looked up now; try again later", fmt.Errorf("look up a key: %w", err))
	}
	switch {
	case !digest(s.Hash).is(hash):
		return nil, unauthenticated(BadCredential, "there is no such key")
	case !s.Revoked.IsZero():
		return nil, keyRevoked(id)
	}
	k := l.remember(l.newKey(s, e.Version))
	if l.round.Load() != round {
		// A look at the registry that began meanwhile did not know that we
		// were going to remember this key.
		l.ring()
	}
	return k, nil
}

// remember puts a key among the others, unless it is there already.
func (l *liveKeys) remember(k *liveKey) *liveKey {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.byID[k.id]
	if have == nil {
		l.put(k)
		return k
	}
	if have.hash != k.hash { // ids are random, so somebody wrote entries by hand
		return k
	}
	return have
}

// put is called with mu held.
func (l *liveKeys) put(k *liveKey) {
	l.byID[k.id] = k
	k.seen = l.round.Load()
	k.place = l.idle.PushFront(k)
	for l.idle.Len() > l.max {
		oldest := l.idle.Remove(l.idle.Back()).(*liveKey)
		oldest.place = nil
		delete(l.byID, oldest.id)
	}
}

// hold keeps the key remembered until release, and returns the life to wait
// for.
func (k *liveKey) hold() (_ *life, release func()) {
	l := k.owner
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.byID[k.id]
	switch {
	case k.life.ended() != nil:
		return &k.life, func() {}
	case have == nil: // it was pushed out since it was authenticated
		l.put(k)
		have = k
		l.ring()
	}
	if have.held++; have.place != nil {
		l.idle.Remove(have.place)
		have.place = nil
	}
	return &have.life, have.release
}

func (k *liveKey) release() {
	l := k.owner
	l.mu.Lock()
	defer l.mu.Unlock()
	k.held--
	if k.held == 0 && l.byID[k.id] == k {
		l.put(k)
	}
}

// refresh reads the registry and ends the keys that were revoked or are gone.
// It is not called by two at once.
func (l *liveKeys) refresh(ctx context.Context) error {
	round := l.round.Add(1)
	l.mu.Lock()
	none := len(l.byID) == 0
	l.mu.Unlock()
	if none {
		return nil
	}
	after := ""
	for {
		entries, err := l.reg.List(ctx, kindKey, after, page)
		if err != nil {
			return fmt.Errorf("look for revoked keys: %w", err)
		}
		for _, e := range entries {
			after = e.Name
			l.compare(ctx, e, round)
		}
		if len(entries) < page {
			break
		}
	}
	var gone []*liveKey
	l.mu.Lock()
	for _, k := range l.byID {
		if k.seen < round {
			gone = append(gone, k)
		}
	}
	l.mu.Unlock()
	for _, k := range gone {
		l.end(ctx, k)
	}
	return nil
}

// compare ends the key of an entry if it is not what it was.
func (l *liveKeys) compare(ctx context.Context, e engine.Entry, round uint64) {
	l.mu.Lock()
	k := l.byID[e.Name]
	if k == nil || k.version == e.Version {
		if k != nil {
			k.seen = round
		}
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	s, err := decodeKey(e)
	if err != nil {
		l.log.ErrorContext(ctx, "key ended because its entry cannot be read", "key", e.Name, "error", err)
	} else if s.Revoked.IsZero() && digest(s.Hash) == k.hash {
		l.mu.Lock()
		k.version, k.seen = e.Version, round
		l.mu.Unlock()
		return
	}
	l.end(ctx, k)
}

func (l *liveKeys) end(ctx context.Context, k *liveKey) {
	l.mu.Lock()
	if l.byID[k.id] == k {
		delete(l.byID, k.id)
	}
	if k.place != nil {
		l.idle.Remove(k.place)
		k.place = nil
	}
	held := k.held
	l.mu.Unlock()
	l.log.InfoContext(ctx, "key ended", "key", k.id, "connections", held)
	k.life.end(ErrRevoked)
}

// note remembers that the key was used, to the minute.
func (l *liveKeys) note(k *liveKey) {
	now := l.now()
	last := k.noted.Load()
	if now.Unix()-last >= int64(useGrain/time.Second) && k.noted.CompareAndSwap(last, now.Unix()) {
		l.uses.note(k.id, now)
	}
}
