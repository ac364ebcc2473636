package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// ReplayOptions say how to replay.
type ReplayOptions struct {
	Load
	Transport Transport // NDJSON if empty
	Messages  int       // in history; 1,000,000 if 0
	Readers   int       // that read all of it at the same time; 1 if 0
	Cold      bool      // restart the server and drop its files from the page cache first
}

// ReplayResult is what replaying came to.
type ReplayResult struct {
	Transport Transport     `json:"transport"`
	Messages  int           `json:"messages"`
	Readers   int           `json:"readers"`
	Size      int           `json:"size"`
	Topics    int           `json:"topics"`
	Cold      bool          `json:"cold"`
	Loading   time.Duration `json:"loading_ns"`
	Loaded    float64       `json:"loaded_per_second"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	First     time.Duration `json:"first_message_ns"` // after the request, the slowest reader's
	Delivered uint64        `json:"delivered"`
	PerSecond float64       `json:"delivered_per_second"`
	CPU       CPU           `json:"cpu"` // of reading, per delivered message
	Memory    *Memory       `json:"memory,omitempty"`
	Faults
}

func (o *ReplayOptions) fill(t *Target) error {
	orElse(&o.Transport, NDJSON)
	orElse(&o.Messages, 1_000_000)
	orElse(&o.Readers, 1)
	if err := o.defaults(); err != nil {
		return err
	}
	switch {
	case o.Transport != SSE && o.Transport != WebSocket && o.Transport != NDJSON:
		return fmt.Errorf("transport %q is not sse, ws or ndjson", o.Transport)
	case o.Domains != 1:
		return errors.New("replay reads one domain")
	case o.Size < MinSize+2:
		return fmt.Errorf("size %d is below the least here, %d: messages are JSON strings", o.Size, MinSize+2)
	case o.Cold && !t.Own():
		return errors.New("cold needs a server that the benchmark starts itself")
	case o.Messages < 1 || o.Messages > 1_000_000_000:
		return fmt.Errorf("messages %d is outside 1 to 1000000000", o.Messages)
	}
	return positive("readers", o.Readers, 10_000)
}

// Replay measures reading history from its beginning to its end.
func Replay(ctx context.Context, t *Target, o ReplayOptions) (*ReplayResult, error) {
	if err := o.fill(t); err != nil {
		return nil, err
	}
	srv, _, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	mark, err := head(ctx, srv, o.Domain)
	if err != nil {
		return nil, fmt.Errorf("ask domain %s for its head: %w", o.Domain, err)
	}
	r := &ReplayResult{Transport: o.Transport, Messages: o.Messages, Readers: o.Readers, Size: o.Size, Topics: o.Topics, Cold: o.Cold}
	o.Progress(fmt.Sprintf("publishing %d messages", o.Messages))
	from := newLoader(srv, 0, o.Domain, o.Topics, o.Size)
	begun := time.Now()
	if err := from.load(ctx, o.Messages); err != nil {
		return nil, err
	}
	r.Loading = time.Since(begun)
	r.Loaded = float64(o.Messages) / r.Loading.Seconds()
	if o.Cold {
		o.Progress("restarting the server")
		if err := t.restart(ctx, true); err != nil {
			return nil, err
		}
		if srv, err = newServer(t.URL, t.Token); err != nil {
			return nil, err
		}
	}
	o.Progress(fmt.Sprintf("reading, %d at a time", o.Readers))
	if err := r.read(ctx, t, srv, mark, o.Domain, uint64(o.Messages)); err != nil {
		return nil, err
	}
	return r, nil
}

// read has all readers read everything.
func (r *ReplayResult) read(ctx context.Context, t *Target, srv *server, mark, domain string, n uint64) error {
	readers := make([]*reader, r.Readers)
	var running sync.WaitGroup
	m := startMeter(t.PID)
	for i := range readers {
		rd := &reader{want: n}
		readers[i] = rd
		running.Go(func() { rd.err = rd.run(ctx, srv, r.Transport, mark, domain) })
	}
	running.Wait()
	for _, rd := range readers {
		if rd.err != nil {
			return fmt.Errorf("read history: %w", rd.err)
		}
		r.Delivered += rd.got
		r.First = max(r.First, rd.first)
		r.add(&rd.tracker, n, nil)
	}
	r.Elapsed, r.CPU = m.stop(r.Delivered)
	r.PerSecond = float64(r.Delivered) / r.Elapsed.Seconds()
	r.Memory = memoryOf(t)
	return nil
}

// reader reads history once.
type reader struct {
	tracker   tracker
	want      uint64
	got       uint64
	different uint64
	first     time.Duration
	err       error
}

// errEnough ends a stream that has no end of its own.
var errEnough = errors.New("enough")

// silence is how long a stream may bring nothing before what is missing
// counts as lost.
const silence = 10 * time.Second

func (rd *reader) run(ctx context.Context, srv *server, via Transport, mark, domain string) error {
	query := url.Values{"since": {mark}}
	if via == NDJSON {
		query.Set("until", "latest")
	}
	begun := time.Now()
	l, err := srv.listen(ctx, via, "/t/"+domain+"/"+topicPrefix+"**", query, readBuffer)
	if err != nil {
		return err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var progress atomic.Uint64
	stop := whenStill(&progress, func() { _ = l.Close() })
	defer stop()
	err = l.each(func(payload []byte) error {
		s, ok := readPayload(payload)
		if !ok {
			return fmt.Errorf("%w: a message that is not of this load: %.60q", errAnswer, payload)
		}
		if rd.got == 0 {
			rd.first = time.Since(begun)
		}
		rd.got++
		progress.Store(rd.got)
		if rd.tracker.see(s.number) {
			rd.different++
		}
		if rd.different == rd.want && via != NDJSON {
			return errEnough
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errEnough), errors.Is(err, io.EOF), stop():
		return nil
	}
	return err
}

// whenStill calls fn once a counter has not moved for the longest silence,
// unless stop comes first; stop reports whether it was called.
func whenStill(counter *atomic.Uint64, fn func()) (stop func() bool) {
	var called atomic.Bool
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(silence)
		defer tick.Stop()
		for last := uint64(0); ; {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			now := counter.Load()
			if now == last {
				called.Store(true)
				fn()
				return
			}
			last = now
		}
	})
	return sync.OnceValue(func() bool {
		close(done)
		watching.Wait()
		return called.Load()
	})
}
