// Package pgkeys asks the ancestor's table of keys in PostgreSQL, as it is: it
// only ever reads it.
//
//	select … from apikeys where active and domain = … and apikey = …
//
// The invariant: however many ask at once, one query at a time is under way,
// for all that asked while the one before was. What was answered is good for a
// moment, so that a key that is deactivated stops working within seconds; keys
// with open connections are asked for again and again, and when one is not
// active any more its connections end. While the database is away, a key that
// was good not too long ago goes on working, others cannot be checked.
package pgkeys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/dialect/wspubsub/keys"
)

// Limits of the ancestor's table, in characters: what is longer is in no row.
const (
	maxDomain = 64
	maxKey    = 36
)

// How often and how long the database is asked.
const (
	freshGood    = 2 * time.Second
	freshBad     = time.Second
	sweepEvery   = 2 * time.Second
	queryTimeout = 3 * time.Second
	againAfter   = 500 * time.Millisecond // it did not answer
	maxAsked     = 1000                   // pairs in one query
)

// Metrics of the keys.
type Metrics struct {
	Checks  *prometheus.CounterVec // by result
	Queries *prometheus.CounterVec // by outcome
}

// NewMetrics makes the metrics and registers them (nil: nowhere).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		Checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_wspubsub_key_checks_total", Help: "Checks of wspubsub's keys against PostgreSQL, by result: good, bad, kept (good while the database is away) or unavailable.",
		}, []string{"result"}),
		Queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_wspubsub_key_queries_total", Help: "Queries for wspubsub's keys to PostgreSQL, by outcome.",
		}, []string{"outcome"}),
	}
	if reg != nil {
		reg.MustRegister(m.Checks, m.Queries)
	}
	return m
}

// Config is what Keys needs; URL is required.
type Config struct {
	URL     string        // postgres://…
	Keep    time.Duration // how long a key that was good goes on working while the database is away
	Metrics *Metrics
	Logger  *slog.Logger     // nil: none
	Now     func() time.Time // by which what is known grows old; nil: time.Now
}

// Keys is the [keys.Source] that asks PostgreSQL. Its methods may be called
// concurrently.
type Keys struct {
	cfg     Config
	pool    *pgxpool.Pool
	inUse   keys.InUse
	life    context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // capacity 1: somebody asks

	mu      sync.Mutex // guards the fields below
	waiting map[keys.Print]*question
	known   memory
	away    time.Time // when it is worth asking again; zero: the database answers
}

// question is a pair that somebody asks for.
type question struct {
	pair keys.Pair
	done chan struct{} // closed when the fields below are set
	id   string        // "": there is no such active key
	err  error
}

// Open makes the source. The database need not be there yet; an error is of the
// URL, and says nothing of its password.
func Open(ctx context.Context, cfg Config) (*Keys, error) {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	parsed, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil || !strings.HasPrefix(cfg.URL, "postgres://") && !strings.HasPrefix(cfg.URL, "postgresql://") {
		// The error of the driver may repeat parts of the URL.
		return nil, errors.New("the URL cannot be read; write it as postgres://USER:PASSWORD@HOST:5432/DATABASE")
	}
	parsed.MaxConns = 2 // one for queries, one for Ping
	parsed.ConnConfig.ConnectTimeout = queryTimeout
	parsed.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec // no prepared statements: poolers may stand between
	parsed.ConnConfig.RuntimeParams["application_name"] = "crier"
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), parsed)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	k := &Keys{cfg: cfg, pool: pool, wake: make(chan struct{}, 1), waiting: map[keys.Print]*question{}, known: newMemory()}
	k.life, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	k.running.Go(func() { k.run(k.life) })
	return k, nil
}

// Close ends what is under way; whoever asks is told that it is unavailable.
func (k *Keys) Close() {
	k.stop()
	k.running.Wait()
	k.pool.Close()
}

// Ping asks whether keys could be looked up now.
func (k *Keys) Ping(ctx context.Context) error {
	if _, err := k.pool.Exec(ctx, `select domain, apikey, active, id from apikeys limit 0`); err != nil {
		return fmt.Errorf("table apikeys: %w", err)
	}
	return nil
}

// Check implements [keys.Source].
func (k *Keys) Check(ctx context.Context, domain, key string) (*keys.Grant, error) {
	if !possible(domain, maxDomain) || !possible(key, maxKey) {
		k.count("bad")
		return nil, keys.ErrBad
	}
	pair := keys.Pair{Domain: domain, Key: key}
	id, err := k.ask(ctx, pair)
	switch {
	case err == nil && id != "":
		k.count("good")
	case err == nil:
		k.count("bad")
		return nil, keys.ErrBad
	default:
		k.mu.Lock()
		id = k.known.kept(pair.Print(), k.cfg.Now(), k.cfg.Keep)
		k.mu.Unlock()
		if id == "" {
			k.count("unavailable")
			return nil, fmt.Errorf("%w: %w", keys.ErrUnavailable, err)
		}
		k.count("kept")
	}
	return k.inUse.Grant(pair, id), nil
}

// possible reports whether a text could be in a column of so many characters.
func possible(s string, most int) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && strings.IndexByte(s, 0) < 0
}

func (k *Keys) count(result string) { k.cfg.Metrics.Checks.WithLabelValues(result).Inc() }

// errAway is the answer while the database did not answer a moment ago.
var errAway = errors.New("PostgreSQL did not answer a moment ago")

