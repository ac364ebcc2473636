package qri

import (
	"context"
	"sync"

	"crier/internal/hub"
	"crier/internal/message"
)

// Bounds of what one connection has waiting: beyond them it is not read from.
// There is always room for one message.
const (
	maxWaiting      = 4000
	maxWaitingBytes = 512 << 10
)

// backlog has the messages of one connection on their way from the socket to
// the log: while one block is being appended the next ones gather.
type backlog struct {
	room hub.Signal // something was taken
	news hub.Signal // something was put, or nothing more will be

	mu     sync.Mutex // guards the fields below
	list   []message.Draft
	bytes  int
	closed bool
}

func newBacklog() *backlog { return &backlog{room: hub.NewSignal(), news: hub.NewSignal()} }

// put adds messages in order, waiting for room. It returns how many it added,
// which is all of them unless ctx ended.
func (b *backlog) put(ctx context.Context, drafts []message.Draft) (n int) {
	for n < len(drafts) {
		b.mu.Lock()
		before := n
		for n < len(drafts) && (len(b.list) == 0 || len(b.list) < maxWaiting && b.bytes < maxWaitingBytes) {
			b.bytes += len(drafts[n].Data)
			b.list = append(b.list, drafts[n])
			n++
		}
		b.mu.Unlock()
		if n > before {
			b.news.Wake()
			continue
		}
		select {
		case <-b.room:
		case <-ctx.Done():
			return n
		}
	}
	return n
}

// close says that nothing more will be put.
func (b *backlog) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.news.Wake()
}

// take waits for messages and gives the next block: at most most of them, and
// no more than bytes of data, but at least one. None: all were taken and
// nothing more will be put, or ctx ended.
func (b *backlog) take(ctx context.Context, most, bytes int) []message.Draft {
	for {
		b.mu.Lock()
		n, size := 0, 0
		for n < min(most, len(b.list)) && (n == 0 || size+len(b.list[n].Data) <= bytes) {
			size += len(b.list[n].Data)
			n++
		}
		block := b.list[:n:n]
		b.list = b.list[n:]
		b.bytes -= size
		closed := b.closed
		b.mu.Unlock()
		switch {
		case n > 0:
			b.room.Wake()
			return block
		case closed:
			return nil
		}
		select {
		case <-b.news:
		case <-ctx.Done():
			return nil
		}
	}
}

// left counts what was not taken.
func (b *backlog) left() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.list)
}
