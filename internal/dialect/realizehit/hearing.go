package realizehit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"crier/internal/dialect/redislink"
	"crier/internal/topic"
)

// together is how many channels one command names.
const together = 500

// hearing listens to Redis while this node is the one that does, for what is
// wanted and nothing else, over a connection of its own.
type hearing struct {
	redis *Redis

	mu      sync.Mutex // guards the fields below
	on      bool       // connected, and everything that is wanted was asked for
	fault   error      // why not
	failed  bool       // it was tried, and failed since
	inForce map[string]bool
}

func newHearing(r *Redis) *hearing {
	return &hearing{redis: r, inForce: map[string]bool{}, fault: errors.New("not connected yet")}
}

// check tells why this node should hear and does not.
func (h *hearing) check() error {
	if !h.redis.share.listens() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.on {
		return nil
	}
	return h.fault
}

// set notes whether the connection is good.
func (h *hearing) set(on bool, fault error) {
	h.mu.Lock()
	if fault != nil {
		h.fault, h.failed = fault, true
	}
	if h.on = on; on {
		h.failed = false
	} else {
		clear(h.inForce)
	}
	h.mu.Unlock()
	h.redis.cfg.Metrics.Connected.Set(map[bool]float64{true: 1}[on])
	h.redis.wants.nudge()
}

func (h *hearing) isOn() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.on
}

// tried reports whether Redis could not be heard when it was last tried.
func (h *hearing) tried() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// has reports whether all names are in force at Redis.
func (h *hearing) has(names ...string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range names {
		if !h.inForce[n] {
			return false
		}
	}
	return true
}

func (h *hearing) run(ctx context.Context) {
	var wait redislink.Backoff
	for {
		if !h.redis.share.await(ctx) {
			return
		}
		conn, release := h.redis.dedicate(ctx)
		if conn == nil {
			return
		}
		err := h.listen(ctx, conn, &wait)
		release()
		h.set(false, err)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			if wait.First() {
				h.redis.cfg.Logger.Warn("redis is not heard; trying again", "error", err)
			}
			wait.Pause(ctx)
		}
	}
}

// listen hears one connection until it fails, or another node is to listen.
func (h *hearing) listen(ctx context.Context, conn rueidis.DedicatedClient, wait *redislink.Backoff) error {
	e := newEars(h.redis.log)
	failed := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnSubscription: func(s rueidis.PubSubSubscription) { h.subscribed(e, s) },
		OnMessage:      func(m rueidis.PubSubMessage) { h.heard(e, m) },
	})
	defer func() { // nothing is heard by two connections
		conn.Close()
		<-failed
	}()
	own := false
	for all := true; ; all = false {
		changed := h.redis.wants.next()
		came, went, some := h.redis.wants.diff(all)
		if some && !own { // before anything that it may announce
			came, own = append([]string{ownChannel}, came...), true
		}
		if err := h.ask(ctx, conn, came, went); err != nil {
			return err
		}
		if !some && own {
			own = false
			if err := h.ask(ctx, conn, nil, []string{ownChannel}); err != nil {
				return err
			}
		}
		if all {
			h.set(true, nil)
			if !wait.First() {
				h.redis.cfg.Logger.Info("redis is heard again")
			}
			wait.Reset()
		}
		select {
		case <-changed:
		case err := <-failed:
			if err == nil {
				err = errors.New("the connection was closed")
			}
			return err
		case <-h.redis.share.lost():
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// ask subscribes to what came and unsubscribes from what went.
func (h *hearing) ask(ctx context.Context, conn rueidis.DedicatedClient, came, went []string) error {
	ctx, cancel := context.WithTimeout(ctx, redislink.Silence)
	defer cancel()
	for _, one := range []struct {
		names []string
		begin bool
	}{{came, true}, {went, false}} {
		for glob, names := range map[bool][]string{false: pick(one.names, false), true: pick(one.names, true)} {
			for len(names) > 0 {
				n := min(len(names), together)
				if err := conn.Do(ctx, command(conn, one.begin, glob, names[:n])).Error(); err != nil {
					return fmt.Errorf("subscribe: %w", err)
				}
				names = names[n:]
			}
		}
	}
	return nil
}

// pick gives the names that are patterns, or those that are not.
func pick(names []string, globs bool) (some []string) {
	for _, n := range names {
		if strings.Contains(n, any1) == globs {
			some = append(some, n)
		}
	}
	return some
}

func command(conn rueidis.DedicatedClient, begin, glob bool, names []string) rueidis.Completed {
	switch {
	case begin && glob:
		return conn.B().Psubscribe().Pattern(names...).Build()
	case begin:
		return conn.B().Subscribe().Channel(names...).Build()
	case glob:
		return conn.B().Punsubscribe().Pattern(names...).Build()
	}
	return conn.B().Unsubscribe().Channel(names...).Build()
}

// subscribed hears that a subscription is in force, or is not any more. It is
// called by the connection, in order with heard.
func (h *hearing) subscribed(e *ears, s rueidis.PubSubSubscription) {
	e.changed(s.Kind, s.Channel)
	h.mu.Lock()
	if s.Kind == "subscribe" || s.Kind == "psubscribe" {
		h.inForce[s.Channel] = true
	} else {
		delete(h.inForce, s.Channel)
	}
	n := len(h.inForce)
	h.mu.Unlock()
	h.redis.cfg.Metrics.Wants.Set(float64(n))
	h.redis.wants.nudge()
}

// heard takes what Redis delivers.
func (h *hearing) heard(e *ears, m rueidis.PubSubMessage) {
	if !e.heard(m.Pattern, m.Channel, m.Message) {
		return
	}
	p, ok := ParseChannel(m.Channel)
	if !ok || !h.redis.wants.wanted(p.Topic(), m.Channel) {
		return
	}
	if !h.redis.share.holds(time.Now()) {
		h.redis.cfg.Metrics.Dropped.WithLabelValues(droppedLease).Inc()
		return
	}
	h.redis.intake.put(p, []byte(m.Message))
}

// Await returns once what a pattern selects is heard from Redis, so that a
// client that is told of its subscription misses nothing that is published
// after that. It does not wait for a Redis that is away, nor for ever.
func (r *Redis) Await(ctx context.Context, p Pattern) {
	tp, err := topic.ParsePattern(p.Topic())
	if err != nil {
		return
	}
	n := redisName(tp)
	_, version := r.wants.mine()
	late := time.NewTimer(awaitMost)
	defer late.Stop()
	for {
		changed := r.wants.next()
		if !r.Connected() || r.share.settled(n, version) {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
