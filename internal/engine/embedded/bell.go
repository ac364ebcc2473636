package embedded

import (
	"sync"
	"sync/atomic"

	"crier/internal/engine"
)

// bell has the listeners of a log. Rings come one at a time from whoever holds
// the log's write lock, so that heads never go back but when the log does.
type bell struct {
	count atomic.Int32

	mu        sync.RWMutex // held for reading while listeners run
	listeners map[*func(engine.News)]struct{}
}

// listen adds a listener; stop returns once it is not running any more.
func (b *bell) listen(fn func(engine.News)) (stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = map[*func(engine.News)]struct{}{}
	}
	entry := &fn
	b.listeners[entry] = struct{}{}
	b.count.Store(int32(len(b.listeners)))
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, entry)
		b.count.Store(int32(len(b.listeners)))
	}
}

// silent reports whether nobody listens.
func (b *bell) silent() bool { return b.count.Load() == 0 }

func (b *bell) ring(n engine.News) {
	if b.silent() {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for fn := range b.listeners {
		(*fn)(n)
	}
}
