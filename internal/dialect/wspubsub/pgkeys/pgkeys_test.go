package pgkeys_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"crier/internal/dialect/wspubsub/keys"
	"crier/internal/dialect/wspubsub/pgkeys"
	"crier/internal/dialect/wspubsub/pgtest"
)

const secret = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

func open(t *testing.T, cfg pgkeys.Config) (*pgkeys.Keys, *pgkeys.Metrics, *bytes.Buffer) {
	t.Helper()
	cfg.Metrics = pgkeys.NewMetrics(nil)
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	k, err := pgkeys.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k, cfg.Metrics, &log
}

// clock is a time that moves only when a test says so.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(by)
}

func check(t *testing.T, k *pgkeys.Keys, domain, key string, want error) *keys.Grant {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	g, err := k.Check(ctx, domain, key)
	if !errors.Is(err, want) {
		t.Errorf("%s of %.20q: %v, want %v", key, domain, err, want)
	}
	return g
}

// eventually asks again until it is so.
func eventually(t *testing.T, what string, within time.Duration, cond func() bool) {
	t.Helper()
	for began := time.Now(); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > within {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Add(t, "test", secret, true)
	db.Add(t, "asleep", "inactive", false)
	db.Add(t, "Ünï/*cödé '", "a key with ' and %", true)
	k, _, _ := open(t, pgkeys.Config{URL: db.URL, Keep: time.Minute})
	before := db.Definition(t)
	if g := check(t, k, "test", secret, nil); g == nil || g.ID != "1" {
		t.Errorf("grant %+v", g)
	}
	check(t, k, "Ünï/*cödé '", "a key with ' and %", nil)
	for _, bad := range [][2]string{
		{"test", "another"}, {"other", secret}, {"asleep", "inactive"}, {"Test", secret}, {"test ", secret}, {"", secret}, {"test", ""},
		{"test\x00", secret}, {"\xff", secret}, {"test", strings.Repeat("x", 37)}, {strings.Repeat("x", 65), secret}, {"test", "' or '1'='1"},
	} {
		check(t, k, bad[0], bad[1], keys.ErrBad)
	}
	if err := k.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if after := db.Definition(t); after != before {
		t.Errorf("the table was altered: %s", after)
	}
}

// TestStorm: ten thousand that come at once, each of them with a key of its own
// or all with one, are few queries.
func TestStorm(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, "insert into apikeys (domain, username, apikey, active) select 'd' || i, '', 'k' || i, i % 2 = 0 from generate_series(0, 9999) i")
	k, m, _ := open(t, pgkeys.Config{URL: db.URL, Keep: time.Minute})
	for _, own := range []bool{true, false} {
		before := testutil.ToFloat64(m.Queries.WithLabelValues("ok"))
		var asking sync.WaitGroup
		for i := range 10_000 {
			n := i
			if !own {
				n = 2
			}
			asking.Go(func() {
				want := error(nil)
				if n%2 == 1 {
					want = keys.ErrBad
				}
				check(t, k, fmt.Sprintf("d%d", n), fmt.Sprintf("k%d", n), want)
			})
		}
		asking.Wait()
		if n := testutil.ToFloat64(m.Queries.WithLabelValues("ok")) - before; n > 100 {
			t.Errorf("keys of their own %v: %v queries", own, n)
		}
	}
}

