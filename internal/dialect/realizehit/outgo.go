package realizehit

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/dialect/redislink"
	"crier/internal/hub"
	"crier/internal/message"
)

// Limits of what waits for Redis.
const (
	outgoMost      = 100_000
	outgoBytes     = 64 << 20
	outgoTogether  = 64 // publications that are on their way at a time
	outgoTimeout   = 5 * time.Second
	ownChannel     = "crier:own"
	pushcartStream = "pushcart:messages" // another dialect's
)

// publication that waits for Redis.
type outgoing struct {
	channel string
	payload []byte
	own     string // what announces it
}

// outgo publishes to Redis what was posted here, in order, each announced on
// crier:own in the same transaction: the log that has it, and its id there.
// What waits longer than there is room is dropped, the oldest first.
type outgo struct {
	redis *Redis
	wake  hub.Signal
	done  hub.Signal // something was published

	mu    sync.Mutex // guards the fields below
	queue []outgoing
	bytes int
}

func newOutgo(r *Redis) *outgo {
	return &outgo{redis: r, wake: hub.NewSignal(), done: hub.NewSignal()}
}

// Post has a message that was appended published in Redis. It does not block.
func (r *Redis) Post(id message.ID, p Pattern, payload []byte) {
	o := r.outgo
	channel := p.Canonical()
	o.mu.Lock()
	o.queue = append(o.queue, outgoing{channel, payload, r.log + " " + id.String() + " " + channel})
	o.bytes += len(payload)
	dropped := 0
	for len(o.queue) > outgoMost || o.bytes > outgoBytes && len(o.queue) > 1 {
		o.bytes -= len(o.queue[0].payload)
		o.queue[0] = outgoing{}
		o.queue = o.queue[1:]
		dropped++
	}
	o.mu.Unlock()
	if dropped > 0 {
		r.cfg.Metrics.Dropped.WithLabelValues(droppedAway).Add(float64(dropped))
	}
	o.wake.Wake()
}

// head gives the oldest that wait.
func (o *outgo) head() []outgoing {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]outgoing(nil), o.queue[:min(len(o.queue), outgoTogether)]...)
}

// drop takes those that were published off, unless they were dropped before.
func (o *outgo) drop(sent []outgoing) {
	o.mu.Lock()
	for _, s := range sent {
		if len(o.queue) > 0 && o.queue[0].own == s.own {
			o.bytes -= len(s.payload)
			o.queue[0] = outgoing{}
			o.queue = o.queue[1:]
		}
	}
	if len(o.queue) == 0 {
		o.queue = nil
	}
	o.mu.Unlock()
	o.redis.cfg.Metrics.Published.Add(float64(len(sent)))
	o.done.Wake()
}

// flush waits until nothing waits any more, but not for long.
func (o *outgo) flush(most time.Duration) {
	late := time.NewTimer(most)
	defer late.Stop()
	for len(o.head()) > 0 {
		select {
		case <-o.done:
		case <-late.C:
			return
		}
	}
}

func (o *outgo) run(ctx context.Context) {
	var conn rueidis.DedicatedClient
	var release func()
	defer func() {
		if release != nil {
			release()
		}
	}()
	var wait redislink.Backoff
	for {
		batch := o.head()
		if len(batch) == 0 {
			select {
			case <-o.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if conn == nil {
			if conn, release = o.redis.dedicate(ctx); conn == nil {
				return
			}
		}
		n, err := o.publish(ctx, conn, batch)
		if n > 0 {
			o.drop(batch[:n])
			wait.Reset()
		}
		if err == nil {
			continue
		}
		// What was not confirmed is published again: nodes of ours know it by
		// its id.
		if wait.First() && ctx.Err() == nil {
			o.redis.cfg.Logger.Warn("not published to redis; trying again", "error", err)
		}
		release()
		conn, release = nil, nil
		wait.Pause(ctx)
		if ctx.Err() != nil {
			return
		}
	}
}

// publish publishes a batch and tells how many were confirmed.
func (o *outgo) publish(ctx context.Context, conn rueidis.DedicatedClient, batch []outgoing) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, outgoTimeout)
	defer cancel()
	cmds := make([]rueidis.Completed, 0, 4*len(batch))
	for _, p := range batch {
		cmds = append(cmds,
			conn.B().Multi().Build(),
			conn.B().Publish().Channel(ownChannel).Message(p.own).Build(),
			conn.B().Publish().Channel(p.channel).Message(rueidis.BinaryString(p.payload)).Build(),
			conn.B().Exec().Build())
	}
	answers := conn.DoMulti(ctx, cmds...)
	for i := range batch {
		for _, a := range answers[4*i : 4*i+4] {
			if err := a.Error(); err != nil {
				return n, err
			}
		}
		n++
	}
	return n, nil
}
