package enginetest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"crier/internal/engine"
)

const ttl = 10 * time.Second

func leaseCases() []testCase {
	return []testCase{
		{name: "acquire", run: acquire,
			rule: "one holder at a time; the holder extends with the same token; Release lets the next one in at once, with a greater token"},
		{name: "lease limits", run: leaseLimits,
			rule: "names and holders of 1 to MaxEntryName bytes, a time to live above zero"},
		{name: "lease expires", run: leaseExpires, need: needClock,
			rule: "an expired lease can be taken over with a greater token, and not renewed"},
		{name: "renew", run: renew, need: needClock,
			rule: "a renewed lease lasts from the renewal on"},
		{name: "fenced writes", run: fencedWrites,
			rule: "Put and Delete with a fence are refused with ErrLeaseLost, and change nothing, once the lease was given back or taken over"},
		{name: "late writes", run: lateWrites, need: needClock,
			rule: "the late write of an expired lease is refused, taken over or not"},
		{name: "one holder of many", run: oneHolder,
			rule: "of many that want a lease at once exactly one gets it; tokens never go back"},
		{name: "one holder over several openers", run: oneHolderSeveral, need: needSeveral,
			rule: "leases exclude over all openers"},
		{name: "many leases", run: manyLeases,
			rule: "leases of different names are apart"},
	}
}

func (b *lab) acquire(r engine.Registry, name, holder string) engine.Lease {
	b.Helper()
	l, err := r.Acquire(b.Context(), name, holder, ttl)
	if err != nil {
		b.Fatalf("acquire %s for %s: %v", name, holder, err)
	}
	if l.Name != name || l.Holder != holder || l.Token == 0 {
		b.Errorf("acquired %s for %s: %+v", name, holder, l)
	}
	if now := b.clock.Now(); b.h.Clock && !l.Until.Equal(now.Add(ttl)) {
		b.Errorf("the lease lasts until %s, it is %s", l.Until, now)
	}
	return l
}

func (b *lab) wantHeld(r engine.Registry, name, holder string) {
	b.Helper()
	_, err := r.Acquire(b.Context(), name, holder, ttl)
	b.wantError(fmt.Sprintf("acquire %s for %s", name, holder), err, engine.ErrLeaseHeld)
}

func acquire(b *lab) {
	r := b.registry()
	l1 := b.acquire(r, "l", "me")
	if l2 := b.acquire(r, "l", "me"); l2.Token != l1.Token {
		b.Errorf("extended with token %d, it was %d", l2.Token, l1.Token)
	}
	b.wantHeld(r, "l", "you")
	l3, err := r.Renew(b.Context(), l1, ttl)
	if err != nil || l3.Token != l1.Token || l3.Holder != "me" || l3.Name != "l" {
		b.Errorf("renewed: %+v, %v", l3, err)
	}
	b.wantHeld(r, "l", "you")
	if err := r.Release(b.Context(), l1); err != nil {
		b.Errorf("release: %v", err)
	}
	you := b.acquire(r, "l", "you")
	if you.Token <= l1.Token {
		b.Errorf("the next token is %d, the last was %d", you.Token, l1.Token)
	}
	if err := r.Release(b.Context(), l1); err != nil {
		b.Errorf("release of a lease that is lost: %v", err)
	}
	b.wantHeld(r, "l", "me") // a late release took nothing
	_, err = r.Renew(b.Context(), l1, ttl)
	b.wantError("renew of a lease that another has", err, engine.ErrLeaseLost)
}

func leaseLimits(b *lab) {
	r := b.registry()
	long := strings.Repeat("n", engine.MaxEntryName)
	b.acquire(r, long, long)
	for _, bad := range []struct {
		name, holder string
		ttl          time.Duration
	}{{"", "me", ttl}, {"l", "", ttl}, {long + "x", "me", ttl}, {"l", long + "x", ttl}, {"l", "me", 0}, {"l", "me", -1}} {
		if l, err := r.Acquire(b.Context(), bad.name, bad.holder, bad.ttl); err == nil {
			b.Errorf("a lease was given: %+v", l)
		}
	}
	b.acquire(r, "l", "you") // nothing of the above is there
}

func leaseExpires(b *lab) {
	r := b.registry()
	l1 := b.acquire(r, "l", "me")
	b.clock.Advance(ttl - time.Millisecond)
	b.wantHeld(r, "l", "you")
	b.clock.Advance(2 * time.Millisecond)
	_, err := r.Renew(b.Context(), l1, ttl)
	b.wantError("renew of an expired lease", err, engine.ErrLeaseLost)
	l2 := b.acquire(r, "l", "you")
	if l2.Token <= l1.Token {
		b.Errorf("taken over with token %d, the last was %d", l2.Token, l1.Token)
	}
	b.wantHeld(r, "l", "me")
	_, err = r.Renew(b.Context(), l1, ttl)
	b.wantError("renew of a lease that was taken over", err, engine.ErrLeaseLost)
	b.clock.Advance(ttl + time.Millisecond)
	if l3 := b.acquire(r, "l", "you"); l3.Token < l2.Token {
		b.Errorf("acquired again with token %d, the last was %d", l3.Token, l2.Token)
	}
}

