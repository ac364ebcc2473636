package mongodb

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// A ring carries the newest messages, as long as they are few and small.
const (
	maxCarried      = 1000
	maxCarriedBytes = 1 << 20
)

// Somebody who listens is told of other nodes' news by asking the chain for
// its next document: every pollTime, or seldom enough that a node asks no more
// than pollRate times a second for all its logs.
const (
	pollTime = 50 * time.Millisecond
	pollRate = 400
)

// bell rings for a log's listeners, one ring at a time, so that heads never go
// back.
type bell struct {
	listening atomic.Int32
	wake      chan struct{} // holds one element when a first listener came

	pending struct {
		sync.Mutex
		news engine.News
		size int
		any  bool
	}

	mu        sync.Mutex // held while listeners run; guards the fields below
	closed    bool
	listeners []*func(engine.News)
}

func (b *bell) heard() bool { return b.listening.Load() > 0 }

// note adds news to what the next ring tells.
func (b *bell) note(head uint64, carried []message.Message, changed bool) {
	p := &b.pending
	p.Lock()
	defer p.Unlock()
	if p.news.Head+uint64(len(carried)) != head || p.news.Messages == nil && p.any && !changed {
		p.news.Messages, p.size = nil, 0 // not in a row with what comes
	}
	p.any = true
	p.news.Head = head
	p.news.Changed = p.news.Changed || changed
	for i := range carried {
		p.size += carried[i].Size()
	}
	p.news.Messages = append(p.news.Messages, carried...)
	if len(p.news.Messages) > maxCarried || p.size > maxCarriedBytes || p.news.Changed {
		p.news.Messages, p.size = nil, 0
	}
}

// ring tells the listeners what is pending. If another goroutine has told them
// meanwhile, there is nothing left to say.
func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.pending
	p.Lock()
	news, some := p.news, p.any
	p.news.Messages, p.news.Changed, p.size, p.any = nil, false, 0, false
	p.Unlock()
	if !some || b.closed {
		return
	}
	for _, fn := range b.listeners {
		(*fn)(news)
	}
}

func (b *bell) listen(fn func(engine.News)) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return func() {}
	}
	entry := &fn
	b.listeners = append(b.listeners, entry)
	b.listening.Add(1)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if i := slices.Index(b.listeners, entry); i >= 0 {
			b.listeners = slices.Delete(b.listeners, i, i+1)
			b.listening.Add(-1)
		}
	}
}

func (b *bell) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.listeners = nil
	b.listening.Store(0)
}

// poll asks for news of other nodes while somebody listens, until the log is
// closed.
func (l *Log) poll() {
	for {
		select {
		case <-l.bell.wake:
		case <-l.life.Done():
			return
		}
		l.pollWhileHeard()
	}
}

func (l *Log) pollWhileHeard() {
	l.e.polling.Add(1)
	defer l.e.polling.Add(-1)
	for l.bell.heard() {
		wait := max(pollTime, time.Second*time.Duration(l.e.polling.Load())/pollRate)
		ctx, cancel := context.WithTimeout(l.life, callTime)
		if err := l.fresh(ctx); err != nil {
			wait = 10 * pollTime // it is away; who publishes is told so
		}
		cancel()
		if pause(l.life, wait) != nil || l.isDropped() {
			return
		}
	}
}
