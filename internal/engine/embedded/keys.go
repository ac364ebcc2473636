package embedded

import (
	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/message"
)

// keyTable remembers the idempotency keys of the last [engine.KeyLife].
// Not safe for concurrent use.
type keyTable struct {
	max   int
	known map[[16]byte]keyed
	queue []keyAge // oldest first, from head on
	head  int
}

// keyed is the block that a key named.
type keyed struct {
	body  [16]byte
	first uint64
	time  int64 // µs
	epoch message.Epoch
	n     uint16
	fsync bool
}

type keyAge struct {
	hash [16]byte
	time int64
}

func newKeyTable(most int) *keyTable { return &keyTable{max: most, known: map[[16]byte]keyed{}} }

// find looks a key up: ok with the receipt of its block, [engine.ErrKeyReused]
// if it was used with another body, [engine.ErrTooManyKeys] if it is new and
// there is no room for it.
func (t *keyTable) find(k engine.Key, now int64) (receipt engine.Receipt, ok bool, err error) {
	t.expire(now)
	e, ok := t.known[k.Hash]
	if ok && e.time+engine.KeyLife.Microseconds() <= now { // behind one that came before the clock went back
		delete(t.known, k.Hash)
		ok = false
	}
	switch {
	case !ok && len(t.known) >= t.max:
		return receipt, false, engine.ErrTooManyKeys
	case !ok:
		return receipt, false, nil
	case e.body != k.Body:
		return receipt, false, engine.ErrKeyReused
	}
	return engine.Receipt{
		First: message.ID{Epoch: e.epoch, Seq: e.first}, N: int(e.n),
		Time: micros(e.time), Durability: durability(e.fsync), Repeated: true,
	}, true, nil
}

// add remembers a key. Keys come in the order of the log.
func (t *keyTable) add(k index.Key, epoch message.Epoch) {
	t.known[k.Key.Hash] = keyed{
		body: k.Key.Body, first: k.First, time: k.Time, epoch: epoch, n: uint16(k.N), fsync: k.Fsync,
	}
	t.queue = append(t.queue, keyAge{k.Key.Hash, k.Time})
}

// expire lets go of what is older than engine.KeyLife.
func (t *keyTable) expire(now int64) {
	for t.head < len(t.queue) && t.queue[t.head].time+engine.KeyLife.Microseconds() <= now {
		old := t.queue[t.head]
		t.head++
		if t.known[old.hash].time == old.time {
			delete(t.known, old.hash)
		}
	}
	switch {
	case t.head == len(t.queue):
		if cap(t.queue) > 1<<12 { // maps and slices don't shrink by themselves
			t.queue, t.known = nil, map[[16]byte]keyed{}
		}
		t.queue, t.head = t.queue[:0], 0
	case t.head > 1<<12 && t.head > len(t.queue)/2:
		t.queue, t.head = append([]keyAge(nil), t.queue[t.head:]...), 0
	}
}

// cut lets go of the keys of blocks above seq, which are gone.
func (t *keyTable) cut(seq uint64) {
	for hash, e := range t.known {
		if e.first > seq {
			delete(t.known, hash)
		}
	}
}
