package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"crier/client"
)

// A publisher publishes one message after the other, or one batch after the
// other, to the topic load/NAME of its domain until stop is closed, and leaves
// word of each in the ledger. It never gives up a message that can be tried
// again without doubling it.
type publisher struct {
	name   string
	ledger *ledger
	client *client.Client
	rng    *rand.Rand
	acks   *atomic.Int64 // counts what was acknowledged
	n      int
}

func (p *publisher) topic() string { return "load/" + p.name }

// draw names the next message.
func (p *publisher) draw() string {
	p.n++
	return fmt.Sprintf("%s#%d", p.name, p.n)
}

func (p *publisher) acknowledged(names []string, receipts []client.Receipt) {
	for i, r := range receipts {
		p.ledger.acknowledge(names[i], r.ID)
	}
	p.acks.Add(int64(len(receipts)))
}

// contentType is that of the message with a name: some are binary.
func (p *publisher) contentType() string {
	if p.n%8 == 0 {
		return "application/octet-stream"
	}
	return "text/plain"
}

// keyed publishes single messages with an idempotency key, each until it is
// acknowledged.
func (p *publisher) keyed(ctx context.Context, stop <-chan struct{}) {
	for !closed(stop) && ctx.Err() == nil {
		name := p.draw()
		r, err := p.client.Publish(ctx, client.Draft{
			Domain: p.ledger.domain, Topic: p.topic(), Data: []byte(payload(name)), ContentType: p.contentType(), Key: name,
		})
		p.settle(ctx, []string{name}, []client.Receipt{r}, err)
	}
}

// bare publishes without keys, so that what became of a message is not known
// when its request breaks.
func (p *publisher) bare(ctx context.Context, stop <-chan struct{}) {
	for !closed(stop) && ctx.Err() == nil {
		name := p.draw()
		r, err := p.client.Publish(ctx, client.Draft{
			Domain: p.ledger.domain, Topic: p.topic(), Data: []byte(payload(name)), ContentType: p.contentType(), NoKey: true,
		})
		if err != nil {
			p.ledger.doubt(name)
			pause(ctx, 5*time.Millisecond)
			continue
		}
		p.settle(ctx, []string{name}, []client.Receipt{r}, nil)
	}
}

// batches publishes several at once, all or none.
func (p *publisher) batches(ctx context.Context, stop <-chan struct{}) {
	for !closed(stop) && ctx.Err() == nil {
		names := make([]string, 1+p.rng.IntN(20))
		messages := make([]json.RawMessage, len(names))
		for i := range names {
			names[i] = p.draw()
			messages[i] = json.RawMessage(`"` + payload(names[i]) + `"`)
		}
		receipts, err := p.client.PublishBatch(ctx, client.Batch{
			Domain: p.ledger.domain, Topic: p.topic(), Messages: messages, Key: names[0],
		})
		p.settle(ctx, names, receipts, err)
	}
}

// session publishes over a WebSocket.
func (p *publisher) session(ctx context.Context, stop <-chan struct{}) {
	s := p.client.Session(p.ledger.domain)
	defer s.Close()
	for !closed(stop) && ctx.Err() == nil {
		names := make([]string, 1+p.rng.IntN(5))
		messages := make([]client.Content, len(names))
		for i := range names {
			names[i] = p.draw()
			messages[i] = client.Content{Data: []byte(payload(names[i])), ContentType: p.contentType()}
		}
		receipts, err := s.Publish(ctx, p.topic(), messages, names[0])
		p.settle(ctx, names, receipts, err)
	}
}

// settle notes how a publish that is safe to try again came out. Its client
// tries for as long as the context lives, so that an error is one.
func (p *publisher) settle(ctx context.Context, names []string, receipts []client.Receipt, err error) {
	if err == nil {
		p.acknowledged(names, receipts)
		return
	}
	for _, name := range names {
		p.ledger.doubt(name)
	}
	if ctx.Err() == nil {
		p.ledger.complain("%s gave up: %v", p.name, err)
		pause(ctx, 50*time.Millisecond)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
