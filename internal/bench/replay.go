package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
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
	if err := errors.Join(o.defaults(), o.Transport.check()); err != nil {
		return err
	}
	switch {
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

// History is messages that are there to be replayed, any number of times.
type History struct {
	options ReplayOptions
	server  *Target
	mark    string // the cursor before it
	loading time.Duration
}

// LoadHistory publishes what is to be replayed.
func LoadHistory(ctx context.Context, t *Target, o ReplayOptions) (*History, error) {
	if err := o.fill(t); err != nil {
		return nil, err
	}
	srv, _, err := prepare(ctx, t, &o.Load)
	if err != nil {
		return nil, err
	}
	h := &History{options: o, server: t}
	if h.mark, err = head(ctx, srv, o.Domain); err != nil {
		return nil, fmt.Errorf("ask domain %s for its head: %w", o.Domain, err)
	}
	o.Progress(fmt.Sprintf("publishing %d messages", o.Messages))
	begun := time.Now()
	if err := load(ctx, srv, o.Domain, o.Topics, o.Size, 0, uint64(o.Messages)); err != nil {
		return nil, err
	}
	h.loading = time.Since(begun)
	return h, nil
}

// blockBytes is how much the limit writes at a time, about.
const blockBytes = 256 << 10

// Replay measures reading history from its beginning to its end, or as much
// from the limit.
func (h *History) Replay(ctx context.Context, t *Target) (*ReplayResult, error) {
	o := h.options
	r := &ReplayResult{
		Transport: o.Transport, Messages: o.Messages, Readers: o.Readers, Size: o.Size, Topics: o.Topics, Cold: o.Cold,
		Loading: h.loading, Loaded: float64(o.Messages) / h.loading.Seconds(),
	}
	if o.Cold && t == h.server {
		o.Progress("restarting the server")
		if err := t.restart(ctx, true); err != nil {
			return nil, err
		}
	}
	srv, err := newServer(t.URL, t.Token)
	if err != nil {
		return nil, err
	}
	b := reading{want: uint64(o.Messages), each: uint64(o.Messages), query: url.Values{"since": {h.mark}}}
	if t.limit != nil {
		frame := o.Size + 50
		if o.Transport == NDJSON {
			frame += 150
		}
		n := min(max(blockBytes/frame, 1), o.Messages)
		if err := t.setBlock(ctx, srv, n, o.Size); err != nil {
			return nil, fmt.Errorf("give the limit its block: %w", err)
		}
		b.each = uint64(n)
		times := (b.want + b.each - 1) / b.each
		b.want, b.query = times*b.each, url.Values{"times": {fmt.Sprint(times)}}
	} else if o.Transport == NDJSON {
		b.ends = true
		b.query.Set("until", "latest")
	}
	o.Progress(fmt.Sprintf("reading, %d at a time", o.Readers))
	return r, r.read(ctx, t, srv, o.Domain, b)
}

// reading is what each reader gets.
type reading struct {
	want  uint64 // messages
	each  uint64 // after so many their numbers begin again
	ends  bool   // the stream ends by itself
	query url.Values
}

// replayLoops is by how many goroutines history is read: what there is to do
// for a message is much beside what a server does for it.
const replayLoops = 2

// read has all readers read everything.
func (r *ReplayResult) read(ctx context.Context, t *Target, srv *server, domain string, what reading) error {
	readers := make([]*reader, r.Readers)
	members := make([]*member, r.Readers)
	for i := range readers {
		m := newMember(srv, r.Transport, "/t/"+domain+"/"+topicPrefix+"**", what.query)
		readers[i] = &reader{reading: what, member: m}
		m.take, members[i] = readers[i].read, m
	}
	m := startMeter(t.PID)
	c, err := gather(ctx, srv, members, gathering{atOnce: len(members), loops: replayLoops})
	if err != nil {
		return err
	}
	defer c.close()
	if err := r.wait(ctx, c, readers); err != nil {
		return err
	}
	r.Elapsed, r.CPU = m.stop(0)
	r.Memory = memoryOf(t)
	c.close()
	for _, rd := range readers {
		if rd.err != nil && !isEnd(rd.err) && !errors.Is(rd.err, errEnough) {
			return fmt.Errorf("read history: %w", rd.err)
		}
		r.Delivered += rd.got.Load()
		r.First = max(r.First, rd.first.Sub(m.begun))
		r.add(&rd.tracker, what.want, nil)
	}
	r.PerSecond = float64(r.Delivered) / r.Elapsed.Seconds()
	r.CPU.each(r.Delivered)
	return nil
}

// silence is how long streams may bring nothing before what is missing counts
// as lost.
const silence = 10 * time.Second

// wait waits until all readers have ended, or nothing comes any more.
func (r *ReplayResult) wait(ctx context.Context, c *crowd, readers []*reader) error {
	tick := time.NewTicker(silence)
	defer tick.Stop()
	for last := uint64(0); ; {
		select {
		case <-c.ended:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		var now uint64
		for _, rd := range readers {
			now += rd.got.Load()
		}
		if now == last {
			return nil
		}
		last = now
	}
}

// reader reads history once.
type reader struct {
	reading
	*member
	tracker   tracker
	got       atomic.Uint64
	different uint64
	before    uint64 // the numbers of earlier blocks
	first     time.Time
}

func (rd *reader) read(payload []byte) error {
	m, ok := readPayload(payload)
	if !ok {
		return errForeign(payload)
	}
	if rd.got.Add(1) == 1 {
		rd.first = rd.at
	}
	if rd.tracker.see(rd.before + m.number) {
		rd.different++
	}
	if m.number == rd.each-1 && rd.each < rd.want {
		rd.before += rd.each
	}
	if rd.different == rd.want && !rd.ends {
		return errEnough
	}
	return nil
}
