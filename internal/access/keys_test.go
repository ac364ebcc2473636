package access_test

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crier/internal/access"
	"crier/internal/engine"
)

func TestKeyLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newRegistry()
		key, secret := createKey(t, reg, access.KeySpec{
			Name: "till", Publish: patterns(t, "orders/*"), Subscribe: patterns(t, "news/**"), Manage: patterns(t, "**"),
			Expires: time.Now().Add(90 * 24 * time.Hour),
		})
		if !regexp.MustCompile(`^crier_[A-Z2-7]{12}_[A-Z2-7]{33}$`).MatchString(secret) || !strings.Contains(secret, key.ID) {
			t.Errorf("secret %s of key %s", secret, key.ID)
		}
		entry, err := reg.Get(t.Context(), "key", key.ID)
		if err != nil || bytes.Contains(entry.Value, []byte(secret[len(secret)-30:])) {
			t.Errorf("%v, the registry has %s", err, entry.Value)
		}
		a := start(t, access.Config{Registry: reg})
		defer a.Close()
		id := mustBe(t, a, request(secret), access.KindKey)
		if id.ID != key.ID || id.Name != "till" || id.Credential() != "key:"+key.ID || !id.Expires.Equal(key.Expires) {
			t.Errorf("identity %v %s %v", id, id.Credential(), id.Expires)
		}
		for action, pattern := range map[access.Action]string{access.Publish: "orders/1", access.Subscribe: "news/**", access.Manage: "**"} {
			if err := id.May(action, "main", patterns(t, pattern)...); err != nil {
				t.Error(err)
			}
		}
		if other := mustBe(t, a, request(secret), access.KindKey); other.Credential() != id.Credential() {
			t.Error("two uses of a key are two credentials")
		}

		ended := endOf(id)
		begin := time.Now()
		revoked, err := (&access.Keys{Registry: reg}).Revoke(t.Context(), key.ID)
		if err != nil || revoked.Revoked.IsZero() || revoked.State(time.Now()) != "revoked" {
			t.Fatalf("%+v, %v", revoked, err)
		}
		if cause := <-ended; !errors.Is(cause, access.ErrRevoked) || time.Since(begin) > time.Second {
			t.Errorf("ended with %v after %v", cause, time.Since(begin))
		}
		_, err = a.Authenticate(request(secret))
		wantRefusal(t, err, 401, access.Revoked, "key "+key.ID+" was revoked")
		again, err := a.Keys().Revoke(t.Context(), key.ID)
		if err != nil || again.Revoked != revoked.Revoked {
			t.Errorf("revoked twice: %+v, %v", again, err)
		}
	})
}

