package memory

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// DefaultMaxKeys is how many idempotency keys a log remembers unless its
// configuration says otherwise; about 150 bytes each.
const DefaultMaxKeys = 1 << 20

// keys remembers the idempotency keys of the last [engine.KeyLife]. Not safe
// for concurrent use.
type keys struct {
	max    int
	byHash map[[16]byte]keyed
	order  []oldKey // as they came
	peak   int
}

// keyed is what a key was used for.
type keyed struct {
	body  [16]byte
	first message.ID
	n     int
	at    int64 // Unix microseconds
}

type oldKey struct {
	hash [16]byte
	at   int64
}

// find returns the receipt of a key that was used, or [engine.ErrKeyReused],
// or [engine.ErrTooManyKeys] if one more cannot be remembered.
func (k *keys) find(key engine.Key, now int64) (engine.Receipt, bool, error) {
	k.forget(now)
	old, ok := k.byHash[key.Hash]
	switch {
	case ok && now-old.at < engine.KeyLife.Microseconds():
		if old.body != key.Body {
			return engine.Receipt{}, false, engine.ErrKeyReused
		}
		return engine.Receipt{
			First: old.first, N: old.n, Time: time.UnixMicro(old.at).UTC(),
			Durability: engine.Memory, Repeated: true,
		}, true, nil
	case len(k.byHash) >= k.max:
		return engine.Receipt{}, false, fmt.Errorf("%w: the limit is %d", engine.ErrTooManyKeys, k.max)
	}
	return engine.Receipt{}, false, nil
}

// add remembers a key.
func (k *keys) add(key engine.Key, first message.ID, n int, now int64) {
	if k.byHash == nil {
		k.byHash = map[[16]byte]keyed{}
	}
	k.byHash[key.Hash] = keyed{body: key.Body, first: first, n: n, at: now}
	k.order = append(k.order, oldKey{hash: key.Hash, at: now})
	k.peak = max(k.peak, len(k.byHash))
}

// forget lets go of keys whose time is over, of many by and by.
func (k *keys) forget(now int64) {
	for range sliceLen {
		if len(k.order) == 0 || now-k.order[0].at < engine.KeyLife.Microseconds() {
			break
		}
		old := k.order[0]
		k.order = k.order[1:]
		if k.byHash[old.hash].at == old.at { // else it was used again
			delete(k.byHash, old.hash)
		}
	}
	if k.peak > 1024 && k.peak > 4*len(k.byHash) { // a map never shrinks by itself
		byHash := make(map[[16]byte]keyed, len(k.byHash))
		maps.Copy(byHash, k.byHash)
		k.byHash, k.peak = byHash, len(byHash)
		k.order = slices.Clone(k.order)
	}
}