func renew(b *lab) {
	r := b.registry()
	l := b.acquire(r, "l", "me")
	for range 5 {
		b.clock.Advance(ttl * 3 / 4)
		var err error
		was := l.Token
		if l, err = r.Renew(b.Context(), l, ttl); err != nil {
			b.Fatalf("renew: %v", err)
		}
		if want := b.clock.Now().Add(ttl); l.Token != was || !l.Until.Equal(want) {
			b.Errorf("renewed: %+v, want token %d until %s", l, was, want)
		}
		b.wantHeld(r, "l", "you")
	}
	b.clock.Advance(ttl + time.Millisecond)
	b.acquire(r, "l", "you")
	// A lease may be made shorter, too.
	if _, err := r.Acquire(b.Context(), "l", "you", time.Second); err != nil {
		b.Errorf("acquire for a shorter time: %v", err)
	}
	b.clock.Advance(time.Second + time.Millisecond)
	b.acquire(r, "l", "me")
}

func fencedWrites(b *lab) {
	r := b.registry()
	mine := b.acquire(r, "l", "me")
	v, err := r.Put(b.Context(), "owner", "a", []byte("me"), 0, &mine)
	if err != nil {
		b.Fatalf("put with a lease: %v", err)
	}
	other := b.acquire(r, "other", "me")
	if err := r.Release(b.Context(), mine); err != nil {
		b.Fatalf("release: %v", err)
	}
	refused := func(what string, fence engine.Lease) {
		b.Helper()
		_, err := r.Put(b.Context(), "owner", "a", []byte("late"), engine.AnyVersion, &fence)
		b.wantError("put with "+what, err, engine.ErrLeaseLost)
		_, err = r.Put(b.Context(), "owner", "new", []byte("late"), 0, &fence)
		b.wantError("put of a new entry with "+what, err, engine.ErrLeaseLost)
		b.wantError("delete with "+what, r.Delete(b.Context(), "owner", "a", engine.AnyVersion, &fence), engine.ErrLeaseLost)
		b.wantEntry(r, "owner", "a", "me", v)
	}
	refused("a lease that was given back", mine)
	yours := b.acquire(r, "l", "you")
	refused("a lease that was taken over", mine)
	refused("a lease that never was", engine.Lease{Name: "none", Holder: "me", Token: 1})
	refused("another lease's token", engine.Lease{Name: "l", Holder: "me", Token: other.Token})
	refused("no token", engine.Lease{Name: "l", Holder: "you"})
	if _, err := r.Put(b.Context(), "owner", "a", []byte("you"), 0, &yours); !errors.Is(err, engine.ErrConflict) {
		b.Errorf("put with a good lease at a wrong version: %v, want ErrConflict", err)
	}
	if v, err = r.Put(b.Context(), "owner", "a", []byte("you"), v, &yours); err != nil {
		b.Errorf("put with the new lease: %v", err)
	}
	if err := r.Delete(b.Context(), "owner", "a", v, &yours); err != nil {
		b.Errorf("delete with the new lease: %v", err)
	}
}

func lateWrites(b *lab) {
	r := b.registry()
	mine := b.acquire(r, "l", "me")
	b.clock.Advance(ttl - time.Millisecond)
	if _, err := r.Put(b.Context(), "owner", "a", []byte("in time"), 0, &mine); err != nil {
		b.Errorf("put in the last millisecond: %v", err)
	}
	b.clock.Advance(2 * time.Millisecond)
	late := func(what string) {
		b.Helper()
		_, err := r.Put(b.Context(), "owner", "a", []byte("late"), engine.AnyVersion, &mine)
		b.wantError("put with an expired lease"+what, err, engine.ErrLeaseLost)
		b.wantError("delete with an expired lease"+what, r.Delete(b.Context(), "owner", "a", engine.AnyVersion, &mine), engine.ErrLeaseLost)
	}
	late("")
	b.acquire(r, "l", "you")
	late(" that was taken over")
	e, err := r.Get(b.Context(), "owner", "a")
	if err != nil || string(e.Value) != "in time" {
		b.Errorf("the entry is %q (%v)", e.Value, err)
	}
}

func oneHolder(b *lab) { wantOneHolder(b, b.registry()) }

func oneHolderSeveral(b *lab) { wantOneHolder(b, b.registry(), b.registry(), b.registry()) }

