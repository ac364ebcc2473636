package access

import (
	"sync"
	"time"
)

// life ends once, with a cause, for all that wait for it. The zero life has
// not ended.
type life struct {
	mu      sync.Mutex // guards the fields below
	cause   error
	waiting map[*ending]struct{}
}

// ending is one that waits. It is told once, or not at all: whoever takes it
// out of the map may tell it.
type ending struct {
	fn      func(error)
	timer   *time.Timer // of the credential's expiry, or nil
	release func()      // called when it waits no more
}

func (l *life) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cause
}

// end tells everybody, on the caller's goroutine.
func (l *life) end(cause error) {
	l.mu.Lock()
	if l.cause != nil {
		l.mu.Unlock()
		return
	}
	l.cause = cause
	waiting := l.waiting
	l.waiting = nil
	l.mu.Unlock()
	for e := range waiting {
		if e.timer != nil {
			e.timer.Stop()
		}
		e.release()
		e.fn(cause)
	}
}

// onEnd has fn called when l ends, or after the given time with ErrExpired (0:
// never). release is called once, when nothing is waited for any more.
func (l *life) onEnd(fn func(error), in time.Duration, release func()) (stop func()) {
	e := &ending{fn: fn, release: release}
	l.mu.Lock()
	if cause := l.cause; cause != nil {
		l.mu.Unlock()
		release()
		fn(cause)
		return func() {}
	}
	if l.waiting == nil {
		l.waiting = map[*ending]struct{}{}
	}
	l.waiting[e] = struct{}{}
	if in > 0 {
		e.timer = time.AfterFunc(in, func() {
			if l.take(e) {
				release()
				fn(ErrExpired)
			}
		})
	}
	l.mu.Unlock()
	return func() {
		if l.take(e) {
			if e.timer != nil {
				e.timer.Stop()
			}
			release()
		}
	}
}

func (l *life) take(e *ending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, waits := l.waiting[e]
	delete(l.waiting, e)
	return waits
}
