package bench

import (
	"context"
	"fmt"
	"time"
)

// IdleOptions say how to be idle. Topics are over how many topics the
// subscribers are spread; with as many as subscribers each has its own.
type IdleOptions struct {
	Load
	Transport   Transport     // SSE if empty
	Subscribers int           // 1,000 if 0
	Settle      time.Duration // after connecting, before measuring; 3 s if 0
}

// IdleResult is what idle subscribers cost.
type IdleResult struct {
	Transport     Transport     `json:"transport"`
	Subscribers   int           `json:"subscribers"`
	Domains       int           `json:"domains"`
	Topics        int           `json:"topics"`
	Connecting    time.Duration `json:"connecting_ns"`
	ConnectPerSec float64       `json:"connects_per_second"`
	ConnectCPU    CPU           `json:"connect_cpu"` // per connection
	Elapsed       time.Duration `json:"elapsed_ns"`
	CPU           CPU           `json:"cpu"` // of being idle
	Before        *Memory       `json:"memory_before,omitempty"`
	After         *Memory       `json:"memory_after,omitempty"`
	PerSubscriber *Memory       `json:"memory_per_subscriber,omitempty"`
	Reached       uint64        `json:"reached"` // subscribers that got the message at the end
	Broken        int64         `json:"broken_subscribers"`
	FirstError    string        `json:"first_error,omitempty"`
	Faults
}

// Idle measures subscribers to which nothing is said, and at the end says one
// thing to all to see that they are there. Memory is taken as it is: nothing
// is forced.
func Idle(ctx context.Context, t *Target, o IdleOptions) (*IdleResult, error) {
	orElse(&o.Subscribers, 1000)
	orElse(&o.Settle, 3*time.Second)
	f := FanoutOptions{Load: o.Load, Transport: o.Transport, Subscribers: o.Subscribers}
	if err := f.fill(); err != nil {
		return nil, err
	}
	o.Load, o.Transport = f.Load, f.Transport
	srv, domains, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	senders, err := connectSenders(ctx, srv, f.Publishing, domains, len(domains), &o.Load)
	if err != nil {
		return nil, err
	}
	defer closeAll(senders)
	if err := sayAll(ctx, senders, o.Topics); err != nil { // so that the first use of anything is not counted
		return nil, err
	}
	closeAll(senders) // they connect again when they have something to say
	r := &IdleResult{Transport: o.Transport, Subscribers: o.Subscribers, Domains: o.Domains, Topics: o.Topics}
	if err := r.rest(ctx, t, srv, domains, senders, o); err != nil {
		return nil, err
	}
	return r, nil
}

// rest connects the subscribers and looks at them being idle.
func (r *IdleResult) rest(ctx context.Context, t *Target, srv *server, domains []string, senders []*sender, o IdleOptions) error {
	_ = sleep(ctx, o.Warmup) // an end of the context is seen below
	r.Before = memoryOf(t)
	for _, s := range senders { // those who listen now get what comes now
		s.heard = s.sent
	}
	o.Progress(fmt.Sprintf("connecting %d subscribers", o.Subscribers))
	m := startMeter(t.PID)
	subs, err := subscribe(ctx, srv, domains, o.Topics, senders, audience{
		via: o.Transport, subscribers: o.Subscribers, came: func(*subscriber, stamped) {}, gathering: gathering{atOnce: maxDials},
	})
	if err != nil {
		return err
	}
	defer subs.crowd.close()
	r.Connecting, r.ConnectCPU = m.stop(uint64(o.Subscribers))
	r.ConnectPerSec = float64(o.Subscribers) / r.Connecting.Seconds()
	_ = sleep(ctx, o.Settle)
	o.Progress(fmt.Sprintf("idle for %v", o.Duration))
	m = startMeter(t.PID)
	_ = sleep(ctx, o.Duration)
	r.Elapsed, r.CPU = m.stop(0)
	if r.After = memoryOf(t); r.Before != nil && r.After != nil {
		n := int64(o.Subscribers)
		r.PerSubscriber = &Memory{
			RSS: (r.After.RSS - r.Before.RSS) / n, PSS: (r.After.PSS - r.Before.PSS) / n, Anonymous: (r.After.Anonymous - r.Before.Anonymous) / n,
		}
	}
	if err := sayAll(ctx, senders, o.Topics); err != nil {
		return err
	}
	subs.settle(ctx, senders)
	r.Broken = subs.crowd.broken.Load()
	subs.crowd.close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.FirstError = subs.brokenError(r.Broken)
	r.Faults = subs.count(senders)
	for _, s := range subs.all {
		if s.got.Load() > 0 {
			r.Reached++
		}
	}
	return nil
}

func memoryOf(t *Target) *Memory {
	if t.PID == 0 {
		return nil
	}
	m, err := memory(t.PID)
	if err != nil {
		return nil
	}
	return &m
}

// sayAll has each sender publish one message to each topic.
func sayAll(ctx context.Context, senders []*sender, topics int) error {
	return inParallel(ctx, len(senders), func(ctx context.Context, i int) error {
		for range topics {
			if err := senders[i].send(ctx, 0); err != nil {
				return err
			}
		}
		return nil
	})
}
