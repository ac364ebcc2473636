package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"crier/client"
)

// subscribeCmd is crier subscribe.
type subscribeCmd struct {
	publicFlags
	Patterns    []string `arg:"" name:"pattern" help:"Topics and patterns: 'news/today', 'news/*' (one segment), 'news/**' (the rest)."`
	Since       string   `help:"Where to begin: after a message's id, or earliest, latest, last:N (the newest N). Unless given: latest, with --until-latest earliest." placeholder:"CURSOR"`
	UntilLatest bool     `help:"Stop at what is the newest message now, instead of following."`
	Limit       int      `help:"Stop after so many messages." placeholder:"N"`
	JSON        bool     `name:"json" help:"Print each message, and each gap, as a line of JSON with all that belongs to it."`
}

// Run prints until it is interrupted, which is no failure, or there is enough.
func (c *subscribeCmd) Run(ctx context.Context, std *streams) error {
	if c.Limit < 0 {
		return usagef("--limit %d is below 1", c.Limit)
	}
	cl, err := c.client(std)
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	out := bufio.NewWriter(std.out)
	print := c.printer(out)
	n, last := 0, ""
	for msg, err := range c.messages(ctx, cl, std) {
		gap, isGap := errors.AsType[*client.Gap](err)
		switch {
		case isGap && c.JSON:
			err = printLine(out, map[string]*client.Gap{"gap": gap})
		case isGap:
			err = nil
			std.note("%v", gap)
		case err != nil && ctx.Err() != nil:
			return c.goodbye(out, std, last)
		case err == nil:
			n, last = n+1, msg.ID
			err = print(msg)
		}
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		if c.Limit > 0 && n == c.Limit {
			return nil
		}
	}
	return nil
}

// messages is the live stream, or history up to now.
func (c *subscribeCmd) messages(ctx context.Context, cl *client.Client, std *streams) iter.Seq2[client.Message, error] {
	if c.UntilLatest {
		return cl.History(ctx, client.PageOptions{Domain: c.Domain, Topics: c.Patterns, Since: c.Since})
	}
	hinted := "" // once is enough
	return cl.Subscribe(ctx, client.SubscribeOptions{
		Domain: c.Domain, Topics: c.Patterns, Since: c.Since,
		OnRetry: func(err error, wait time.Duration) {
			std.note("%v; trying again in %v", err, rounded(wait))
			if hint := hintFor(err); hint != "" && hint != hinted {
				hinted = hint
				std.note("%s", hint)
			}
		},
	})
}

// goodbye tells somebody who interrupts where to go on.
func (c *subscribeCmd) goodbye(out *bufio.Writer, std *streams, last string) error {
	if last != "" && !c.JSON {
		std.note("--since %s goes on from here", last)
	}
	return out.Flush()
}

func (c *subscribeCmd) printer(out io.Writer) func(client.Message) error {
	if c.JSON {
		return func(m client.Message) error { return printLine(out, m) }
	}
	return func(m client.Message) error {
		_, err := out.Write(m.Data)
		if err == nil && !bytes.HasSuffix(m.Data, []byte("\n")) {
			_, err = fmt.Fprintln(out)
		}
		return err
	}
}

// printLine prints JSON on one line.
func printLine(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
