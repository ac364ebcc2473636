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
	Unicast benchUnicastCmd `cmd:"" help:"Publish each message to one of many subscribers, each on its own topic."`
	Replay  benchReplayCmd  `cmd:"" help:"Read history from beginning to end."`
	Storm   benchStormCmd   `cmd:"" help:"Have many subscribers come back at once, each with a cursor."`
	Idle    benchIdleCmd    `cmd:"" help:"Hold subscribers to which nothing is said."`
}

// benchFlags are those of all loads.
type benchFlags struct {
	Server     string         `help:"Address of a server to measure. Unless given, one is started on free ports with data of its own." placeholder:"URL" group:"Server"`
	Token      string         `help:"Key or JWT for --server." placeholder:"TOKEN" env:"CRIER_TOKEN" group:"Server"`
	PID        int            `name:"pid" help:"Process of --server, if it runs on this machine: its processor time and memory are then told too." placeholder:"PID" group:"Server"`
	Admin      string         `help:"Operator's listener of --server, for --domains." placeholder:"URL" group:"Server"`
	AdminToken string         `help:"Token for --admin." placeholder:"TOKEN" env:"CRIER_ADMIN_TOKEN" group:"Server"`
	Durability string         `help:"Durability of the server that is started: fsync, async or memory. Unless given, fsync." enum:",fsync,async,memory" default:"" placeholder:"HOW" group:"Server"`
	Domain     string         `help:"Domain of --server; of several, the beginning of their names." default:"main" placeholder:"NAME"`
	Domains    int            `help:"Domains over which the load is spread." default:"1" placeholder:"N"`
	Topics     int            `help:"Topics of each domain over which it is spread." default:"1" placeholder:"N"`
	Size       int            `help:"Bytes of a message." default:"200" placeholder:"BYTES"`
	Duration   *time.Duration `help:"How long to measure, in each round. Unless given, 10s; with several rounds 3s." placeholder:"TIME"`
	Warmup     time.Duration  `help:"How long to load before that." default:"1s" placeholder:"TIME"`
	Rounds     int            `help:"Rounds, of whose figures the medians are told. Unless given, 1; with --reference 5." placeholder:"N"`
	Reference  bool           `help:"Start the limit beside the server, a process that does the least there is to do, take turns with it, and tell every figure as a ratio to its (Linux)."`
	Together   bool           `help:"With --reference: the limit puts all that waits for a subscriber into one write."`
	JSON       bool           `name:"json" help:"Print JSON; times are in nanoseconds."`
}

func (f *benchFlags) load(std *streams) bench.Load {
	warmup := f.Warmup
	if warmup == 0 {
		warmup = -1 // none, and not the default
	}
	var duration time.Duration // 0: the load's own
	switch {
	case f.Duration != nil:
		duration = *f.Duration
	case f.rounds() > 1:
		duration = 3 * time.Second
	}
	return bench.Load{
		Domain: f.Domain, Domains: f.Domains, Topics: f.Topics, Size: f.Size, Duration: duration, Warmup: warmup,
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

func (f *benchFlags) rounds() int {
	if f.Rounds == 0 && f.Reference {
		return 5
	}
	return max(f.Rounds, 1)
}

func (f *benchFlags) check() error {
	switch {
	case f.Rounds < 0 || f.Rounds > 1000:
		return usagef("--rounds %d is outside 1 to 1000", f.Rounds)
	case f.Together && !f.Reference:
		return usagef("--together says how the limit of --reference writes")
	case f.Reference && f.Domains > 1:
		return usagef("--domains: the limit of --reference has none")
	case f.Duration != nil && *f.Duration <= 0:
		return usagef("--duration %v is not above 0", *f.Duration)
	case f.Size < bench.MinSize || f.Size > bench.MaxSize:
		return usagef("--size %d is outside %d to %d bytes", f.Size, bench.MinSize, bench.MaxSize)
	}
	return atLeastOne(counted{"domains", f.Domains}, counted{"topics", f.Topics})
}

// counted is a flag that says how many.
type counted struct {
	flag string
	n    int
}

// atLeastOne refuses what a load would take for "not said".
func atLeastOne(flags ...counted) error {
	for _, c := range flags {
		if c.n < 1 {
			return usagef("--%s %d is below the least, 1", c.flag, c.n)
		}
	}
	return nil
}

// result is what a load, or a series of it, came to.
type result interface {
	WriteText(w io.Writer) error
	Any() bool // something was lost, doubled or swapped
}

// loading makes a load ready for a target and returns a run of it.
type loading[R bench.Result] func(ctx context.Context, t *bench.Target) (func(context.Context, *bench.Target) (R, error), error)

// ready is a load for which there is nothing to make ready.
func ready[R bench.Result](run func(context.Context, *bench.Target) (R, error)) loading[R] {
	return func(context.Context, *bench.Target) (func(context.Context, *bench.Target) (R, error), error) {
		return run, nil
	}
}

// measure runs a load, once or in rounds, and prints what it came to. A load
// in which messages were lost, doubled or swapped has failed. fresh says that
// each round is to have new processes.
func measure[R bench.Result](ctx context.Context, std *streams, f *benchFlags, fresh bool, load loading[R]) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	t, err := f.target(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	r, err := rounds(ctx, std, f, fresh, t, load)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // what failed after it failed of it
		}
		return fmt.Errorf("bench: %w", err)
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

// rounds runs a load once, or as often as the flags say.
func rounds[R bench.Result](ctx context.Context, std *streams, f *benchFlags, fresh bool, t *bench.Target, load loading[R]) (result, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	run, err := load(ctx, t)
	if err != nil {
		return nil, err
	}
	if f.rounds() == 1 && !f.Reference {
		r, err := run(ctx, t)
		if err != nil {
			return nil, err // and no result, of whatever type
		}
		return r, nil
	}
	c, err := bench.Compare(ctx, t, bench.Series{
		Rounds: f.rounds(), Reference: f.Reference, Together: f.Together, Executable: exe, Fresh: fresh,
		Progress: func(s string) { std.note("%s", s) },
	}, run)
	if err != nil {
		return nil, err
	}
	return c, nil
}