// TestDeactivated: within seconds, for new connections and for open ones.
func TestDeactivated(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Add(t, "test", secret, true)
	db.Add(t, "stays", "stays", true)
	k, _, _ := open(t, pgkeys.Config{URL: db.URL, Keep: time.Minute})
	ends, stays := make(chan error, 1), make(chan error, 1)
	defer check(t, k, "test", secret, nil).OnEnd(func(cause error) { ends <- cause })()
	defer check(t, k, "stays", "stays", nil).OnEnd(func(cause error) { stays <- cause })()
	db.Exec(t, "update apikeys set active = false where domain = 'test'")
	began := time.Now()
	select {
	case cause := <-ends:
		if !errors.Is(cause, keys.ErrRevoked) {
			t.Errorf("ended with %v", cause)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the open connection goes on")
	}
	check(t, k, "test", secret, keys.ErrBad)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	// And back: also within seconds.
	db.Exec(t, "update apikeys set active = true where domain = 'test'")
	eventually(t, "active again", 5*time.Second, func() bool {
		_, err := k.Check(t.Context(), "test", secret)
		return err == nil
	})
	select {
	case cause := <-stays:
		t.Errorf("another key's connection ended with %v", cause)
	default:
	}
}

// TestAway: known keys go on working for a time, others cannot be checked, and
// all is well again by itself.
func TestAway(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Add(t, "test", secret, true)
	const keep = time.Hour
	c := &clock{at: time.Now()}
	k, m, log := open(t, pgkeys.Config{URL: db.URL, Keep: keep, Now: c.now})
	g := check(t, k, "test", secret, nil)
	ended := make(chan error, 1)
	defer g.OnEnd(func(cause error) { ended <- cause })()
	check(t, k, "unknown", "x", keys.ErrBad)
	db.Away(true)
	eventually(t, "Ping fails", 5*time.Second, func() bool { return k.Ping(t.Context()) != nil })
	c.advance(3 * time.Second) // what was answered is not fresh any more
	failed := func() float64 { return testutil.ToFloat64(m.Queries.WithLabelValues("failed")) }
	before, began := failed(), time.Now()
	for range 1000 {
		check(t, k, "test", secret, nil)
	}
	check(t, k, "unknown", "x", keys.ErrUnavailable)
	check(t, k, "test", "another", keys.ErrUnavailable)
	// One of those who asked was waited for; the sweeps ask in real time.
	if n := failed() - before; n == 0 || n > 3+time.Since(began).Seconds() {
		t.Errorf("%v queries failed", n)
	}
	c.advance(keep - 4*time.Second)
	check(t, k, "test", secret, nil)
	c.advance(5 * time.Second)
	check(t, k, "test", secret, keys.ErrUnavailable)
	db.Away(false)
	eventually(t, "it recovers", 5*time.Second, func() bool {
		c.advance(time.Second) // it is worth asking again
		_, err := k.Check(t.Context(), "test", secret)
		return err == nil
	})
	check(t, k, "unknown", "x", keys.ErrBad)
	select {
	case cause := <-ended:
		t.Errorf("an open connection ended with %v", cause)
	default:
	}
	k.Close()
	if got := log.String(); strings.Count(got, "cannot be asked") != 1 || !strings.Contains(got, "answers again") || strings.Contains(got, secret) {
		t.Errorf("logged %s", got)
	}
}

// TestDatabaseComesLate: a server starts without it.
func TestDatabaseComesLate(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Add(t, "test", secret, true)
	db.Away(true)
	k, _, _ := open(t, pgkeys.Config{URL: db.URL, Keep: time.Minute})
	check(t, k, "test", secret, keys.ErrUnavailable)
	if k.Ping(t.Context()) == nil {
		t.Error("Ping says that it is there")
	}
	db.Away(false)
	eventually(t, "it is there", 5*time.Second, func() bool {
		_, err := k.Check(t.Context(), "test", secret)
		return err == nil && k.Ping(t.Context()) == nil
	})
	db.Exec(t, "drop table apikeys")
	if err := k.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "apikeys") {
		t.Errorf("without the table: %v", err)
	}
}

// Whoever asks after the end is told, and does not wait for nobody.
func TestAskedAfterClose(t *testing.T) {
	k, _, _ := open(t, pgkeys.Config{URL: "postgres://127.0.0.1:1/none"})
	k.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := k.Check(ctx, "d", secret); !errors.Is(err, keys.ErrUnavailable) || ctx.Err() != nil {
		t.Errorf("%v, %v", err, ctx.Err())
	}
}

func TestBadURL(t *testing.T) {
	for _, url := range []string{"", "mysql://x", "postgres://user:pa ss%zz@host/db", "host=localhost password=hunter2"} {
		if _, err := pgkeys.Open(t.Context(), pgkeys.Config{URL: url}); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "pa ss") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