func TestRevocationReachesConnections(t *testing.T) {
	for _, tt := range []struct {
		name   string
		deaf   bool
		revoke func(t *testing.T, a *access.Authority, reg *registry, id string)
		within time.Duration
	}{
		{"revoked here", true, func(t *testing.T, a *access.Authority, _ *registry, id string) {
			if _, err := a.Keys().Revoke(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"revoked on another node", false, func(t *testing.T, _ *access.Authority, reg *registry, id string) {
			if _, err := (&access.Keys{Registry: reg}).Revoke(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}, time.Second},
		{"the ring is lost", true, func(t *testing.T, _ *access.Authority, reg *registry, id string) {
			if _, err := (&access.Keys{Registry: reg}).Revoke(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}, 6 * time.Second},
		{"the domain's keys are revoked", false, func(t *testing.T, a *access.Authority, _ *registry, _ string) {
			if err := a.Keys().RevokeDomain(t.Context(), "main"); err != nil {
				t.Fatal(err)
			}
		}, 0},
		{"the entry is deleted", false, func(t *testing.T, _ *access.Authority, reg *registry, id string) {
			if err := reg.Delete(t.Context(), "key", id, engine.AnyVersion, nil); err != nil {
				t.Fatal(err)
			}
		}, time.Second},
		{"the entry is spoilt", false, func(t *testing.T, _ *access.Authority, reg *registry, id string) {
			if _, err := reg.Put(t.Context(), "key", id, []byte("{"), engine.AnyVersion, nil); err != nil {
				t.Fatal(err)
			}
		}, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reg := newRegistry()
				reg.deaf = tt.deaf
				key, secret := createKey(t, reg, access.KeySpec{})
				_, otherSecret := createKey(t, reg, access.KeySpec{Domain: "other"})
				a := start(t, access.Config{Registry: reg})
				defer a.Close()
				id := mustBe(t, a, request(secret), access.KindKey)
				first, second := endOf(id), endOf(mustBe(t, a, request(secret), access.KindKey))
				other := mustBe(t, a, request(otherSecret), access.KindKey)
				stop := id.OnEnd(func(error) { t.Error("told after stop") })
				stop()
				time.Sleep(time.Hour)
				begin := time.Now()
				tt.revoke(t, a, reg, key.ID)
				for _, ended := range []<-chan error{first, second} {
					if cause := <-ended; !errors.Is(cause, access.ErrRevoked) || time.Since(begin) > tt.within {
						t.Errorf("ended with %v after %v", cause, time.Since(begin))
					}
				}
				if _, err := a.Authenticate(request(secret)); err == nil {
					t.Error("still good")
				}
				if err := other.Ended(); err != nil {
					t.Errorf("another key ended: %v", err)
				}
			})
		})
	}
}

func TestKeyExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newRegistry()
		key, secret := createKey(t, reg, access.KeySpec{Expires: time.Now().Add(time.Hour)})
		a := start(t, access.Config{Registry: reg})
		defer a.Close()
		ended := endOf(mustBe(t, a, request(secret), access.KindKey))
		begin := time.Now()
		if cause := <-ended; !errors.Is(cause, access.ErrExpired) || time.Since(begin) != time.Hour {
			t.Errorf("ended with %v after %v", cause, time.Since(begin))
		}
		_, err := a.Authenticate(request(secret))
		wantRefusal(t, err, 401, access.Expired, "has expired")
		later := start(t, access.Config{Registry: reg}) // which never knew it alive
		defer later.Close()
		_, err = later.Authenticate(request(secret))
		wantRefusal(t, err, 401, access.Expired, "has expired")
		if got, err := a.Keys().Get(t.Context(), key.ID); err != nil || got.State(time.Now()) != "expired" || got.State(begin) != "active" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestKeySpec(t *testing.T) {
	many := slices.Repeat(patterns(t, "x"), access.MaxGrants+1)
	for _, tt := range []struct {
		name string
		spec access.KeySpec
		want string
	}{
		{"no domain", access.KeySpec{Publish: many[:1]}, "domain is empty"},
		{"bad domain", access.KeySpec{Domain: "a/b", Publish: many[:1]}, "byte 1"},
		{"no grants", access.KeySpec{Domain: "main"}, "at least one of publish, subscribe, manage"},
		{"too many grants", access.KeySpec{Domain: "main", Publish: many}, "257 patterns, the limit is 256"},
		{"long name", access.KeySpec{Domain: "main", Publish: many[:1], Name: strings.Repeat("n", 129)}, "at most 128 bytes"},
		{"line break in the name", access.KeySpec{Domain: "main", Publish: many[:1], Name: "a\nb"}, "control characters"},
		{"name not UTF-8", access.KeySpec{Domain: "main", Publish: many[:1], Name: "\xff"}, "UTF-8"},
		{"expired already", access.KeySpec{Domain: "main", Publish: many[:1], Expires: time.Now().Add(-time.Second)}, "has passed already"},
		{"ends in the year 10000", access.KeySpec{Domain: "main", Publish: many[:1], Expires: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -2*60*60))}, "year 9999"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			reg := newRegistry()
			_, _, err := access.CreateKey(t.Context(), reg, tt.spec)
			if !errors.Is(err, access.ErrKeySpec) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrKeySpec with %q", err, tt.want)
			}
			if !start(t, access.Config{Registry: reg}).Open() {
				t.Error("a key that was not made closed the server")
			}
		})
	}
}

