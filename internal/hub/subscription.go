package hub

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// Waker is told that a subscription may have something: from any goroutine,
// without blocking, perhaps without need.
type Waker interface{ Wake() }

// Signal is a Waker to select on: it holds one wake.
type Signal chan struct{}

// NewSignal makes a Signal.
func NewSignal() Signal { return make(Signal, 1) }

// Wake implements [Waker].
func (s Signal) Wake() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Options of a subscription.
type Options struct {
	Filter topic.Filter  // at least one pattern
	Start  message.Start // the zero value: latest
	Waker  Waker         // required
	// UntilHead ends the subscription at the head as it was at Subscribe.
	UntilHead bool
	// Unreadable is a cursor that could not be read: its subscriber gets a
	// gap "epoch" and the oldest, whatever Start says.
	Unreadable string
}

// Subscription is a filter and a cursor on a domain's log. One goroutine at a
// time calls Poll; all else may be called concurrently.
type Subscription struct {
	domain *Domain
	filter topic.Filter
	waker  Waker
	until  uint64 // where it ends; endless: nowhere. A log that falls back brings it forward, as rolled is set
	closed atomic.Bool

	// next is the lowest sequence number that may match and was not handed
	// out yet; 0: there is none up to the tail's head, nor up to floor. The
	// feed moves both under the domain's write lock, Poll under its read lock.
	next  atomic.Uint64
	floor atomic.Uint64

	rolled *message.Gap // set under the write lock when the log fell back

	// The fields below belong to Poll.
	gap   *message.Gap // to be told next
	told  told
	retry atomic.Pointer[retry]
}

// told is which losses have been told, or were not asked for: those up to upTo
// that there were when the log stood at trimmed and changes. What goes later may
// lie below and is to be told all the same; a log says only which loss is the
// newest.
type told struct{ upTo, trimmed, changes uint64 }

// toldAt is told for a log as it stands.
func toldAt(upTo uint64, state engine.State) told {
	return told{upTo: upTo, trimmed: state.Trimmed, changes: state.Changes}
}

// endless is the end of a subscription that goes on for ever.
const endless = math.MaxUint64

func (s *Subscription) ends() bool { return s.until != endless }

// Batch is what a subscription got since the last one. It is the caller's
// until the next Poll.
type Batch struct {
	Gap      *message.Gap // told before the entries
	Entries  []*Entry     // in order
	Position message.ID   // the cursor after this batch, also past what did not match
	Done     bool         // the place where the subscription should end was reached
}

// Empty reports whether there is nothing to tell.
func (b *Batch) Empty() bool { return b.Gap == nil && len(b.Entries) == 0 && !b.Done }