// ask gives the id of an active key, or "": from memory if that is fresh, else
// from the next query.
func (k *Keys) ask(ctx context.Context, pair keys.Pair) (string, error) {
	print, now := pair.Print(), k.cfg.Now()
	k.mu.Lock()
	if id, fresh := k.known.fresh(print, now); fresh {
		k.mu.Unlock()
		return id, nil
	}
	if now.Before(k.away) {
		k.mu.Unlock()
		return "", errAway
	}
	q := k.waiting[print]
	if q == nil {
		q = &question{pair: pair, done: make(chan struct{})}
		k.waiting[print] = q
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
	select {
	case <-q.done:
		return q.id, q.err
	case <-k.life.Done():
		return "", k.life.Err()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// run answers questions, and asks for the keys in use now and then.
func (k *Keys) run(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			k.answer(ctx, k.take()) // with an error
			return
		case <-k.wake:
			k.answer(ctx, k.take())
		case <-sweep.C:
			k.sweep(ctx)
		}
	}
}

// take gives all that wait.
func (k *Keys) take() map[keys.Print]*question {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.waiting
	k.waiting = map[keys.Print]*question{}
	return all
}

// answer answers questions, so many in a query.
func (k *Keys) answer(ctx context.Context, all map[keys.Print]*question) {
	var some []*question
	pairs := make([]keys.Pair, 0, min(len(all), maxAsked))
	flush := func() {
		if len(some) == 0 {
			return
		}
		ids, err := k.query(ctx, pairs)
		for _, q := range some {
			q.id, q.err = ids[q.pair], err
			close(q.done)
		}
		some, pairs = nil, pairs[:0]
	}
	for _, q := range all {
		some, pairs = append(some, q), append(pairs, q.pair)
		if len(some) == maxAsked {
			flush()
		}
	}
	flush()
}

// query asks the database which of the pairs are active, and remembers it.
func (k *Keys) query(ctx context.Context, pairs []keys.Pair) (map[keys.Pair]string, error) {
	ids, err := k.readApart(ctx, pairs)
	now := k.cfg.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.cfg.Metrics.Queries.WithLabelValues("failed").Inc()
		if k.away.IsZero() && ctx.Err() == nil {
			k.cfg.Logger.WarnContext(ctx, "keys of wspubsub cannot be asked of PostgreSQL; those that are known go on working", "for", k.cfg.Keep, "error", err)
		}
		k.away = now.Add(againAfter)
		return nil, err
	}
	k.cfg.Metrics.Queries.WithLabelValues("ok").Inc()
	if !k.away.IsZero() {
		k.away = time.Time{}
		k.cfg.Logger.InfoContext(ctx, "PostgreSQL answers again")
	}
	for _, p := range pairs {
		k.known.note(p.Print(), ids[p], now)
	}
	return ids, nil
}

// readApart is read, but for one thing: a text that the database's encoding has
// no room for is in no row, and must not spoil the query for all others.
func (k *Keys) readApart(ctx context.Context, pairs []keys.Pair) (map[keys.Pair]string, error) {
	ids, err := k.read(ctx, pairs)
	if refused, ok := errors.AsType[*pgconn.PgError](err); !ok || !strings.HasPrefix(refused.Code, dataException) {
		return ids, err
	}
	if len(pairs) == 1 {
		return nil, nil
	}
	ids, err = k.readApart(ctx, pairs[:len(pairs)/2])
	if err != nil {
		return nil, err
	}
	rest, err := k.readApart(ctx, pairs[len(pairs)/2:])
	if err != nil {
		return nil, err
	}
	all := maps.Clone(rest)
	if all == nil {
		all = map[keys.Pair]string{}
	}
	maps.Copy(all, ids)
	return all, nil
}

// dataException is the class of errors about values (PostgreSQL, appendix A).
const dataException = "22"

func (k *Keys) read(ctx context.Context, pairs []keys.Pair) (map[keys.Pair]string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	domains, secrets := make([]string, len(pairs)), make([]string, len(pairs))
	for i, p := range pairs {
		domains[i], secrets[i] = p.Domain, p.Key
	}
	rows, err := k.pool.Query(ctx, `select a.domain, a.apikey, a.id::text
		from unnest($1::text[], $2::text[]) as asked(domain, apikey)
		join apikeys a on a.domain = asked.domain and a.apikey = asked.apikey
		where a.active`, domains, secrets)
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	ids := make(map[keys.Pair]string, len(pairs))
	var p keys.Pair
	var id string
	_, err = pgx.ForEachRow(rows, []any{&p.Domain, &p.Key, &id}, func() error {
		ids[p] = id
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for keys: %w", err)
	}
	return ids, nil
}

// sweep ends the connections of keys that are not active any more.
func (k *Keys) sweep(ctx context.Context) {
	all := k.inUse.Pairs()
	for len(all) > 0 {
		some := all[:min(len(all), maxAsked)]
		all = all[len(some):]
		ids, err := k.query(ctx, some)
		if err != nil {
			return // while it is away nobody knows better
		}
		for _, p := range some {
			if ids[p] != "" {
				continue
			}
			if n := k.inUse.End(p, keys.ErrRevoked); n > 0 {
				k.cfg.Logger.InfoContext(ctx, "wspubsub key is not active any more; its connections end", "domain", p.Domain, "connections", n)
			}
		}
	}
}
