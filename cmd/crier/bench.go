package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"crier/internal/bench"
)

// benchCmd is crier bench.
type benchCmd struct {
	Publish benchPublishCmd `cmd:"" help:"Publish, each connection waiting for its answer; then read it all back and count."`
	Fanout  benchFanoutCmd  `cmd:"" help:"Publish to many subscribers that are connected."`
	Replay  benchReplayCmd  `cmd:"" help:"Read history from beginning to end."`
	Idle    benchIdleCmd    `cmd:"" help:"Hold subscribers to which nothing is said."`
}

// benchFlags are those of all loads.
type benchFlags struct {
	Server     string        `help:"Address of a server to measure. Unless given, one is started on free ports with data of its own." placeholder:"URL" group:"Server"`
	Token      string        `help:"Key or JWT for --server." placeholder:"TOKEN" env:"CRIER_TOKEN" group:"Server"`
	PID        int           `name:"pid" help:"Process of --server, if it runs on this machine: its processor time and memory are then told too." placeholder:"PID" group:"Server"`
	Admin      string        `help:"Operator's listener of --server, for --domains." placeholder:"URL" group:"Server"`
	AdminToken string        `help:"Token for --admin." placeholder:"TOKEN" env:"CRIER_ADMIN_TOKEN" group:"Server"`
	Durability string        `help:"Durability of the server that is started: fsync, async or memory. Unless given, fsync." enum:",fsync,async,memory" default:"" placeholder:"HOW" group:"Server"`
	Domain     string        `help:"Domain of --server; of several, the beginning of their names." default:"main" placeholder:"NAME"`
	Domains    int           `help:"Domains over which the load is spread." default:"1" placeholder:"N"`
	Topics     int           `help:"Topics of each domain over which it is spread." default:"1" placeholder:"N"`
	Size       int           `help:"Bytes of a message." default:"200" placeholder:"BYTES"`
	Duration   time.Duration `help:"How long to measure." default:"10s" placeholder:"TIME"`
	Warmup     time.Duration `help:"How long to load before that." default:"1s" placeholder:"TIME"`
	JSON       bool          `name:"json" help:"Print JSON; times are in nanoseconds."`
}

func (f *benchFlags) load(std *streams) bench.Load {
	warmup := f.Warmup
	if warmup == 0 {
		warmup = -1 // none, and not the default
	}
	return bench.Load{
		Domain: f.Domain, Domains: f.Domains, Topics: f.Topics, Size: f.Size, Duration: f.Duration, Warmup: warmup,
		Progress: func(s string) { std.note("%s", s) },
	}
}

// target is the server that is given, or one that is started.
func (f *benchFlags) target(ctx context.Context) (*bench.Target, error) {
	if f.Server != "" {
		if f.Durability != "" {
			return nil, usagef("--durability is for the server that is started; that of --server is its own")
		}
		return &bench.Target{URL: f.Server, Token: f.Token, PID: f.PID, Admin: f.Admin, AdminToken: f.AdminToken}, nil
	}
	if f.PID != 0 || f.Admin != "" {
		return nil, usagef("--pid and --admin are for --server")
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return bench.Start(ctx, bench.Config{Executable: exe, Durability: f.Durability})
}

// result is what a load came to.
type result interface {
	WriteText(w io.Writer) error
	Any() bool // something was lost, doubled or swapped
}

// run does a load and prints what it came to. A load in which messages were
// lost, doubled or swapped has failed.
func (f *benchFlags) run(ctx context.Context, std *streams, load func(*bench.Target) (result, error)) (err error) {
	t, err := f.target(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	r, err := load(t)
	if err != nil {
		return err
	}
	if f.JSON {
		err = printLine(std.out, r)
	} else {
		err = r.WriteText(std.out)
	}
	if err == nil && r.Any() {
		err = errors.New("messages were lost, doubled or swapped")
	}
	return err
}

type benchPublishCmd struct {
	benchFlags
	Connections int     `help:"Publishers." default:"64" placeholder:"N"`
	Rate        float64 `help:"Messages a second of all together; 0: as fast as answers come." default:"0" placeholder:"N"`
}

// Run measures publishing.
func (c *benchPublishCmd) Run(ctx context.Context, std *streams) error {
	return c.run(ctx, std, func(t *bench.Target) (result, error) {
		return known(bench.Publish(ctx, t, bench.PublishOptions{Load: c.load(std), Connections: c.Connections, Rate: c.Rate}))
	})
}

type benchFanoutCmd struct {
	benchFlags
	Transport   string  `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"sse" placeholder:"HOW"`
	Subscribers int     `help:"Subscribers. With one topic each gets every message; with as many topics as subscribers each message goes to one." default:"1000" placeholder:"N"`
	Connections int     `help:"Publishers; 0: one for each domain." default:"0" placeholder:"N"`
	Rate        float64 `help:"Messages a second of all publishers together; 0: as fast as answers come." default:"20" placeholder:"N"`
}

// Run measures fanning out.
func (c *benchFanoutCmd) Run(ctx context.Context, std *streams) error {
	rate := c.Rate
	if rate == 0 {
		rate = -1 // no limit, and not the default
	}
	return c.run(ctx, std, func(t *bench.Target) (result, error) {
		return known(bench.Fanout(ctx, t, bench.FanoutOptions{
			Load: c.load(std), Transport: bench.Transport(c.Transport), Subscribers: c.Subscribers, Connections: c.Connections, Rate: rate,
		}))
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
	return c.run(ctx, std, func(t *bench.Target) (result, error) {
		return known(bench.Replay(ctx, t, bench.ReplayOptions{
			Load: c.load(std), Transport: bench.Transport(c.Transport), Messages: c.Messages, Readers: c.Readers, Cold: c.Cold,
		}))
	})
}

type benchIdleCmd struct {
	benchFlags
	Transport   string `help:"sse, ws or ndjson." enum:"sse,ws,ndjson" default:"sse" placeholder:"HOW"`
	Subscribers int    `help:"Subscribers." default:"1000" placeholder:"N"`
}

// Run measures idle subscribers.
func (c *benchIdleCmd) Run(ctx context.Context, std *streams) error {
	return c.run(ctx, std, func(t *bench.Target) (result, error) {
		return known(bench.Idle(ctx, t, bench.IdleOptions{Load: c.load(std), Transport: bench.Transport(c.Transport), Subscribers: c.Subscribers}))
	})
}

// known makes a result of what a load returned; without one there is only the
// error.
func known[R result](r R, err error) (result, error) {
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return r, nil
}
