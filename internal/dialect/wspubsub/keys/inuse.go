package keys

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Pair is a key and the domain that it is shown for.
type Pair struct{ Domain, Key string }

// Print is a pair's fingerprint, by which it is looked up: no two pairs share
// one, and a lookup tells nothing of the key by the time that it takes.
type Print [sha256.Size]byte

// Print gives the fingerprint.
func (p Pair) Print() Print {
	return sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(p.Domain), p.Domain, p.Key))
}

// InUse has the pairs that connections were let in with. The zero InUse is
// ready. Its methods may be called concurrently.
type InUse struct {
	mu   sync.Mutex // guards all of it
	uses map[Print]*use
}

// use is a pair and the connections that wait for its end.
type use struct {
	pair Pair
	fns  map[*func(error)]struct{}
}

// Grant is the right of a connection: it ends when the pair stops being good.
type Grant struct {
	ID    string // public, for logs and listings
	pair  Pair
	print Print
	in    *InUse
}

// Grant makes a grant for a pair that was found good just now. Only while
// somebody waits for its end is the pair in use.
func (u *InUse) Grant(p Pair, id string) *Grant {
	return &Grant{ID: id, pair: p, print: p.Print(), in: u}
}

// OnEnd has fn called once when the pair stops being good, from a goroutine of
// its source; fn does not block. stop may be called twice.
func (g *Grant) OnEnd(fn func(cause error)) (stop func()) {
	u := g.in
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.uses == nil {
		u.uses = map[Print]*use{}
	}
	held := u.uses[g.print]
	if held == nil {
		held = &use{pair: g.pair, fns: map[*func(error)]struct{}{}}
		u.uses[g.print] = held
	}
	held.fns[&fn] = struct{}{}
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(held.fns, &fn)
		if len(held.fns) == 0 && u.uses[g.print] == held {
			delete(u.uses, g.print)
		}
	}
}

// Pairs gives those in use.
func (u *InUse) Pairs() []Pair {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := make([]Pair, 0, len(u.uses))
	for _, held := range u.uses {
		all = append(all, held.pair)
	}
	return all
}

// End tells everybody who was let in with a pair that it is not good any more,
// and returns how many they were.
func (u *InUse) End(p Pair, cause error) int {
	u.mu.Lock()
	var fns []*func(error)
	if held := u.uses[p.Print()]; held != nil {
		fns = slices.Collect(maps.Keys(held.fns))
	}
	delete(u.uses, p.Print())
	u.mu.Unlock()
	for _, fn := range fns {
		(*fn)(cause)
	}
	return len(fns)
}
