package httpapi

import (
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
)

// maxPressBytes bounds the data of a press's block.
const maxPressBytes = 4 << 20

// press is what a worker of the wire gathers in a round: publishes of several
// connections to one domain become one block, which is handed over when the
// round is over.
type press struct {
	loop   *loop
	block  *pressed
	answer []byte // the last one that was written
}

// pressed is a block with the connections that are owed its receipt, message by
// message.
type pressed struct {
	loop   *loop
	domain *hub.Domain
	drafts []message.Draft
	from   []*publisher
	bytes  int
	key    engine.Key
	done   func(engine.Receipt, error) // answer, bound once
}

// add takes a publish into the block under way.
func (p *press) add(d *hub.Domain, draft message.Draft, from *publisher) {
	if b := p.block; b != nil && (b.domain != d || len(b.drafts) == engine.MaxBlock || b.bytes+len(draft.Data) > maxPressBytes) {
		p.Over()
	}
	if p.block == nil {
		p.block = p.loop.fresh()
		p.block.domain = d
	}
	b := p.block
	b.drafts = append(b.drafts, draft)
	b.from = append(b.from, from)
	b.bytes += len(draft.Data)
}

// Over implements [wire.Local].
func (p *press) Over() {
	b := p.block
	if b == nil {
		return
	}
	p.block = nil
	block := engine.Block{Drafts: b.drafts, Key: b.key}
	if b.domain.StartPublish(block, b.done) {
		return
	}
	// The log would make the loop wait. There are never more of these than
	// connections.
	p.loop.api.Wire.Go(func() {
		b.done(b.domain.Publish(p.loop.api.Wire.Context(), block))
	})
}

// answer gives each connection its part of the receipt.
func (b *pressed) answer(r engine.Receipt, err error) {
	for i, s := range b.from {
		one := r
		if err == nil {
			one.First, one.N = r.ID(i), 1
		}
		s.outcome(one, err)
	}
	if err != nil {
		return // the log may go on with the drafts, if nobody waited for it to the end
	}
	clear(b.drafts)
	clear(b.from)
	b.domain, b.drafts, b.from, b.bytes, b.key = nil, b.drafts[:0], b.from[:0], 0, engine.Key{}
	b.loop.blocks.Put(b)
}

// fresh is a block with nothing in it.
func (l *loop) fresh() *pressed {
	if b, ok := l.blocks.Get().(*pressed); ok {
		return b
	}
	b := &pressed{loop: l}
	b.done = b.answer
	return b
}
