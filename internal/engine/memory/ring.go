package memory

import (
	"slices"
	"sync"
	"sync/atomic"

	"crier/internal/engine"
	"crier/internal/message"
)

// A ring carries the newest messages, as long as they are few and small.
const (
	maxCarried      = 256
	maxCarriedBytes = 256 << 10
)

// bell rings for a log's listeners, one ring at a time, so that heads never
// go back.
type bell struct {
	listening atomic.Int32 // how many listeners there are

	mu        sync.Mutex // held while listeners run; guards the fields below
	closed    bool
	listeners []*func(engine.News)
	rung      uint64 // the head of the last ring
}

// Listen has fn called with what is news from now on. The calls come from the
// goroutines that append to or change the log, one at a time, before they
// return; heads never go back. fn may call State, but nothing else of the log.
func (l *Log) Listen(fn func(engine.News)) (stop func()) {
	b := &l.bell
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return func() {}
	}
	if len(b.listeners) == 0 {
		l.mu.RLock()
		b.rung = l.hist.head
		l.mu.RUnlock()
	}
	entry := &fn
	b.listeners = append(b.listeners, entry)
	b.listening.Add(1)
	return func() { b.remove(entry) }
}

// remove ends the calls; when it returns, none is under way.
func (b *bell) remove(entry *func(engine.News)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.listeners, entry); i >= 0 {
		b.listeners = slices.Delete(b.listeners, i, i+1)
		b.listening.Add(-1)
	}
}

func (b *bell) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.listeners = nil
	b.listening.Store(0)
}

// ring tells the listeners what is news. If another goroutine has told them
// meanwhile, there is nothing left to say.
func (l *Log) ring() {
	b := &l.bell
	if b.listening.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.listeners) == 0 {
		return
	}
	changed := l.changed.Swap(false)
	l.mu.RLock()
	head := l.hist.head
	var carried []message.Message
	if head > b.rung {
		carried = l.newest(b.rung)
	}
	closed := l.closed
	l.mu.RUnlock()
	if closed || head == b.rung && !changed {
		return
	}
	b.rung = head
	for _, fn := range b.listeners {
		(*fn)(engine.News{Head: head, Messages: carried, Changed: changed})
	}
}

// newest returns the newest messages above after that are consecutive and end
// at the head.
func (l *Log) newest(after uint64) []message.Message {
	from, bytes := l.hist.head+1, int64(0)
	for from-1 > after && l.hist.head+1-from < maxCarried {
		r := l.hist.at(from - 1)
		if r == nil {
			break
		}
		if bytes += r.size(); bytes > maxCarriedBytes {
			break
		}
		from--
	}
	if from > l.hist.head {
		return nil
	}
	messages := make([]message.Message, 0, l.hist.head+1-from)
	for seq := from; seq <= l.hist.head; seq++ {
		messages = append(messages, l.hist.at(seq).message(seq))
	}
	return messages
}
