package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"crier/client"
	"crier/internal/config"
)

// publishCmd is crier publish.
type publishCmd struct {
	publicFlags
	Topic       string          `arg:"" help:"Topic, such as 'news/today'."`
	Data        *string         `arg:"" optional:"" help:"The message. '-' or none: stdin line by line, each a message; blank lines are left out."`
	File        string          `help:"Publish a file as one message ('-': all of stdin)." type:"existingfile" placeholder:"FILE"`
	ContentType string          `help:"Content type. Unless given: text/plain; charset=utf-8." placeholder:"TYPE"`
	Binary      bool            `help:"The data are bytes: short for --content-type application/octet-stream."`
	Type        string          `help:"Type of the messages: the event name of EventSource." placeholder:"NAME"`
	TTL         config.Duration `name:"ttl" help:"How long the messages are delivered, such as 30s, 12h or 7d; unless given, as long as history goes." placeholder:"TIME"`
	Key         string          `help:"Idempotency key: the same again within ten minutes stores nothing. Lines are KEY-N, with N their number." placeholder:"KEY"`
	Batch       int             `help:"Most lines that go out in one request, when they are there; 1: each by itself." default:"500" placeholder:"N"`
	JSON        bool            `name:"json" help:"Print a line of JSON for each message that was stored."`
}

// Run publishes one message or many.
func (c *publishCmd) Run(ctx context.Context, std *streams) error {
	if c.Batch < 1 || c.Batch > client.MaxBatch {
		return usagef("--batch %d is outside 1 to %d", c.Batch, client.MaxBatch)
	}
	if c.File != "" && c.Data != nil {
		return usagef("the message is given twice: as an argument and as --file")
	}
	if c.Binary && c.ContentType == "" {
		c.ContentType = "application/octet-stream"
	}
	cl, err := c.client(std)
	if err != nil {
		return err
	}
	defer cl.CloseIdleConnections()
	if c.File == "" && (c.Data == nil || *c.Data == "-") {
		return c.lines(ctx, cl, std)
	}
	data, err := c.one(std)
	if err != nil {
		return err
	}
	r, err := cl.Publish(ctx, client.Draft{
		Domain: c.Domain, Topic: c.Topic, Data: data, ContentType: c.ContentType, Type: c.Type, TTL: time.Duration(c.TTL), Key: c.Key,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printLine(std.out, r)
	}
	_, err = fmt.Fprintln(std.out, r.ID)
	return err
}

// maxFile bounds a file that is one message; servers take less.
const maxFile = 64 << 20

// one reads the data of a single message.
func (c *publishCmd) one(std *streams) ([]byte, error) {
	if c.File == "" {
		return []byte(*c.Data), nil
	}
	in := std.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.File, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is longer than %d bytes, which no server takes as one message", c.File, maxFile)
	}
	return data, nil
}

// lines publishes stdin line by line, in order.
func (c *publishCmd) lines(ctx context.Context, cl *client.Client, std *streams) error {
	out := c.sender(cl)
	defer out.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := startProgress(std)
	var last client.Receipt
	for b, err := range batches(ctx, std.in, batchLimits{lines: c.Batch, full: c.Key != ""}) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return errors.Join(fmt.Errorf("%w; %s", err, p.summary(last.ID)))
		}
		receipts, err := out.send(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w; %s", b.where(), err, p.summary(last.ID))
		}
		if c.JSON {
			for _, r := range receipts {
				if err := printLine(std.out, r); err != nil {
					return err
				}
			}
		}
		last = receipts[len(receipts)-1]
		p.add(len(receipts))
	}
	p.end()
	if !c.JSON {
		std.note("%s", p.summary(last.ID))
	}
	return ctx.Err()
}

// sender publishes batches of lines in the way that is right for them.
type sender struct {
	cmd     *publishCmd
	client  *client.Client
	session *client.Session // for batches of text, made when there is the first
}

func (c *publishCmd) sender(cl *client.Client) *sender { return &sender{cmd: c, client: cl} }

// send publishes a batch: a single line by POST; several as one request, JSON
// by POST and other text over a WebSocket, since a batch by POST is of JSON.
func (s *sender) send(ctx context.Context, b batch) ([]client.Receipt, error) {
	c, key := s.cmd, ""
	if c.Key != "" {
		key = fmt.Sprintf("%s-%d", c.Key, b.first)
	}
	switch {
	case len(b.lines) == 1:
		r, err := s.client.Publish(ctx, client.Draft{
			Domain: c.Domain, Topic: c.Topic, Data: b.lines[0], ContentType: c.ContentType, Type: c.Type, TTL: time.Duration(c.TTL), Key: key,
		})
		return []client.Receipt{r}, err
	case c.ContentType == "application/json":
		messages := make([]json.RawMessage, len(b.lines))
		for i, line := range b.lines {
			messages[i] = line
		}
		return s.client.PublishBatch(ctx, client.Batch{
			Domain: c.Domain, Topic: c.Topic, Messages: messages, Type: c.Type, TTL: time.Duration(c.TTL), Key: key,
		})
	}
	if s.session == nil {
		s.session = s.client.Session(c.Domain)
	}
	messages := make([]client.Content, len(b.lines))
	for i, line := range b.lines {
		messages[i] = client.Content{Data: line, ContentType: c.ContentType, Type: c.Type, TTL: time.Duration(c.TTL)}
	}
	return s.session.Publish(ctx, c.Topic, messages, key)
}

func (s *sender) close() {
	if s.session != nil {
		_ = s.session.Close() // everything was acknowledged, or an error is told
	}
}
