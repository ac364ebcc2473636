package keys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/engine"
	"crier/internal/engine/memory"
)

// registry is one in memory that can be away, and can lose its rings.
type registry struct {
	engine.Registry
	away atomic.Bool
	deaf bool
}

func (r *registry) Get(ctx context.Context, kind, name string) (engine.Entry, error) {
	if r.away.Load() {
		return engine.Entry{}, fmt.Errorf("%w: test", engine.ErrUnavailable)
	}
	return r.Registry.Get(ctx, kind, name)
}

func (r *registry) Watch(kind string, fn func()) func() {
	if r.deaf {
		return func() {}
	}
	return r.Registry.Watch(kind, fn)
}

func newRegistry() *registry { return &registry{Registry: memory.NewRegistry(time.Now)} }

var ctx = context.Background()

func create(t *testing.T, k *keys.Registry, domain, name string) (keys.Key, string) {
	t.Helper()
	key, secret, err := k.Create(ctx, domain, name)
	if err != nil {
		t.Fatal(err)
	}
	return key, secret
}

func TestRegistry(t *testing.T) {
	var log bytes.Buffer
	reg := newRegistry()
	k := &keys.Registry{Registry: reg, Log: slog.New(slog.NewTextHandler(&log, nil))}
	key, secret := create(t, k, "a domain/1", "hello@example.com")
	if got, err := k.Get(ctx, key.ID); err != nil || got != key || got.State() != "active" {
		t.Errorf("get: %+v, %v", got, err)
	}
	entries, err := reg.List(ctx, "wspubsub-key", "", 10)
	if err != nil || len(entries) != 1 || strings.Contains(string(entries[0].Value)+entries[0].Name, secret) {
		t.Errorf("%d entries, or the secret is in one: %v", len(entries), err)
	}
	for _, id := range []string{"", "x", strings.Repeat("0", 16), secret, entries[0].Name, key.ID[:15]} {
		if _, err := k.Get(ctx, id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("get %q: %v", id, err)
		}
		if _, err := k.Revoke(ctx, id); !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("revoke %q: %v", id, err)
		}
	}
	first, err := k.Revoke(ctx, key.ID)
	again, err2 := k.Revoke(ctx, key.ID)
	if err != nil || err2 != nil || first.State() != "revoked" || again != first {
		t.Errorf("revoked: %+v, %+v, %v, %v", first, again, err, err2)
	}
	if got := log.String(); strings.Contains(got, secret) || strings.Count(got, "created") != 1 || strings.Count(got, "revoked") != 1 {
		t.Errorf("logged %s", got)
	}
	for _, bad := range []struct{ domain, name string }{
		{"", ""}, {strings.Repeat("é", 65), ""}, {"a\n", ""}, {"\xff", ""}, {"a", strings.Repeat("n", 255)}, {"a", "\x00"},
	} {
		if _, _, err := k.Create(ctx, bad.domain, bad.name); !errors.Is(err, keys.ErrSpec) {
			t.Errorf("create %.10q %.10q: %v", bad.domain, bad.name, err)
		}
	}
	if _, _, err := k.Create(ctx, strings.Repeat("é", 64), ""); err != nil {
		t.Error(err)
	}
}

func TestList(t *testing.T) {
	k := &keys.Registry{Registry: newRegistry()}
	for i := range 25 {
		create(t, k, fmt.Sprint("d", i%2), "")
	}
	for domain, want := range map[string]int{"": 25, "d0": 13, "d1": 12, "d2": 0} {
		n, after := 0, ""
		for {
			page, err := k.List(ctx, domain, after, 4)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range page {
				if key.ID <= after || domain != "" && key.Domain != domain {
					t.Errorf("%+v after %s of %q", key, after, domain)
				}
				after = key.ID
				n++
			}
			if len(page) < 4 {
				break
			}
		}
		if n != want {
			t.Errorf("%d keys of %q, want %d", n, domain, want)
		}
	}
}

func TestChecker(t *testing.T) {
	reg := newRegistry()
	k := &keys.Registry{Registry: reg}
	key, secret := create(t, k, "test", "")
	c := keys.NewChecker(ctx, k)
	defer c.Close()
	check := func(domain, secret string, want error) {
		t.Helper()
		g, err := c.Check(ctx, domain, secret)
		if !errors.Is(err, want) || (err == nil) != (g != nil && g.ID == key.ID) {
			t.Errorf("%q: %+v, %v, want %v", domain, g, err, want)
		}
	}
	check("test", secret, nil)
	check("other", secret, keys.ErrBad)
	check("test", secret+"x", keys.ErrBad)
	check("test", "", keys.ErrBad)
	reg.away.Store(true)
	check("test", secret, keys.ErrUnavailable)
	reg.away.Store(false)
	if _, err := k.Revoke(ctx, key.ID); err != nil {
		t.Fatal(err)
	}
	check("test", secret, keys.ErrBad)
}

// TestRevokedWhileOpen: whoever was let in with a key is told when it is
// revoked: at once, or within seconds where the ring is lost or the revocation
// came between the check and the connection.
func TestRevokedWhileOpen(t *testing.T) {
	for _, tt := range []struct {
		name        string
		deaf, early bool
		within      time.Duration
	}{
		{"rung", false, false, 0}, {"the ring is lost", true, false, 5 * time.Second}, {"between check and connection", false, true, 5 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := newRegistry()
				reg.deaf = tt.deaf
				k := &keys.Registry{Registry: reg}
				key, secret := create(t, k, "test", "")
				_, other := create(t, k, "test", "")
				c := keys.NewChecker(ctx, k)
				defer c.Close()
				grant, err := c.Check(ctx, "test", secret)
				if err != nil {
					t.Fatal(err)
				}
				stays, err := c.Check(ctx, "test", other)
				if err != nil {
					t.Fatal(err)
				}
				defer stays.OnEnd(func(cause error) { t.Errorf("another key ended with %v", cause) })()
				time.Sleep(12 * time.Second)
				revoke := func() {
					if _, err := k.Revoke(ctx, key.ID); err != nil {
						t.Error(err)
					}
					synctest.Wait()
				}
				if tt.early {
					revoke()
				}
				ended := make(chan error, 3)
				one := grant.OnEnd(func(cause error) { ended <- cause })
				two := grant.OnEnd(func(cause error) { ended <- cause })
				gone := grant.OnEnd(func(error) { t.Error("told after stop") })
				gone()
				gone()
				began := time.Now()
				if !tt.early {
					revoke()
				}
				for range 2 {
					if cause := <-ended; !errors.Is(cause, keys.ErrRevoked) {
						t.Errorf("ended with %v", cause)
					}
				}
				if d := time.Since(began); d > tt.within {
					t.Errorf("it took %v", d)
				}
				one()
				two()
				time.Sleep(time.Minute) // nobody is told twice
				if len(ended) != 0 {
					t.Error("told twice")
				}
			})
		})
	}
}

// TestPrint: pairs that read alike are told apart.
func TestPrint(t *testing.T) {
	seen := map[keys.Print]keys.Pair{}
	for _, p := range []keys.Pair{{"a", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""}, {"1:a", "bc"}} {
		if other, twice := seen[p.Print()]; twice {
			t.Errorf("%v and %v have one print", p, other)
		}
		seen[p.Print()] = p
	}
}
