package access

import (
	"sync"
	"time"
)

// Limiter is a token bucket for each credential. A bucket is only the time at
// which it will be full, so that it fills exactly and by itself: whoever
// waits as long as it was told to gets what it asked for, and after a pause
// the whole burst is there again.
//
// Buckets that are full are not kept. If more than MaxBuckets are not full,
// those who come later share one bucket: stricter, never laxer.
type Limiter struct {
	every time.Duration // one token's time to come
	burst int
	now   func() time.Time

	mu     sync.Mutex // guards the fields below
	full   map[string]time.Time
	old    map[string]time.Time // those of the period before that were not asked for since
	turn   time.Time            // when full becomes old
	shared time.Time
}

// MaxBuckets bounds the buckets of a [Limiter].
const MaxBuckets = 100_000

// NewLimiter lets rate tokens a second through, and up to burst at once after
// a pause (at least 1). A rate of 0 or less lets everything through.
func NewLimiter(rate float64, burst int, now func() time.Time) *Limiter {
	l := &Limiter{burst: max(burst, 1), now: now, full: map[string]time.Time{}}
	if rate > 0 {
		l.every = time.Duration(min(max(float64(time.Second)/rate, 1), float64(time.Hour)))
	}
	return l
}

// Rate is how many tokens come in a second; 0: any number is let through.
func (l *Limiter) Rate() float64 {
	if l.every == 0 {
		return 0
	}
	return float64(time.Second) / float64(l.every)
}

// Take takes n tokens, all or none. If they are not there yet it takes none
// and tells how long to wait for them, in whole seconds, at least one: the
// Retry-After of a 429. More than the burst are let through when the bucket
// is full, and then it is in debt.
func (l *Limiter) Take(credential string, n int) (ok bool, retryAfter time.Duration) {
	if l.every == 0 || n <= 0 {
		return true, 0
	}
	now := l.now()
	cost := l.every * time.Duration(n)
	room := l.every * time.Duration(l.burst)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnOver(now, room)
	at, shared := l.fullAt(credential)
	if at.Before(now) {
		at = now
	}
	// The bucket is full at at; the tokens that lack are worth at-now.
	if wait := at.Add(min(cost, room)).Sub(now) - room; wait > 0 {
		return false, (wait + time.Second - 1).Truncate(time.Second)
	}
	at = at.Add(cost)
	if shared {
		l.shared = at
	} else {
		l.full[credential] = at
	}
	return true, 0
}

// fullAt finds a bucket, moving it to the present period.
func (l *Limiter) fullAt(credential string) (at time.Time, shared bool) {
	if at, known := l.full[credential]; known {
		return at, false
	}
	if at, known := l.old[credential]; known {
		delete(l.old, credential)
		l.full[credential] = at
		return at, false
	}
	if len(l.full)+len(l.old) >= MaxBuckets {
		return l.shared, true
	}
	return time.Time{}, false
}

// turnOver begins a new period once every bucket that was not in debt when
// the last one began must be full. What is old then is dropped, but for those
// in debt.
func (l *Limiter) turnOver(now time.Time, room time.Duration) {
	if now.Before(l.turn) {
		return
	}
	dropped := l.old
	l.old, l.full = l.full, map[string]time.Time{}
	l.turn = now.Add(max(room, time.Second))
	for credential, at := range dropped {
		if at.After(now) {
			l.full[credential] = at
		}
	}
}
