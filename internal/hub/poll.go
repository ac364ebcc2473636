package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// scanStep bounds the entries that Poll looks at while it holds the domain's
// lock, so that a subscriber far behind does not hold the feed up.
const scanStep = 4096

// Poll fills b with what comes next, at most limit messages and, once there
// is one, about maxBytes of data (0: 1,000 and 1 MiB). It does not wait for
// news: an empty batch means that the Waker will be called when there is
// some. It may wait for the store. While the engine is away batches are
// empty, and the Waker is called when it is worth another try. After Close of
// hub or domain: [ErrClosed].
func (s *Subscription) Poll(ctx context.Context, b *Batch, limit, maxBytes int) error {
	limit, maxBytes = orDefaults(limit, maxBytes)
	b.reset()
	for {
		at, err := s.look(b, limit, maxBytes)
		if err != nil || at.seen {
			return err
		}
		if at.stored {
			q := engine.Query{After: at.after, UpTo: at.upTo, Filter: s.filter, Limit: limit, MaxBytes: maxBytes}
			more, err := s.fetch(ctx, b, q, at)
			if err != nil || !more {
				return err
			}
		}
		if !b.Empty() {
			return nil
		}
	}
}

// PollTail is Poll for callers that must not wait: behind says that what
// comes next is not in memory any more, and b is empty.
func (s *Subscription) PollTail(b *Batch, limit, maxBytes int) (behind bool, err error) {
	limit, maxBytes = orDefaults(limit, maxBytes)
	b.reset()
	for {
		at, err := s.look(b, limit, maxBytes)
		if err != nil || at.stored || at.seen || !b.Empty() {
			return at.stored, err
		}
	}
}

func orDefaults(limit, maxBytes int) (int, int) {
	if limit <= 0 {
		limit = 1000
	}
	if maxBytes <= 0 {
		maxBytes = 1 << 20
	}
	return limit, maxBytes
}

func (b *Batch) reset() {
	clear(b.Entries)
	*b = Batch{Entries: b.Entries[:0]}
}

// found is what a look came to.
type found struct {
	seen   bool // there is nothing more for now
	stored bool // what comes next, after .. upTo, is in the store only

	after, upTo uint64
	rollbacks   uint64
	trimmed     uint64 // as far as this node knows
	changes     uint64
}

// look looks at one piece of the tail.
func (s *Subscription) look(b *Batch, limit, maxBytes int) (found, error) {
	d := s.domain
	d.mu.RLock()
	defer d.mu.RUnlock()
	select {
	case <-d.done:
		return found{}, ErrClosed
	default:
	}
	if s.rolled != nil {
		s.gap, s.rolled = s.rolled, nil
	}
	from, end := s.place()+1, d.tail.head()
	if s.ends() {
		end = s.until
	}
	if from > end {
		s.tell(b)
		b.Position = d.position(from - 1)
		b.Done = s.ends()
		return found{seen: true}, nil
	}
	if from >= d.tail.first && from <= d.tail.head() {
		s.scan(b, from, min(end, d.tail.head()), limit, maxBytes)
		return found{}, nil
	}
	return found{
		stored: true, after: from - 1, upTo: end, rollbacks: d.rollbacks,
		trimmed: d.state.Trimmed, changes: d.state.Changes,
	}, nil
}

// Rewind takes the subscription back to the place after seq, within what the
// last poll handed out: the caller could not pass on what came after.
func (s *Subscription) Rewind(seq uint64) {
	d := s.domain
	d.mu.RLock()
	defer d.mu.RUnlock()
	if s.rolled == nil && seq < s.place() {
		s.next.Store(seq + 1)
	}
}

// tell hands the gap out that waits to be told.
func (s *Subscription) tell(b *Batch) {
	if s.gap != nil {
		b.Gap, s.gap = s.gap, nil
		s.domain.hub.metrics.gap(b.Gap.Reason)
	}
}

// moveTo notes that everything up to seq was handed out. The caller holds the
// domain's lock for reading.
func (s *Subscription) moveTo(seq uint64) {
	if head := s.domain.tail.head(); seq < head {
		s.next.Store(seq + 1)
		return
	} else if seq > head {
		s.floor.Store(seq)
	}
	s.next.Store(0)
}

