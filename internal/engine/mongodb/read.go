package mongodb

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"crier/internal/engine"
	"crier/internal/message"
)

// Read returns a page. The view says what is in it, the blocks have the data.
func (l *Log) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	ctx, cancel := l.join(ctx)
	defer cancel()
	for tries := 0; ; tries++ {
		p, err := l.readOnce(ctx, q)
		if errors.Is(err, errMissing) && tries < 10 {
			continue // trimmed or deleted meanwhile: the chain says so
		}
		if err != nil {
			return engine.Page{}, fmt.Errorf("read: %w", l.ended(err))
		}
		return p, nil
	}
}

// errMissing: messages of which the view knows are not there any more.
var errMissing = errors.New("data are gone")

func (l *Log) readOnce(ctx context.Context, q engine.Query) (engine.Page, error) {
	v, err := l.seen(ctx)
	if err != nil {
		return engine.Page{}, err
	}
	p, err := v.Read(ctx, q)
	if err != nil {
		return p, err
	}
	var b *block
	for i := range p.Messages {
		m := &p.Messages[i]
		if b == nil || !b.has(m.ID.Seq) {
			l.mu.Lock()
			at, found := l.block(m.ID.Seq)
			l.mu.Unlock()
			if !found {
				return p, errMissing
			}
			if b, err = l.readBlock(ctx, at); err != nil {
				return p, err
			}
			if !b.has(m.ID.Seq) {
				return p, fmt.Errorf("%w: message %d of domain %q is in no block", engine.ErrCorrupt, m.ID.Seq, l.domain)
			}
		}
		*m = b.messages[m.ID.Seq-b.first]
		if m.Data == nil {
			return p, errMissing
		}
	}
	return p, nil
}

// block is a block that was read.
type block struct {
	number   uint64
	first    uint64
	messages []message.Message
	size     int
}

func (b *block) has(seq uint64) bool { return seq-b.first < uint64(len(b.messages)) && seq >= b.first }

func (l *Log) readBlock(ctx context.Context, at place) (*block, error) {
	if b := l.blocks.get(at.number); b != nil {
		return b, nil
	}
	var d document
	found, err := l.chain.get(ctx, at.number, &d, whole)
	if err != nil {
		return nil, err
	}
	if !found || len(d.Messages) == 0 {
		return nil, errMissing
	}
	b := &block{number: at.number, first: uint64(d.First)}
	if b.messages, err = d.messages(); err != nil {
		return nil, err
	}
	for i := range b.messages {
		b.size += b.messages[i].Size() + overhead
	}
	l.blocks.put(b)
	return b, nil
}

// What a log keeps of the blocks that were read last, since a page may end
// within one.
const (
	maxCached      = 16
	maxCachedBytes = 4 << 20
)

// cache has the blocks that were read last.
type cache struct {
	mu     sync.Mutex
	blocks []*block // the newest last
	size   int
}

func (c *cache) get(n uint64) *block {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.blocks {
		if b.number == n {
			return b
		}
	}
	return nil
}

func (c *cache) put(b *block) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks = append(c.blocks, b)
	c.size += b.size
	for len(c.blocks) > maxCached || c.size > maxCachedBytes && len(c.blocks) > 0 {
		c.size -= c.blocks[0].size
		c.blocks = c.blocks[1:]
	}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks, c.size = nil, 0
}
