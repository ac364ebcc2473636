// Package watch tells functions that something of a kind changed: the half of
// a registry's Watch that engines have in common. Changes that come while the
// functions run are one more call, so that a slow watcher costs no memory.
//
// A [Set] has no goroutine while there is nothing to tell; one comes with a
// change and goes when all is told. Close waits for it.
package watch

import (
	"slices"
	"sync"
)

// Set has the watchers of a registry. The zero Set is ready.
type Set struct {
	teller sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	closed   bool
	watchers map[string][]*watcher
	pending  map[string]struct{} // kinds that changed and were not told yet
	telling  bool                // the goroutine is there
}

// watcher is a function and the lock that is held while it runs.
type watcher struct {
	mu      sync.Mutex
	stopped bool
	fn      func()
}

func (w *watcher) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.fn()
	}
}

// Add has fn called after changes of the kind, one call at a time, until stop
// is called, which waits for a call that is under way. fn does not block, and
// does not call its own stop.
func (s *Set) Add(kind string, fn func()) (stop func()) {
	w := &watcher{fn: fn}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() {}
	}
	if s.watchers == nil {
		s.watchers = map[string][]*watcher{}
	}
	s.watchers[kind] = append(s.watchers[kind], w)
	return func() { s.remove(kind, w) }
}

func (s *Set) remove(kind string, w *watcher) {
	s.mu.Lock()
	left := slices.DeleteFunc(slices.Clone(s.watchers[kind]), func(o *watcher) bool { return o == w })
	if len(left) > 0 {
		s.watchers[kind] = left
	} else {
		delete(s.watchers, kind)
	}
	s.mu.Unlock()
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
}

// Changed has the watchers of the kind told soon. It does not wait for them.
func (s *Set) Changed(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.watchers[kind]) == 0 {
		return
	}
	if s.pending == nil {
		s.pending = map[string]struct{}{}
	}
	s.pending[kind] = struct{}{}
	if !s.telling {
		s.telling = true
		s.teller.Go(s.tell)
	}
}

// tell tells what is pending until nothing is.
func (s *Set) tell() {
	for {
		s.mu.Lock()
		var watchers []*watcher
		for kind := range s.pending {
			watchers = append(watchers, s.watchers[kind]...)
		}
		clear(s.pending)
		if len(watchers) == 0 || s.closed {
			s.telling = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		for _, w := range watchers {
			w.tell()
		}
	}
}

// Close ends all watches. It returns once no function is running any more.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	all := s.watchers
	s.watchers = nil
	s.mu.Unlock()
	for _, watchers := range all {
		for _, w := range watchers {
			w.mu.Lock()
			w.stopped = true
			w.mu.Unlock()
		}
	}
	s.teller.Wait()
}