// scan takes matching entries out of the tail. The caller holds the domain's
// lock for reading.
func (s *Subscription) scan(b *Batch, from, end uint64, limit, maxBytes int) {
	d := s.domain
	bytes := 0
	end = min(end, from+scanStep-1)
	seq := from
	for ; seq <= end; seq++ {
		e := d.tail.at(seq)
		if e == nil || !s.filter.Match(e.Topic) || !e.Expires.IsZero() && e.Expired(d.hub.now()) {
			continue
		}
		b.Entries = append(b.Entries, e)
		bytes += len(e.Data)
		if len(b.Entries) >= limit || bytes >= maxBytes {
			end = seq
		}
	}
	s.tell(b)
	s.moveTo(end)
	b.Position = d.position(end)
	b.Done = end >= s.until
}

// fetch takes messages out of the store.
func (s *Subscription) fetch(ctx context.Context, b *Batch, q engine.Query, at found) (more bool, err error) {
	d := s.domain
	page, err := d.log.Read(ctx, q)
	lost := false
	if err == nil && page.Lost > q.After {
		lost, err = s.untold(ctx, q.After, page.Lost)
	}
	if err == nil && page.Next <= q.After && len(page.Messages) == 0 && !lost {
		err = fmt.Errorf("%w: the log ends before %d", engine.ErrUnavailable, q.UpTo)
	}
	switch {
	case err == nil:
		if r := s.retry.Load(); r != nil {
			r.reset()
		}
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, engine.ErrClosed):
		return false, ErrClosed
	default:
		d.hub.metrics.StoreErrors.Inc()
		d.hub.log.Debug("history not read", "domain", d.name, "after", q.After, "error", err)
		s.armRetry()
		d.mu.RLock()
		b.Position = d.position(s.place())
		d.mu.RUnlock()
		return false, nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.rollbacks != at.rollbacks {
		return true, nil // the log fell back meanwhile: what was read may be of the past
	}
	next := max(page.Next, q.After)
	if lost {
		resumed := min(page.Lost, next)
		if len(page.Messages) > 0 {
			resumed = min(resumed, page.Messages[0].ID.Seq-1)
		}
		if s.gap == nil {
			s.gap = &message.Gap{After: d.position(q.After).String(), Resumed: d.position(resumed), Reason: page.Reason}
		}
		s.told = told{upTo: page.Lost, trimmed: at.trimmed, changes: at.changes}
	}
	entries := make([]Entry, len(page.Messages))
	for i := range page.Messages {
		entries[i].Message = page.Messages[i]
		b.Entries = append(b.Entries, &entries[i])
	}
	d.hub.metrics.FromStore.Add(float64(len(entries)))
	s.tell(b)
	s.moveTo(next)
	b.Position = d.position(next)
	b.Done = next >= s.until
	return true, nil
}

// untold reports whether something is gone between a place and the newest loss,
// which lies above it, that the subscriber was not told of. If that loss was
// told, older ones may have come since: then the log is asked. Something may be
// told needlessly, never left out.
func (s *Subscription) untold(ctx context.Context, after, newest uint64) (bool, error) {
	if newest > s.told.upTo {
		return true, nil
	}
	state, err := s.domain.log.State(ctx)
	if err != nil {
		return false, err
	}
	return state.Changes != s.told.changes || state.Trimmed > max(after, s.told.trimmed), nil
}

// retry wakes a subscription again while the engine is away, less and less
// often.
type retry struct {
	mu    sync.Mutex
	wait  time.Duration
	timer *time.Timer
	done  bool
}

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// armRetry has the subscription woken for another try.
func (s *Subscription) armRetry() {
	r := s.retry.Load()
	if r == nil {
		r = &retry{}
		s.retry.Store(r)
	}
	r.arm(s.waker)
	if s.closed.Load() { // Close may have missed it
		r.stop()
	}
}

func (r *retry) arm(w Waker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return
	}
	r.wait = min(max(2*r.wait, retryFirst), retryMost)
	if r.timer == nil {
		r.timer = time.AfterFunc(r.wait, w.Wake)
	} else {
		r.timer.Reset(r.wait)
	}
}

func (r *retry) reset() {
	r.mu.Lock()
	r.wait = 0
	r.mu.Unlock()
}

func (r *retry) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	if r.timer != nil {
		r.timer.Stop()
	}
}
