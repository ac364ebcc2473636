// Package redislink connects a dialect to Redis: one client, which is tried
// for until it is there, and which finds a Redis out that accepts connections
// and says nothing.
package redislink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/engine"
)

// Silence is how long Redis may take to answer before the connection is given
// up.
const Silence = 3 * time.Second

// Of connecting, and of trying again.
const (
	dialTimeout = 2 * time.Second
	retryFirst  = 50 * time.Millisecond
	retryMost   = 2 * time.Second
)

// Link is the way to one Redis. All methods may be called concurrently.
type Link struct {
	opts   rueidis.ClientOption
	client atomic.Pointer[rueidis.Client] // nil: never connected
	fault  atomic.Pointer[error]          // why the last try failed
}

// New makes a link to the Redis of a URL, and does not connect yet.
func New(url string) (*Link, error) {
	opts, err := rueidis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("address of Redis: %w", err)
	}
	opts.Dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: time.Second}
	opts.ConnWriteTimeout = Silence
	opts.DisableCache = true
	opts.ForceSingleClient = true
	l := &Link{opts: opts}
	notYet := errors.New("not connected yet")
	l.fault.Store(&notYet)
	return l, nil
}

// Connect connects, trying again until it has or ctx ends. From then on the
// client reconnects by itself. It is called once.
func (l *Link) Connect(ctx context.Context, log *slog.Logger) bool {
	var wait Backoff
	for ctx.Err() == nil {
		c, err := rueidis.NewClient(l.opts)
		if err == nil {
			l.client.Store(&c)
			return true
		}
		l.fault.Store(&err)
		if wait.First() {
			log.Warn("redis is away; trying again", "error", err)
		}
		wait.Pause(ctx)
	}
	return false
}

// Client gives the client; nil: it has never been connected.
func (l *Link) Client() rueidis.Client {
	if c := l.client.Load(); c != nil {
		return *c
	}
	return nil
}

// Check asks Redis for a sign of life.
func (l *Link) Check(ctx context.Context) error {
	c := l.Client()
	if c == nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, *l.fault.Load())
	}
	if err := c.Do(ctx, c.B().Ping().Build()).Error(); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	return nil
}

// Close ends the client. Connect has returned before that.
func (l *Link) Close() {
	if c := l.Client(); c != nil {
		c.Close()
	}
}

// Backoff is the time between tries, longer and longer. Its zero value is
// ready.
type Backoff struct{ wait time.Duration }

// First reports whether there was no pause since the last success.
func (b *Backoff) First() bool { return b.wait == 0 }

// Reset notes a success.
func (b *Backoff) Reset() { b.wait = 0 }

// Pause waits until the next try is due, or ctx ends.
func (b *Backoff) Pause(ctx context.Context) {
	b.wait = min(max(2*b.wait, retryFirst), retryMost)
	Pause(ctx, b.wait)
}

// Pause waits for a while, or until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
