package main

import (
	"context"
	"time"

	"crier/internal/bench"
)

// publishFlags say how a load publishes.
type publishFlags struct {
	Via    string `help:"How to publish: post, or ws (frames of a WebSocket, crier.v1.json)." enum:"post,ws" default:"post" placeholder:"HOW"`
	Frames int    `help:"With --via ws: frames that are sent before their answers are waited for." default:"1" placeholder:"N"`
	Batch  int    `help:"Messages of one POST or frame." default:"1" placeholder:"N"`
}

func (f *publishFlags) publishing() bench.Publishing {
	return bench.Publishing{Socket: f.Via == "ws", Frames: f.Frames, Batch: f.Batch}
}

type benchPublishCmd struct {
	benchFlags
	publishFlags
	Connections int     `help:"Publishers." default:"64" placeholder:"N"`
	Rate        float64 `help:"Messages a second of all together; 0: as fast as answers come." default:"0" placeholder:"N"`
}

// Run measures publishing.
func (c *benchPublishCmd) Run(ctx context.Context, std *streams) error {
	if err := atLeastOne(counted{"connections", c.Connections}, counted{"frames", c.Frames}, counted{"batch", c.Batch}); err != nil {
		return err
	}
	o := bench.PublishOptions{Load: c.load(std), Publishing: c.publishing(), Connections: c.Connections, Rate: c.Rate}
	return measure(ctx, std, &c.benchFlags, false, ready(func(ctx context.Context, t *bench.Target) (*bench.PublishResult, error) {
		return bench.Publish(ctx, t, o)
	}))
}

type benchFanoutCmd struct {
	benchFlags
	publishFlags
	Transport   string  `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"sse" placeholder:"HOW"`
	Subscribers int     `help:"Subscribers. With one topic each gets every message; with as many topics as subscribers each message goes to one." default:"1000" placeholder:"N"`
	Connections int     `help:"Publishers; 0: one for each domain, or 8 with --rate 0." default:"0" placeholder:"N"`
	Rate        float64 `help:"Messages a second of all publishers together; 0: as fast as it goes." default:"20" placeholder:"N"`
	Window      int     `help:"With --rate 0: how many messages may be published and not be with all subscribers, about." default:"64" placeholder:"N"`
}

// Run measures fanning out.
func (c *benchFanoutCmd) Run(ctx context.Context, std *streams) error {
	if err := atLeastOne(counted{"subscribers", c.Subscribers}, counted{"window", c.Window}, counted{"frames", c.Frames}, counted{"batch", c.Batch}); err != nil {
		return err
	}
	return fanout(ctx, std, &c.benchFlags, bench.FanoutOptions{
		Load: c.load(std), Publishing: c.publishing(), Transport: bench.Transport(c.Transport), Subscribers: c.Subscribers,
		Connections: c.Connections, Rate: c.Rate, Window: c.Window,
	})
}

func fanout(ctx context.Context, std *streams, f *benchFlags, o bench.FanoutOptions) error {
	if f.Reference && o.Socket {
		return usagef("--via ws: the limit of --reference delivers only what is posted")
	}
	if o.Rate == 0 {
		o.Rate = -1 // no limit, and not the default
	}
	return measure(ctx, std, f, false, ready(func(ctx context.Context, t *bench.Target) (*bench.FanoutResult, error) {
		return bench.Fanout(ctx, t, o)
	}))
}

type benchUnicastCmd struct {
	benchFlags
	Transport   string  `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"sse" placeholder:"HOW"`
	Via         string  `help:"How to publish: post, or ws (frames of a WebSocket, crier.v1.json)." enum:"post,ws" default:"post" placeholder:"HOW"`
	Subscribers int     `help:"Subscribers, each on a topic of its own." default:"5000" placeholder:"N"`
	Connections int     `help:"Publishers." default:"8" placeholder:"N"`
	Rate        float64 `help:"Messages a second of all publishers together; 0: as fast as answers come." default:"2000" placeholder:"N"`
}

