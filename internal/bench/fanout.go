package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// FanoutOptions say how to fan out. With one topic every subscriber gets all;
// with as many topics as subscribers each message goes to one.
type FanoutOptions struct {
	Load
	Publishing
	Transport   Transport // SSE if empty
	Subscribers int       // 1,000 if 0
	Connections int       // publishers; if 0, 1 for each domain, or 8 as fast as it goes
	Rate        float64   // messages a second of all publishers; 20 if 0; below 0: as fast as it goes
	Window      int       // as fast as it goes: messages that are published and not with all yet, about; 64 if 0
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
	Latency     Quantiles     `json:"latency"`      // from due to received, of each delivery
	LastReader  Quantiles     `json:"last_latency"` // from due to received by the last subscriber, of each message
	CPU         CPU           `json:"cpu"`          // per delivered message
	Memory      *Memory       `json:"memory,omitempty"`
	Errors      int64         `json:"errors"`
	FirstError  string        `json:"first_error,omitempty"`
	Broken      int64         `json:"broken_subscribers"`
	Faults
}

// fanout is a run of it.
type fanout struct {
	begun            atomic.Pointer[time.Time]
	from, until      time.Duration // what is measured
	latency, last    Histogram
	published, heard atomic.Uint64
	arrivals         *arrivals
	window           *window
}

// came takes a delivery.
func (f *fanout) came(s *subscriber, m stamped) {
	f.window.delivered.Add(1)
	last := f.arrivals.came(m, s.fellows)
	at := s.at.Sub(*f.begun.Load())
	if at < f.from || at >= f.until {
		return
	}
	f.latency.Add(at - m.sent)
	f.heard.Add(1)
	if last {
		f.last.Add(at - m.sent)
	}
}

// Fanout measures delivery to many subscribers that are connected.
func Fanout(ctx context.Context, t *Target, o FanoutOptions) (*FanoutResult, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if t.limit != nil && o.Socket {
		return nil, errors.New("the limit delivers what is posted: beside it messages cannot be published by WebSocket")
	}
	srv, domains, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	senders, err := connectSenders(ctx, srv, o.Publishing, domains, o.Connections, &o.Load)
	if err != nil {
		return nil, err
	}
	defer closeAll(senders)
	f := &fanout{
		from: o.Warmup, until: o.Warmup + o.Duration, arrivals: newArrivals(len(senders)),
		window: newWindow(o.Window, float64(o.Subscribers)/float64(o.Topics*o.Domains)),
	}
	f.begun.Store(new(time.Now())) // and again right before anything is published
	o.Progress(fmt.Sprintf("connecting %d subscribers", o.Subscribers))
	subs, err := subscribe(ctx, srv, domains, o.Topics, senders, audience{
		via: o.Transport, subscribers: o.Subscribers, came: f.came, gathering: gathering{atOnce: maxDials, over: f.window.look},
	})
	if err != nil {
		return nil, err
	}
	defer subs.crowd.close()
	r := &FanoutResult{
		Transport: o.Transport, Subscribers: o.Subscribers, Connections: o.Connections, Size: o.Size, Domains: o.Domains, Topics: o.Topics,
	}
	o.Progress(fmt.Sprintf("publishing for %v", o.Warmup+o.Duration))
	f.begun.Store(new(time.Now()))
	p := pace{begun: *f.begun.Load()}
	if o.Rate < 0 && o.Topics == 1 {
		p.admit = f.window.admit
	}
	failed := drive(ctx, t, senders, o.Load, max(o.Rate, 0), p, func(n int, _, _ time.Duration) { f.published.Add(uint64(n)) }, func(m *meter) {
		r.Published, r.Delivered = f.published.Load(), f.heard.Load()
		r.Elapsed, r.CPU = m.stop(r.Delivered)
		r.Latency, r.LastReader = f.latency.Quantiles(), f.last.Quantiles()
		r.Memory = memoryOf(t)
	})
	subs.settle(ctx, senders)
	r.Broken = subs.crowd.broken.Load()
	subs.crowd.close()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r.PerSecond = float64(r.Delivered) / r.Elapsed.Seconds()
	if r.Errors, r.FirstError = failed.count(), subs.brokenError(r.Broken); r.Errors > 0 {
		r.FirstError = failed.err().Error()
	}
	r.Faults = subs.count(senders)
	return r, nil
}

func (o *FanoutOptions) fill() error {
	orElse(&o.Transport, SSE)
	orElse(&o.Subscribers, 1000)
	orElse(&o.Rate, 20)
	orElse(&o.Window, 64)
	if err := errors.Join(o.defaults(), o.Transport.check()); err != nil {
		return err
	}
	if err := o.Publishing.fill(o.Size); err != nil {
		return err
	}
	if o.Rate < 0 {
		orElse(&o.Connections, max(8, o.Domains))
	}
	orElse(&o.Connections, o.Domains)
	switch {
	case o.Connections < o.Domains:
		return fmt.Errorf("connections %d are fewer than domains %d: each publishes to one", o.Connections, o.Domains)
	case o.Subscribers < o.Domains*o.Topics:
		return fmt.Errorf("subscribers %d are fewer than domains times topics, %d: some messages would go to nobody", o.Subscribers, o.Domains*o.Topics)
	case o.Topics > 1 && o.Batch > 1:
		return fmt.Errorf("batch %d goes to one topic, and topics are %d", o.Batch, o.Topics)
	case o.Window < 1:
		return fmt.Errorf("window %d is below 1", o.Window)
	}
	return errors.Join(positive("connections", o.Connections, 50_000), positive("subscribers", o.Subscribers, 1_000_000))
}

// isEnd reports whether an error is no more than the end of a connection.
func isEnd(err error) bool { return errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) }
