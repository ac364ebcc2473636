package enginetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"crier/internal/engine"
)

func watchCases() []testCase {
	return []testCase{
		{name: "watch", run: watchEntries,
			rule: "after a change of the kind the watcher is called, after the change can be seen; calls may be fewer than changes"},
		{name: "watch stops", run: watchStops,
			rule: "when stop returns, the function is not running and is not called again; other watchers go on"},
		{name: "watch of several openers", run: watchSeveral, need: needSeveral,
			rule: "a change by one opener calls the watchers of the others"},
		{name: "registry closed", run: registryClosed,
			rule: "after Close every call returns ErrClosed, and no watcher is called"},
		{name: "registry closed while busy", run: registryCloseWhileBusy,
			rule: "calls under way during Close end, done or with ErrClosed or ErrUnavailable; acknowledged changes are there when it is opened again"},
	}
}

// watch counts calls, and wakes who waits for one.
func (b *lab) watch(r engine.Registry, kind string) (calls *atomic.Int64, wake chan struct{}, stop func()) {
	calls, wake = new(atomic.Int64), make(chan struct{}, 1)
	stop = r.Watch(kind, func() {
		calls.Add(1)
		select {
		case wake <- struct{}{}:
		default:
		}
	})
	return calls, wake, stop
}

// seen waits until a watcher that lists at every call sees what is wanted.
func (b *lab) seen(r engine.Registry, wake chan struct{}, what string, want func([]engine.Entry) bool) {
	b.Helper()
	for {
		b.eventually("a call of the watcher for "+what, wake)
		entries, err := r.List(b.Context(), "key", "", 0)
		if err != nil {
			b.Fatalf("list: %v", err)
		}
		if want(entries) {
			return
		}
	}
}

func watchEntries(b *lab) {
	r := b.registry()
	b.put(r, "key", "before", "", 0)
	_, wake, stop := b.watch(r, "key")
	defer stop()
	v := b.put(r, "key", "a", "1", 0)
	b.seen(r, wake, "a new entry", func(es []engine.Entry) bool { return len(es) == 2 })
	v = b.put(r, "key", "a", "2", v)
	b.seen(r, wake, "a change", func(es []engine.Entry) bool { return string(es[0].Value) == "2" })
	if err := r.Delete(b.Context(), "key", "a", v, nil); err != nil {
		b.Fatalf("delete: %v", err)
	}
	b.seen(r, wake, "a delete", func(es []engine.Entry) bool { return len(es) == 1 })
	for i := range 30 {
		b.put(r, "key", fmt.Sprintf("n%d", i), "", 0)
	}
	b.seen(r, wake, "the last of many", func(es []engine.Entry) bool { return len(es) == 31 })
}

func watchStops(b *lab) {
	r := b.registry()
	_, wake, stopOther := b.watch(r, "key")
	defer stopOther()
	n := 0
	var stopped []func()
	for range 10 {
		calls, first, stop := b.watch(r, "key")
		b.put(r, "key", fmt.Sprintf("n%d", n), "", 0)
		n++
		b.eventually("a call of the watcher", first)
		stop()
		before := calls.Load()
		b.put(r, "key", fmt.Sprintf("n%d", n), "", 0)
		n++
		b.seen(r, wake, "the watcher that did not stop", func(es []engine.Entry) bool { return len(es) == n })
		stop() // twice is once
		stopped = append(stopped, func() {
			if after := calls.Load(); after != before {
				b.Errorf("%d calls after stop returned", after-before)
			}
		})
	}
	for _, check := range stopped { // many changes later, so that no late call is missed
		check()
	}
}

func watchSeveral(b *lab) {
	one, two := b.registry(), b.registry()
	_, wake, stop := b.watch(two, "key")
	defer stop()
	for i := range 5 {
		b.put(one, "key", fmt.Sprintf("n%d", i), "", 0)
		b.seen(two, wake, "a change by the other", func(es []engine.Entry) bool { return len(es) == i+1 })
	}
}

func registryClosed(b *lab) {
	e := b.engine()
	r := e.Registry()
	b.put(r, "key", "a", "1", 0)
	calls, wake, stop := b.watch(r, "key")
	v := b.put(r, "key", "b", "1", 0)
	b.eventually("a call of the watcher", wake)
	lease, err := r.Acquire(b.Context(), "l", "me", patience)
	if err != nil {
		b.Fatalf("acquire: %v", err)
	}
	b.close(e)
	before := calls.Load()
	_, err = r.Get(b.Context(), "key", "a")
	b.wantError("get after Close", err, engine.ErrClosed)
	_, err = r.List(b.Context(), "key", "", 0)
	b.wantError("list after Close", err, engine.ErrClosed)
	_, err = r.Put(b.Context(), "key", "a", nil, engine.AnyVersion, nil)
	b.wantError("put after Close", err, engine.ErrClosed)
	b.wantError("delete after Close", r.Delete(b.Context(), "key", "b", v, nil), engine.ErrClosed)
	_, err = r.Acquire(b.Context(), "l", "me", patience)
	b.wantError("acquire after Close", err, engine.ErrClosed)
	_, err = r.Renew(b.Context(), lease, patience)
	b.wantError("renew after Close", err, engine.ErrClosed)
	b.wantError("release after Close", r.Release(b.Context(), lease), engine.ErrClosed)
	r.Watch("key", func() { calls.Add(1) })()
	stop()
	if after := calls.Load(); after != before {
		b.Errorf("%d calls of watchers after Close", after-before)
	}
}

func registryCloseWhileBusy(b *lab) {
	e := b.engine()
	r := e.Registry()
	var mu sync.Mutex
	acked := map[string]engine.Entry{}
	errs := make(chan error, 16)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("w%d-%04d", w, i%40)
				v, err := r.Put(b.Context(), "key", name, []byte(fmt.Sprint(i)), engine.AnyVersion, nil)
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				acked[name] = engine.Entry{Value: []byte(fmt.Sprint(i)), Version: v}
				mu.Unlock()
			}
		})
		wg.Go(func() {
			for {
				stop := r.Watch("key", func() {})
				_, err := r.List(b.Context(), "key", "", 10)
				stop()
				if err == nil {
					_, err = r.Acquire(b.Context(), "l", fmt.Sprintf("w%d", w), patience)
				}
				if err != nil && !errors.Is(err, engine.ErrLeaseHeld) {
					errs <- err
					return
				}
			}
		})
	}
	b.until("changes", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(acked) >= 20 || len(errs) > 0
	})
	b.close(e)
	over := make(chan struct{})
	go func() { wg.Wait(); close(over) }()
	b.eventually("the calls that were under way", over)
	close(errs)
	for err := range errs {
		if !ended(err) {
			b.Errorf("a call under way ended with: %v", err)
		}
	}
	if b.h.Reopens {
		compareEntries(b.Context(), b, b.registry(), acked)
	}
}