// Run measures fanning out to one.
func (c *benchUnicastCmd) Run(ctx context.Context, std *streams) error {
	if err := atLeastOne(counted{"subscribers", c.Subscribers}, counted{"connections", c.Connections}); err != nil {
		return err
	}
	if c.Domains > 1 || c.Topics > 1 {
		return usagef("--domains and --topics: the subscribers of unicast have each a topic of one domain")
	}
	load := c.load(std)
	load.Topics = c.Subscribers
	return fanout(ctx, std, &c.benchFlags, bench.FanoutOptions{
		Load: load, Publishing: bench.Publishing{Socket: c.Via == "ws"}, Transport: bench.Transport(c.Transport),
		Subscribers: c.Subscribers, Connections: c.Connections, Rate: c.Rate,
	})
}

type benchReplayCmd struct {
	benchFlags
	Transport string `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"ndjson" placeholder:"HOW"`
	Messages  int    `help:"Messages in history." default:"1000000" placeholder:"N"`
	Readers   int    `help:"Readers of all of it at the same time." default:"1" placeholder:"N"`
	Cold      bool   `help:"Start the server again, with its files out of the page cache, before reading (Linux)."`
}

// Run measures replaying.
func (c *benchReplayCmd) Run(ctx context.Context, std *streams) error {
	if err := atLeastOne(counted{"messages", c.Messages}, counted{"readers", c.Readers}); err != nil {
		return err
	}
	o := bench.ReplayOptions{
		Load: c.load(std), Transport: bench.Transport(c.Transport), Messages: c.Messages, Readers: c.Readers, Cold: c.Cold,
	}
	return measure(ctx, std, &c.benchFlags, false, func(ctx context.Context, t *bench.Target) (func(context.Context, *bench.Target) (*bench.ReplayResult, error), error) {
		history, err := bench.LoadHistory(ctx, t, o)
		if err != nil {
			return nil, err
		}
		return history.Replay, nil
	})
}

type benchStormCmd struct {
	benchFlags
	Transport   string `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"sse" placeholder:"HOW"`
	Subscribers int    `help:"Subscribers." default:"5000" placeholder:"N"`
	Missed      int    `help:"Messages that each of them missed." default:"10" placeholder:"N"`
}

// Run measures a storm.
func (c *benchStormCmd) Run(ctx context.Context, std *streams) error {
	if err := atLeastOne(counted{"subscribers", c.Subscribers}, counted{"missed", c.Missed}); err != nil {
		return err
	}
	o := bench.StormOptions{Load: c.load(std), Transport: bench.Transport(c.Transport), Subscribers: c.Subscribers, Missed: c.Missed}
	return measure(ctx, std, &c.benchFlags, false, ready(func(ctx context.Context, t *bench.Target) (*bench.StormResult, error) {
		return bench.Storm(ctx, t, o)
	}))
}

type benchIdleCmd struct {
	benchFlags
	Transport   string        `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"sse" placeholder:"HOW"`
	Subscribers int           `help:"Subscribers. With as many topics each has its own." default:"1000" placeholder:"N"`
	Settle      time.Duration `help:"How long to wait after they are connected." default:"3s" placeholder:"TIME"`
}

// Run measures idle subscribers.
func (c *benchIdleCmd) Run(ctx context.Context, std *streams) error {
	if err := atLeastOne(counted{"subscribers", c.Subscribers}); err != nil {
		return err
	}
	o := bench.IdleOptions{Load: c.load(std), Transport: bench.Transport(c.Transport), Subscribers: c.Subscribers, Settle: c.Settle}
	return measure(ctx, std, &c.benchFlags, true, ready(func(ctx context.Context, t *bench.Target) (*bench.IdleResult, error) {
		return bench.Idle(ctx, t, o)
	}))
}