// Subscribe begins at the place that the options name, which is fixed when it
// returns: whatever is acknowledged after that is above "latest".
func (d *Domain) Subscribe(ctx context.Context, o Options) (*Subscription, error) {
	var s *Subscription
	for {
		d.mu.RLock()
		rollbacks := d.rollbacks
		d.mu.RUnlock()
		s = &Subscription{domain: d, filter: o.Filter, waker: o.Waker, until: endless}
		if err := s.begin(ctx, o); err != nil {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		d.mu.Lock()
		if d.rollbacks == rollbacks {
			break
		}
		d.mu.Unlock() // the log fell back meanwhile: the place may be of the past
	}
	select {
	case <-d.done:
		d.mu.Unlock()
		return nil, ErrClosed
	default:
	}
	d.share(s)
	d.subs[s] = struct{}{}
	for _, p := range s.filter.Patterns() {
		d.index.Add(p, s)
	}
	if floor := s.floor.Load(); floor < d.tail.head() {
		s.next.Store(floor + 1)
	}
	d.interested(s, 1)
	d.mu.Unlock()
	d.hub.metrics.Subscriptions.Inc()
	return s, nil
}

// share lets a subscription have the filter of another one with the same
// patterns: a crowd that listens to one thing has it in memory once, where
// whoever looks at all of them finds it in the processor's cache. The caller
// holds the domain's write lock.
func (d *Domain) share(s *Subscription) {
	patterns := s.filter.Patterns()
	if len(patterns) == 0 {
		return
	}
	if other, ok := d.index.Any(patterns[0]); ok && other.filter.Equal(s.filter) {
		s.filter = other.filter
	}
}

// begin finds floor, gap and end.
func (s *Subscription) begin(ctx context.Context, o Options) error {
	d := s.domain
	var state engine.State
	if o.UntilHead || o.Unreadable != "" || o.Start.Kind != message.StartAfter {
		var err error
		if state, err = d.log.State(ctx); err != nil {
			return err
		}
	}
	switch {
	case o.Unreadable != "":
		s.floor.Store(state.Trimmed)
		s.gap = &message.Gap{After: o.Unreadable, Resumed: state.Position(state.Trimmed), Reason: message.NewEpoch}
	case o.Start.Kind == message.StartLatest:
		s.floor.Store(state.Head)
	case o.Start.Kind == message.StartEarliest:
		complete, err := d.log.Complete(ctx, s.filter)
		if err != nil {
			return err
		}
		s.floor.Store(state.Trimmed)
		s.told = toldAt(complete, state)
	case o.Start.Kind == message.StartLast:
		after, head, err := d.log.Last(ctx, s.filter, o.Start.Last)
		if err != nil {
			return err
		}
		// What is gone below the newest N was not asked for.
		s.floor.Store(after)
		s.told = toldAt(head, state)
	default:
		r, err := d.resolve(ctx, o.Start.After)
		if err != nil {
			return err
		}
		s.floor.Store(r.After)
		if r.Reason != "" {
			s.gap = &message.Gap{After: o.Start.After.String(), Resumed: d.positionOf(r.After), Reason: r.Reason}
		}
	}
	if o.UntilHead {
		s.until = state.Head
	}
	return nil
}

func (d *Domain) positionOf(seq uint64) message.ID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.position(seq)
}

// Filter returns what the subscription matches.
func (s *Subscription) Filter() topic.Filter { return s.filter }

// Domain returns the domain that it is on.
func (s *Subscription) Domain() *Domain { return s.domain }

// Close ends the subscription; twice is no harm.
func (s *Subscription) Close() {
	if s.closed.Swap(true) {
		return
	}
	d := s.domain
	d.mu.Lock()
	delete(d.subs, s)
	for _, p := range s.filter.Patterns() {
		d.index.Remove(p, s)
	}
	d.interested(s, -1)
	d.mu.Unlock()
	if r := s.retry.Load(); r != nil {
		r.stop()
	}
	d.hub.metrics.Subscriptions.Dec()
}

// Position is the place wholly handed out, and Lag how many sequence numbers
// the log is ahead of it.
func (s *Subscription) Position() (id message.ID, lag uint64) {
	d := s.domain
	d.mu.RLock()
	defer d.mu.RUnlock()
	at := s.place()
	return d.position(at), max(d.tail.head(), at) - at
}

// Cursor is the place that the peer may be told to resume from. ok is false
// while a gap waits to be told: a peer must not resume past one unawares. It
// is for the goroutine that polls.
func (s *Subscription) Cursor() (id message.ID, ok bool) {
	d := s.domain
	d.mu.RLock()
	defer d.mu.RUnlock()
	if s.gap != nil || s.rolled != nil {
		return message.ID{}, false
	}
	return d.position(s.place()), true
}

// place is the sequence number of the position. The caller holds d.mu for
// reading.
func (s *Subscription) place() uint64 {
	if next := s.next.Load(); next != 0 {
		return next - 1
	}
	return max(s.floor.Load(), s.domain.tail.head())
}

// mark notes that seq may match; it reports whether that is news. The caller
// holds the domain's write lock.
func (s *Subscription) mark(seq uint64) bool {
	if s.next.Load() != 0 || seq <= s.floor.Load() {
		return false
	}
	s.next.Store(seq)
	return true
}

// rollBack takes a subscription that was told of more than the log held when it
// fell back to there; it reports whether that concerned it. old is the log as it
// was. The caller holds the domain's write lock, before the tail is reset.
func (s *Subscription) rollBack(old, now engine.State, to uint64) bool {
	if s.ends() {
		s.until = min(s.until, to) // there is nothing to wait for beyond
	}
	at := s.place()
	if at <= to {
		return false
	}
	s.rolled = &message.Gap{After: old.Position(at).String(), Resumed: now.Position(to), Reason: message.NewEpoch}
	s.floor.Store(to)
	s.next.Store(0)
	return true
}
