package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"crier/internal/engine"
)

// commits returns how many commits the file has seen.
func commits(t *testing.T, r *Registry) int {
	t.Helper()
	n := 0
	if err := r.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func openAt(t *testing.T, path string, now func() time.Time) *Registry {
	t.Helper()
	r, err := Open(path, Config{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A lease that is renewed at every third of its time, as is usual, is
// committed at every fourth renewal or less often.
func TestMostExtensionsCostNoCommit(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := openAt(t, filepath.Join(t.TempDir(), "registry"), func() time.Time { return now })
	const ttl, renewals = 9 * time.Second, 60
	l, err := r.Acquire(t.Context(), "l", "me", ttl)
	if err != nil {
		t.Fatal(err)
	}
	before := commits(t, r)
	for i := range renewals {
		now = now.Add(ttl / 3)
		if i%2 == 0 {
			l, err = r.Renew(t.Context(), l, ttl)
		} else {
			l, err = r.Acquire(t.Context(), "l", "me", ttl)
		}
		if err != nil || !l.Until.Equal(now.Add(ttl)) {
			t.Fatalf("extension %d: %+v, %v", i, l, err)
		}
	}
	if n := commits(t, r) - before; n > renewals/4+1 {
		t.Errorf("%d extensions made %d commits", renewals, n)
	} else {
		t.Logf("%d extensions made %d commits", renewals, n)
	}
}

// After a crash a lease is held at least until the end that its holder was
// told, and not much longer; Close writes the true end.
func TestTheEndInTheFileIsNeverTooEarly(t *testing.T) {
	const ttl = 9 * time.Second
	for _, crash := range []bool{true, false} {
		t.Run(fmt.Sprintf("crash=%v", crash), func(t *testing.T) {
			now := time.Unix(1_800_000_000, 0)
			path := filepath.Join(t.TempDir(), "registry")
			r := openAt(t, path, func() time.Time { return now })
			l, err := r.Acquire(t.Context(), "l", "me", ttl)
			if err != nil {
				t.Fatal(err)
			}
			for range 20 {
				now = now.Add(ttl / 4)
				if l, err = r.Renew(t.Context(), l, ttl); err != nil {
					t.Fatal(err)
				}
				if !crash {
					continue
				}
				if held := leaseInCopy(t, path).Until; held.Before(l.Until) || held.After(l.Until.Add(ttl)) {
					t.Fatalf("the holder was told %s, after a crash it would be %s", l.Until, held)
				}
			}
			if crash {
				return
			}
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if held := leaseInCopy(t, path).Until; !held.Equal(l.Until) {
				t.Errorf("the holder was told %s, after Close it is %s", l.Until, held)
			}
		})
	}
}

// leaseInCopy opens a copy of the file, as it is after a crash, and returns
// its only lease.
func leaseInCopy(t *testing.T, path string) engine.Lease {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(copied, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	r := openAt(t, copied, time.Now)
	if len(r.leases) != 1 {
		t.Fatalf("%d leases, want 1", len(r.leases))
	}
	return r.leases["l"].Lease
}

// Leases that nobody holds any more do not pile up.
func TestExpiredLeasesAreDropped(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	r := openAt(t, filepath.Join(t.TempDir(), "registry"), func() time.Time { return now })
	token := uint64(0)
	for i := range 150 {
		l, err := r.Acquire(t.Context(), fmt.Sprintf("connection-%d", i), "me", time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if l.Token <= token {
			t.Fatalf("token %d after %d", l.Token, token)
		}
		token = l.Token
		now = now.Add(250 * time.Millisecond)
	}
	stored := 0
	err := r.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(leasesBucket).ForEach(func(_, _ []byte) error { stored++; return nil })
	})
	if err != nil {
		t.Fatal(err)
	}
	if stored > 20 || len(r.leases) > 20 {
		t.Errorf("%d leases are in the file and %d in memory, 4 are held", stored, len(r.leases))
	}
}

// Several that start for the first time at once: one has it, and no other
// takes it away.
func TestOneOfSeveralFirstStartsWins(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "registry")
		var mu sync.Mutex
		var won []*Registry
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				r, err := Open(path, Config{LockTimeout: 200 * time.Millisecond})
				if err != nil {
					return // it may fail in several ways, as long as it fails
				}
				mu.Lock()
				defer mu.Unlock()
				won = append(won, r)
			})
		}
		wg.Wait()
		if len(won) > 1 {
			t.Errorf("%d have one registry", len(won))
		}
		for _, r := range won {
			if _, err := r.Put(t.Context(), "key", "a", []byte("x"), 0, nil); err != nil {
				t.Errorf("put by the one that has it: %v", err)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		r := openAt(t, path, nil)
		_, err := r.Get(t.Context(), "key", "a")
		if len(won) == 1 && err != nil || len(won) == 0 && !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("what the winner wrote: %v", err)
		}
	}
}
