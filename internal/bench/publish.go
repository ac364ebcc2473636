package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// PublishOptions say how to publish.
type PublishOptions struct {
	Load
	Publishing
	Connections int     // publishers, each waiting for its answer; 64 if 0
	Rate        float64 // messages a second of all together; 0: as fast as answers come
}

// PublishResult is what publishing came to.
type PublishResult struct {
	Connections int           `json:"connections"`
	Via         string        `json:"via"` // post or ws
	Frames      int           `json:"frames"`
	Batch       int           `json:"batch"`
	Size        int           `json:"size"`
	Domains     int           `json:"domains"`
	Topics      int           `json:"topics"`
	Elapsed     time.Duration `json:"elapsed_ns"`
	Published   uint64        `json:"published"` // acknowledged within the measured time
	PerSecond   float64       `json:"per_second"`
	Latency     Quantiles     `json:"latency"` // from due to acknowledged
	CPU         CPU           `json:"cpu"`
	Errors      int64         `json:"errors"`
	FirstError  string        `json:"first_error,omitempty"`
	ReadBack    uint64        `json:"read_back"` // messages found in history afterwards
	Faults
}

// Publish measures publishing, then reads all of it back and counts.
func Publish(ctx context.Context, t *Target, o PublishOptions) (*PublishResult, error) {
	orElse(&o.Connections, 64)
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := errors.Join(positive("connections", o.Connections, 50_000), o.Publishing.fill(o.Size)); err != nil {
		return nil, err
	}
	if o.Connections < o.Domains {
		return nil, fmt.Errorf("connections %d are fewer than domains %d: each publishes to one", o.Connections, o.Domains)
	}
	srv, domains, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	var marks map[string]string
	if t.limit == nil {
		if marks, err = heads(ctx, srv, domains); err != nil {
			return nil, err
		}
	}
	senders, err := connectSenders(ctx, srv, o.Publishing, domains, o.Connections, &o.Load)
	if err != nil {
		return nil, err
	}
	defer closeAll(senders)
	r := &PublishResult{
		Connections: o.Connections, Via: "post", Frames: o.Frames, Batch: o.Batch, Size: o.Size, Domains: o.Domains, Topics: o.Topics,
	}
	if o.Socket {
		r.Via = "ws"
	}
	o.Progress(fmt.Sprintf("publishing for %v", o.Warmup+o.Duration))
	var latency Histogram
	var published atomic.Uint64
	failed := drive(ctx, t, senders, o.Load, o.Rate, pace{begun: time.Now()}, func(n int, due, answered time.Duration) {
		latency.Add(answered - due)
		published.Add(uint64(n))
	}, func(m *meter) {
		r.Published = published.Load()
		r.Elapsed, r.CPU = m.stop(r.Published)
	})
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	r.PerSecond = float64(r.Published) / r.Elapsed.Seconds()
	r.Latency = latency.Quantiles()
	if r.Errors = failed.count(); r.Errors > 0 {
		r.FirstError = failed.err().Error()
	}
	if t.limit != nil { // it keeps nothing
		return r, nil
	}
	o.Progress("reading it back")
	if r.ReadBack, r.Faults, err = readBack(ctx, srv, senders, marks); err != nil {
		return nil, fmt.Errorf("read back what was published: %w", err)
	}
	return r, nil
}

// prepare checks that the server is there and makes the domains.
func prepare(ctx context.Context, t *Target, l *Load) (*server, []string, error) {
	srv, err := newServer(t.URL, t.Token)
	if err != nil {
		return nil, nil, err
	}
	domains, err := t.domains(ctx, l.Domain, l.Domains)
	return srv, domains, err
}

// connectSenders opens the connections of n senders, spread over the domains.
func connectSenders(ctx context.Context, srv *server, how Publishing, domains []string, n int, l *Load) ([]*sender, error) {
	senders := make([]*sender, n)
	for i := range senders {
		senders[i] = newSender(srv, how, uint32(i), domains[i%len(domains)], l.Topics, l.Size)
	}
	err := inParallel(ctx, n, func(ctx context.Context, i int) error { return senders[i].connect(ctx) })
	if err != nil {
		closeAll(senders)
		return nil, fmt.Errorf("connect %d publishers: %w", n, err)
	}
	return senders, nil
}

func closeAll(senders []*sender) {
	for _, s := range senders {
		s.close()
	}
}

// drive lets all senders run for warm-up and measured time, counted from
// begun. done is told of what was acknowledged within the measured time, and
// measured at its end.
func drive(ctx context.Context, t *Target, senders []*sender, l Load, rate float64, p pace, done func(n int, due, answered time.Duration), measured func(*meter)) *failures {
	var failed failures
	p.until = l.Warmup + l.Duration
	if rate > 0 {
		p.interval = time.Duration(float64(len(senders)*len(senders[0].request.dataAt)) / rate * float64(time.Second))
	}
	var running sync.WaitGroup
	for i, s := range senders {
		p := p
		p.offset = p.interval * time.Duration(i) / time.Duration(len(senders))
		running.Go(func() {
			s.run(ctx, p, &failed, func(n int, due, answered time.Duration) {
				if answered >= l.Warmup && answered < p.until {
					done(n, due, answered)
				}
			})
		})
	}
	if sleep(ctx, l.Warmup) == nil {
		m := startMeter(t.PID)
		_ = sleep(ctx, l.Duration) // an end before its time is the caller's to see
		measured(m)
	}
	running.Wait()
	return &failed
}

// maxDials is how many connections are made at a time.
const maxDials = 64

// inParallel calls fn for 0 to n-1, some at a time, and returns the first error.
func inParallel(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var running sync.WaitGroup
	for range min(n, maxDials) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := fn(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}
