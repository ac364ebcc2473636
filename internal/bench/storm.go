package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// StormOptions say how many come back at once.
type StormOptions struct {
	Load
	Transport   Transport // SSE if empty
	Subscribers int       // 5,000 if 0
	Missed      int       // messages that each of them missed; 10 if 0
}

// StormResult is what a storm came to.
type StormResult struct {
	Transport   Transport     `json:"transport"`
	Subscribers int           `json:"subscribers"`
	Missed      int           `json:"missed"`
	Size        int           `json:"size"`
	Elapsed     time.Duration `json:"elapsed_ns"` // until all had what they missed
	Latency     Quantiles     `json:"latency"`    // from the beginning until one had it
	CPU         CPU           `json:"cpu"`        // per subscriber
	Memory      *Memory       `json:"memory,omitempty"`
	Broken      int64         `json:"broken_subscribers"`
	FirstError  string        `json:"first_error,omitempty"`
	Faults
}

func (o *StormOptions) fill() error {
	orElse(&o.Transport, SSE)
	orElse(&o.Subscribers, 5000)
	orElse(&o.Missed, 10)
	if err := errors.Join(o.defaults(), o.Transport.check()); err != nil {
		return err
	}
	if o.Domains != 1 || o.Topics != 1 {
		return errors.New("a storm is on one topic of one domain")
	}
	if o.Size < MinSize+2 {
		return fmt.Errorf("size %d is below the least here, %d: messages are JSON strings", o.Size, MinSize+2)
	}
	return errors.Join(positive("subscribers", o.Subscribers, 1_000_000), positive("missed", o.Missed, 100_000))
}

// Storm measures subscribers that come back at the same time, each with the
// cursor of what it had last: until all have what they missed. At the end one
// more message is said to all, to see that they listen on from there.
func Storm(ctx context.Context, t *Target, o StormOptions) (*StormResult, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	srv, domains, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	from := newSender(srv, Publishing{Frames: 1, Batch: 1}, 0, domains[0], 1, o.Size)
	defer from.close()
	who, err := o.miss(ctx, t, srv, domains[0])
	if err != nil {
		return nil, fmt.Errorf("publish what is missed: %w", err)
	}
	from.sent = uint64(o.Missed)
	s := &storm{missed: uint64(o.Missed), back: make(chan struct{})}
	s.away.Store(int64(o.Subscribers))
	who.came = s.came
	o.Progress(fmt.Sprintf("%d come back", o.Subscribers))
	m := startMeter(t.PID)
	s.begun = m.begun
	subs, err := subscribe(ctx, srv, domains, 1, []*sender{from}, who)
	if err != nil {
		return nil, err
	}
	defer subs.crowd.close()
	select {
	case <-s.back:
	case <-time.After(silence): // what has not come is lost
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r := &StormResult{Transport: o.Transport, Subscribers: o.Subscribers, Missed: o.Missed, Size: o.Size}
	r.Elapsed, r.CPU = m.stop(uint64(o.Subscribers))
	r.Latency, r.Memory = s.latency.Quantiles(), memoryOf(t)
	if err := from.send(ctx, 0); err != nil {
		return nil, err
	}
	subs.settle(ctx, []*sender{from})
	r.Broken = subs.crowd.broken.Load()
	subs.crowd.close()
	r.FirstError = subs.brokenError(r.Broken)
	r.Faults = subs.count([]*sender{from})
	return r, ctx.Err()
}

// miss publishes what will have been missed, and says who comes back.
func (o *StormOptions) miss(ctx context.Context, t *Target, srv *server, domain string) (audience, error) {
	who := audience{via: o.Transport, subscribers: o.Subscribers, gathering: gathering{atOnce: o.Subscribers}}
	if t.limit != nil {
		who.times = 1
		return who, t.setBlock(ctx, srv, o.Missed, o.Size)
	}
	var err error
	if who.since, err = head(ctx, srv, domain); err != nil {
		return who, err
	}
	return who, load(ctx, srv, domain, 1, o.Size, 0, uint64(o.Missed))
}

// storm is a run of one.
type storm struct {
	begun   time.Time
	missed  uint64
	latency Histogram
	away    atomic.Int64  // subscribers that miss something
	back    chan struct{} // closed when none is
}

func (s *storm) came(sub *subscriber, m stamped) {
	if sub.back || sub.got.Load() < s.missed || m.number >= s.missed {
		return
	}
	sub.back = true
	s.latency.Add(sub.at.Sub(s.begun))
	if s.away.Add(-1) == 0 {
		close(s.back)
	}
}