// wantOneHolder has many want one lease, in turns.
func wantOneHolder(b *lab, rs ...engine.Registry) {
	last := uint64(0)
	for range 15 {
		var mu sync.Mutex
		var holders []engine.Lease
		together(6, func(w int) {
			l, err := rs[w%len(rs)].Acquire(b.Context(), "l", fmt.Sprintf("w%d", w), time.Hour)
			switch {
			case err == nil:
				mu.Lock()
				holders = append(holders, l)
				mu.Unlock()
			case !errors.Is(err, engine.ErrLeaseHeld):
				b.Errorf("acquire: %v", err)
			}
		})
		if len(holders) != 1 {
			b.Fatalf("%d hold one lease: %+v", len(holders), holders)
		}
		if holders[0].Token <= last {
			b.Errorf("token %d after %d", holders[0].Token, last)
		}
		last = holders[0].Token
		if err := rs[0].Release(b.Context(), holders[0]); err != nil {
			b.Fatalf("release: %v", err)
		}
	}
}

func manyLeases(b *lab) {
	r := b.registry()
	for i := range 50 {
		b.acquire(r, fmt.Sprintf("l%d", i), fmt.Sprintf("h%d", i))
	}
	for i := range 50 {
		b.wantHeld(r, fmt.Sprintf("l%d", i), "somebody else")
	}
}

func registryLifeCases() []testCase {
	return []testCase{
		{name: "registry reopen", run: registryReopen, need: needReopen,
			rule: "entries, versions, leases and tokens are there when the registry is opened again"},
		{name: "registry leases over reopen", run: leasesOverReopen, need: needReopen | needClock,
			rule: "a lease ends when it was told to end, also when the registry was opened again meanwhile"},
		{name: "registry crash", run: registryCrash, need: needCrash,
			rule: "acknowledged changes survive kill -9; tokens never go back; a lease is held at least until its end"},
	}
}

func registryReopen(b *lab) {
	e := b.engine()
	r := e.Registry()
	v1 := b.put(r, "key", "a", "1", 0)
	v2 := b.put(r, "key", "gone", "1", 0)
	if err := r.Delete(b.Context(), "key", "gone", v2, nil); err != nil {
		b.Fatalf("delete: %v", err)
	}
	mine := b.acquire(r, "l", "me")
	given := b.acquire(r, "given", "me")
	if err := r.Release(b.Context(), given); err != nil {
		b.Fatalf("release: %v", err)
	}
	b.close(e)
	r = b.registry()
	b.wantEntry(r, "key", "a", "1", v1)
	if got := b.list(r, "key", "", 0); fmt.Sprint(got) != "[a]" {
		b.Errorf("entries %v, want a alone", got)
	}
	if v := b.put(r, "key", "gone", "2", 0); v <= v2 {
		b.Errorf("version %d of an entry made again, it was at %d", v, v2)
	}
	b.wantHeld(r, "l", "you")
	if _, err := r.Put(b.Context(), "key", "a", []byte("2"), v1, &mine); err != nil {
		b.Errorf("put with a lease from before: %v", err)
	}
	if l := b.acquire(r, "given", "you"); l.Token <= given.Token {
		b.Errorf("token %d, it was %d before", l.Token, given.Token)
	}
}

func leasesOverReopen(b *lab) {
	e := b.engine()
	r := e.Registry()
	mine := b.acquire(r, "l", "me")
	for range 6 { // extensions, which a registry may be slow to write down
		b.clock.Advance(ttl / 4)
		var err error
		if mine, err = r.Renew(b.Context(), mine, ttl); err != nil {
			b.Fatalf("renew: %v", err)
		}
	}
	b.close(e)
	e = b.engine()
	r = e.Registry()
	b.clock.Advance(ttl - time.Millisecond)
	b.wantHeld(r, "l", "you")
	b.clock.Advance(2 * time.Millisecond)
	if l := b.acquire(r, "l", "you"); l.Token <= mine.Token {
		b.Errorf("token %d, it was %d before", l.Token, mine.Token)
	}
}

func registryCrash(b *lab) {
	e := b.engine()
	want := map[string]engine.Entry{}
	token := uint64(0)
	for round := range 3 {
		r := e.Registry()
		for i := range 5 {
			name, value := fmt.Sprintf("n%d", i*(round+1)), fmt.Sprint(round)
			v := b.put(r, "key", name, value, engine.AnyVersion)
			want[name] = engine.Entry{Value: []byte(value), Version: v}
		}
		l := b.acquire(r, fmt.Sprintf("l%d", round), "me")
		l, err := r.Renew(b.Context(), l, ttl)
		if err != nil || l.Token <= token {
			b.Errorf("lease %+v, %v; the last token was %d", l, err, token)
		}
		token = l.Token
		b.crash(e)
		e = b.engine()
		compareEntries(b.Context(), b, e.Registry(), want)
		b.wantHeld(e.Registry(), l.Name, "you")
	}
}