func TestListKeys(t *testing.T) {
	reg := newRegistry()
	keys := &access.Keys{Registry: reg}
	want := map[string][]string{}
	for i := range 1203 {
		domain := []string{"main", "shop", "main"}[i%3]
		key, _ := createKey(t, reg, access.KeySpec{Domain: domain})
		want[domain] = append(want[domain], key.ID)
		want[""] = append(want[""], key.ID)
	}
	for domain, ids := range want {
		slices.Sort(ids)
		for _, limit := range []int{100, 400, 5000} {
			var got []string
			after := ""
			for {
				some, err := keys.List(t.Context(), domain, after, limit)
				if err != nil || len(some) > limit {
					t.Fatalf("%d keys, %v", len(some), err)
				}
				for _, k := range some {
					got = append(got, k.ID)
					after = k.ID
				}
				if len(some) < limit {
					break
				}
			}
			if !slices.Equal(got, ids) {
				t.Errorf("domain %q by %d: %d keys, want %d", domain, limit, len(got), len(ids))
			}
		}
	}
	if _, err := keys.Get(t.Context(), "none"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if _, err := keys.Revoke(t.Context(), "none"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

func TestLastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newRegistry()
		var secrets []string
		for range 120 {
			_, secret := createKey(t, reg, access.KeySpec{})
			secrets = append(secrets, secret)
		}
		a := start(t, access.Config{Registry: reg})
		defer a.Close()
		used := func() (n int, last time.Time) {
			keys, err := a.Keys().List(t.Context(), "main", "", 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				if !k.LastUsed.IsZero() {
					n, last = n+1, k.LastUsed
				}
			}
			return n, last
		}
		before := reg.puts.Load()
		begin := time.Now()
		for range 100 {
			mustBe(t, a, request(secrets[0]), access.KindKey)
		}
		time.Sleep(11 * time.Second)
		if n, last := used(); n != 1 || last.Sub(begin).Abs() > time.Second {
			t.Errorf("%d keys were used, last at %v, want one at %v", n, last, begin)
		}
		if puts := reg.puts.Load() - before; puts != 1 {
			t.Errorf("%d writes for a hundred uses", puts)
		}
		time.Sleep(time.Minute)
		again := time.Now()
		for _, s := range secrets {
			mustBe(t, a, request(s), access.KindKey)
		}
		time.Sleep(10 * time.Second)
		if n, _ := used(); n > 60 {
			t.Errorf("%d keys written at once", n)
		}
		time.Sleep(time.Minute)
		if n, last := used(); n != len(secrets) || last.Before(again.Truncate(time.Second)) {
			t.Errorf("%d keys were used, last at %v", n, last)
		}

		time.Sleep(time.Minute)
		reg.failing.Store(true)
		mustBe(t, a, request(secrets[0]), access.KindKey)
		time.Sleep(time.Minute)
		reg.failing.Store(false)
		late := time.Now()
		a.Close() // which writes what is left
		if key, err := a.Keys().Get(t.Context(), strings.Split(secrets[0], "_")[1]); err != nil || late.Sub(key.LastUsed) > 2*time.Minute {
			t.Errorf("last used %v, %v", key.LastUsed, err)
		}
	})
}

// Keys that are known go on working while the registry is away; others get a
// 503, not a 401.
func TestRegistryAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newRegistry()
		known, knownSecret := createKey(t, reg, access.KeySpec{})
		_, unknown := createKey(t, reg, access.KeySpec{})
		a := start(t, access.Config{Registry: reg})
		defer a.Close()
		id := mustBe(t, a, request(knownSecret), access.KindKey)
		ended := endOf(id)
		reg.failing.Store(true)
		time.Sleep(time.Hour)
		mustBe(t, a, request(knownSecret), access.KindKey)
		_, err := a.Authenticate(request(unknown))
		wantRefusal(t, err, 503, access.Unavailable, "try again later")
		if !errors.Is(err, engine.ErrUnavailable) {
			t.Errorf("%v hides its cause", err)
		}
		if id.Ended() != nil {
			t.Error("ended because the registry is away")
		}
		reg.failing.Store(false)
		if _, err := (&access.Keys{Registry: reg}).Revoke(t.Context(), known.ID); err != nil {
			t.Fatal(err)
		}
		if cause := <-ended; !errors.Is(cause, access.ErrRevoked) {
			t.Errorf("ended with %v", cause)
		}
	})
}

// Many keys and a small memory: those that connections hold are found by a
// revocation all the same, also if they had been pushed out before.
func TestSmallCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := newRegistry()
		reg.deaf = true
		a := start(t, access.Config{Registry: reg, KeyCache: 3})
		defer a.Close()
		type conn struct {
			id    *access.Identity
			ended <-chan error
		}
		var conns []conn
		var ids []string
		for i := range 40 {
			key, secret := createKey(t, reg, access.KeySpec{})
			ids = append(ids, key.ID)
			id := mustBe(t, a, request(secret), access.KindKey)
			var ended <-chan error
			if i%2 == 0 {
				ended = endOf(id)
			}
			conns = append(conns, conn{id, ended})
		}
		for i := range conns {
			if conns[i].ended == nil { // authenticated long ago
				conns[i].ended = endOf(conns[i].id)
			}
		}
		for i, id := range ids[:20] {
			if _, err := a.Keys().Revoke(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if cause := <-conns[i].ended; !errors.Is(cause, access.ErrRevoked) {
				t.Errorf("ended with %v", cause)
			}
		}
		for _, c := range conns[20:] {
			if err := c.id.Ended(); err != nil {
				t.Errorf("ended with %v", err)
			}
		}
	})
}

// A key is looked up once.
func TestKeyIsRemembered(t *testing.T) {
	reg := newRegistry()
	_, secret := createKey(t, reg, access.KeySpec{})
	a := start(t, access.Config{Registry: reg})
	mustBe(t, a, request(secret), access.KindKey)
	before := reg.gets.Load()
	for range 100 {
		mustBe(t, a, request(secret), access.KindKey)
	}
	if n := reg.gets.Load() - before; n != 0 {
		t.Errorf("%d looks at the registry", n)
	}
}
