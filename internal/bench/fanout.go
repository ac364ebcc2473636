package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// FanoutOptions say how to fan out. With one topic every subscriber gets all;
// with as many topics as subscribers each message goes to one.
type FanoutOptions struct {
	Load
	Transport   Transport // SSE if empty
	Subscribers int       // 1,000 if 0
	Connections int       // publishers; 1 for each domain if 0
	Rate        float64   // messages a second of all publishers; 20 if 0; below 0: as fast as answers come
}

// FanoutResult is what fanning out came to.
type FanoutResult struct {
	Transport   Transport     `json:"transport"`
	Subscribers int           `json:"subscribers"`
	Connections int           `json:"connections"`
	Size        int           `json:"size"`
	Domains     int           `json:"domains"`
	Topics      int           `json:"topics"`
	Elapsed     time.Duration `json:"elapsed_ns"`
	Published   uint64        `json:"published"`
	Delivered   uint64        `json:"delivered"` // within the measured time
	PerSecond   float64       `json:"delivered_per_second"`
	Latency     Quantiles     `json:"latency"` // from due to received
	CPU         CPU           `json:"cpu"`     // per delivered message
	Memory      *Memory       `json:"memory,omitempty"`
	Errors      int64         `json:"errors"`
	FirstError  string        `json:"first_error,omitempty"`
	Broken      int64         `json:"broken_subscribers"`
	Faults
}

// Fanout measures delivery to many subscribers that are connected.
func Fanout(ctx context.Context, t *Target, o FanoutOptions) (*FanoutResult, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	srv, domains, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	senders, err := connectSenders(ctx, srv, domains, o.Connections, &o.Load)
	if err != nil {
		return nil, err
	}
	defer closeAll(senders)
	var latency Histogram
	var delivered atomic.Uint64
	var begun atomic.Pointer[time.Time]
	begun.Store(new(time.Now())) // and again right before anything is published
	measuring := func(at time.Duration) bool { return at >= o.Warmup && at < o.Warmup+o.Duration }
	o.Progress(fmt.Sprintf("connecting %d subscribers", o.Subscribers))
	subs, err := subscribe(ctx, srv, o.Transport, domains, o.Topics, o.Subscribers, 4096, senders, func(m stamped) {
		if now := time.Since(*begun.Load()); measuring(now) {
			latency.Add(now - m.sent)
			delivered.Add(1)
		}
	})
	if err != nil {
		return nil, err
	}
	defer subs.close()
	r := &FanoutResult{
		Transport: o.Transport, Subscribers: o.Subscribers, Connections: o.Connections, Size: o.Size, Domains: o.Domains, Topics: o.Topics,
	}
	var published atomic.Uint64
	o.Progress(fmt.Sprintf("publishing for %v", o.Warmup+o.Duration))
	begun.Store(new(time.Now()))
	failed := drive(ctx, t, senders, o.Load, max(o.Rate, 0), *begun.Load(), func(_, _ time.Duration) { published.Add(1) }, func(m *meter) {
		r.Published, r.Delivered = published.Load(), delivered.Load()
		r.Elapsed, r.CPU = m.stop(r.Delivered)
		r.Latency = latency.Quantiles()
		r.Memory = memoryOf(t)
	})
	subs.settle(ctx, senders)
	r.Broken = subs.broken.Load()
	subs.close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.PerSecond = float64(r.Delivered) / r.Elapsed.Seconds()
	r.Errors, r.FirstError = failed.count(), firstError(failed, subs, r.Broken > 0)
	r.Faults = subs.count(senders)
	return r, nil
}

func (o *FanoutOptions) fill() error {
	orElse(&o.Transport, SSE)
	orElse(&o.Subscribers, 1000)
	orElse(&o.Rate, 20)
	if err := o.defaults(); err != nil {
		return err
	}
	orElse(&o.Connections, o.Domains)
	switch {
	case o.Transport != SSE && o.Transport != WebSocket && o.Transport != NDJSON:
		return fmt.Errorf("transport %q is not sse, ws or ndjson", o.Transport)
	case o.Connections < o.Domains:
		return fmt.Errorf("connections %d are fewer than domains %d: each publishes to one", o.Connections, o.Domains)
	case o.Subscribers < o.Domains*o.Topics:
		return fmt.Errorf("subscribers %d are fewer than domains times topics, %d: some messages would go to nobody", o.Subscribers, o.Domains*o.Topics)
	}
	return errors.Join(positive("connections", o.Connections, 50_000), positive("subscribers", o.Subscribers, 1_000_000))
}

// firstError is what went wrong first, of publishers or subscribers.
func firstError(failed *failures, subs *subscribers, broken bool) string {
	if err := failed.err(); err != nil {
		return err.Error()
	}
	if broken {
		for _, s := range subs.all {
			if s.broken != nil && !errors.Is(s.broken, net.ErrClosed) {
				return "subscriber: " + s.broken.Error()
			}
		}
	}
	return ""
}
