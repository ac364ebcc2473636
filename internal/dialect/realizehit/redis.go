package realizehit

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/dialect/redislink"
	"crier/internal/engine"
	"crier/internal/hub"
)

// What Redis is waited for.
const (
	awaitMost = 3 * time.Second // for a subscription to be in force at Redis
	lastWords = 2 * time.Second // for what is left to be published at the end
)

// RedisConfig is what a Redis needs. URL, Domain and Registry are required.
type RedisConfig struct {
	URL        string
	Domain     *hub.Domain     // where messages go, and whose subscriptions are wants
	Registry   engine.Registry // by which nodes that share the log agree on who listens
	Metrics    *RedisMetrics   // nil: counted nowhere
	Logger     *slog.Logger    // nil: none
	MaxMessage int             // bytes of a payload that is taken in; 0: 1 MiB
	Lease      time.Duration   // how long the one that listens may be silent before another does; 0: 10 s
}

// Redis is where other programs publish to patterns, and listen to them. What
// is posted here is published there; what is published there is taken in, as
// long as somebody listens, by one of the nodes that share a log. All methods
// may be called concurrently.
type Redis struct {
	cfg  RedisConfig
	link *redislink.Link
	node string // this process
	log  string // the log that this node has, perhaps with others

	outgo   *outgo
	intake  *intake
	wants   *wants
	share   *share
	hearing *hearing

	unwatch func() // the domain's subscriptions
	stop    context.CancelFunc
	running sync.WaitGroup
}

// OpenRedis begins to connect; a Redis that is away is tried again and again.
// The caller must Close it before the hub.
func OpenRedis(ctx context.Context, cfg RedisConfig) (*Redis, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewRedisMetrics(nil)
	}
	if cfg.MaxMessage == 0 {
		cfg.MaxMessage = 1 << 20
	}
	if cfg.Lease == 0 {
		cfg.Lease = 10 * time.Second
	}
	link, err := redislink.New(cfg.URL)
	if err != nil {
		return nil, err
	}
	r := &Redis{cfg: cfg, link: link, node: randomHex(8)}
	if r.log, err = logName(ctx, cfg.Registry); err != nil {
		return nil, err
	}
	r.wants = newWants()
	r.outgo = newOutgo(r)
	r.intake = newIntake(r)
	r.hearing = newHearing(r)
	r.share = newShare(r)
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	r.unwatch = cfg.Domain.Interest(r.wants.tell)
	r.running.Go(func() { r.connect(life) })
	r.running.Go(func() { r.outgo.run(life) })
	r.running.Go(func() { r.intake.run(life) })
	r.running.Go(func() { r.share.run(life) })
	r.running.Go(func() { r.hearing.run(life) })
	return r, nil
}

// Close publishes what waits to be, for a little while, and ends everything.
func (r *Redis) Close() {
	r.outgo.flush(lastWords)
	r.unwatch()
	r.stop()
	r.running.Wait()
	r.link.Close()
}

// Connected reports whether Redis was ever reached.
func (r *Redis) Connected() bool { return r.link.Client() != nil }

// Check asks Redis for a sign of life, and whether messages are heard.
func (r *Redis) Check(ctx context.Context) error {
	if err := r.link.Check(ctx); err != nil {
		return err
	}
	if err := r.hearing.check(); err != nil {
		return fmt.Errorf("%w: listen to Redis: %w", engine.ErrUnavailable, err)
	}
	return nil
}

// connect makes the client, which then reconnects by itself.
func (r *Redis) connect(ctx context.Context) {
	if r.link.Connect(ctx, r.cfg.Logger.With("dialect", "realizehit")) {
		r.cfg.Logger.Info("redis connected")
		r.share.nudge()
	}
}

// dedicate takes a connection for one purpose, waiting until there is one.
func (r *Redis) dedicate(ctx context.Context) (rueidis.DedicatedClient, func()) {
	var wait redislink.Backoff
	for ctx.Err() == nil {
		if c := r.link.Client(); c != nil {
			return c.Dedicate()
		}
		wait.Pause(ctx)
	}
	return nil, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return hex.EncodeToString(b)
}

// Entries of the registry.
const (
	kindRealizehit = "realizehit"       // "log": the log's name
	kindWants      = "realizehit-wants" // by node: what it wants from Redis
	kindHeard      = "realizehit-heard" // by node: the version of its wants that is in force
	leaseName      = "realizehit/redis" // who listens to Redis
)

// logName gives the name of the log that a registry belongs to, made the first
// time. By it nodes know which publications in Redis they have already.
func logName(ctx context.Context, reg engine.Registry) (string, error) {
	_, err := reg.Put(ctx, kindRealizehit, "log", []byte(randomHex(8)), 0, nil)
	if err != nil && !errors.Is(err, engine.ErrConflict) {
		return "", fmt.Errorf("name the log: %w", err)
	}
	e, err := reg.Get(ctx, kindRealizehit, "log")
	if err != nil {
		return "", fmt.Errorf("read the log's name: %w", err)
	}
	return string(e.Value), nil
}
