package mongodb

import (
	"context"
	"sync"
)

// refresher lets calls share one reading of a chain: a call is content with
// one that began after it. run is called one at a time.
type refresher struct {
	run func(ctx context.Context) error

	mu      sync.Mutex // guards the fields below
	current *reading   // under way
	next    *reading   // begins when current has ended
}

type reading struct {
	start chan struct{} // closed when the one before has ended
	done  chan struct{}
	err   error
}

// do returns once a reading that began after the call has ended. The reading
// runs on the goroutine of one that waits for it.
func (r *refresher) do(ctx context.Context) error {
	for {
		r.mu.Lock()
		var mine *reading
		wait := r.next
		switch {
		case r.current == nil:
			mine = &reading{start: make(chan struct{}), done: make(chan struct{})}
			close(mine.start)
			r.current = mine
		case r.next == nil:
			mine = &reading{start: make(chan struct{}), done: make(chan struct{})}
			r.next = mine
		}
		r.mu.Unlock()
		if mine != nil {
			return r.lead(ctx, mine)
		}
		select {
		case <-wait.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if wait.err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if wait.err != errLeft {
			return wait.err
		}
	}
}

// lead waits for its turn and reads.
func (r *refresher) lead(ctx context.Context, mine *reading) error {
	select {
	case <-mine.start:
	case <-ctx.Done():
		r.mu.Lock()
		if r.next == mine { // its turn has not come
			r.next = nil
			r.mu.Unlock()
			mine.err = errLeft
			close(mine.done)
			return ctx.Err()
		}
		r.mu.Unlock()
		<-mine.start
	}
	err := r.run(ctx)
	mine.err = err
	if err != nil && ctx.Err() != nil {
		mine.err = errLeft // of this caller alone
	}
	r.mu.Lock()
	r.current, r.next = r.next, nil
	if r.current != nil {
		close(r.current.start)
	}
	r.mu.Unlock()
	close(mine.done)
	return err
}
