package websocket

import (
	"time"

	"crier/internal/transport"
)

// vigil is when to ping a peer, when to give it up, and when to tell cursors.
// A ping stands behind all that was written before it, so that a slow peer
// answers late: it is given time for what it may have yet to read.
type vigil struct {
	cfg   *Config
	began time.Time

	nextPing time.Time
	nextBeat time.Time

	open   time.Time // since when the peer was pinged and is silent; zero: it is not
	sent   time.Time // when the writing of the last ping began
	pinged time.Time // the same of the ping to which no pong came; zero: none
	atPing int       // what had been written then
	read   int       // of what was written, what the peer must have read
	total  int       // bytes written
}

const (
	// slowest is how many bytes a second a peer reads that is not given up
	// for its late pongs, however much it has yet to read.
	slowest = 1 << 10
	// waited is how long a write takes that had to wait for the peer: that it
	// went on is a sign of life.
	waited = 100 * time.Millisecond
)

func newVigil(cfg *Config, now time.Time) vigil {
	v := vigil{cfg: cfg, began: now, nextBeat: now.Add(cfg.Heartbeat)}
	v.plan(now)
	return v
}

func (v *vigil) plan(now time.Time) {
	v.nextPing = now.Add(transport.Jitter(v.cfg.PingEvery*4/5, v.cfg.PingEvery*6/5))
}

// deadline is when a peer that says nothing is given up.
func (v *vigil) deadline() time.Time {
	patience := v.cfg.PongWait + time.Duration(v.total-v.read)*time.Second/slowest
	return v.open.Add(min(patience, max(v.cfg.PongWait, v.cfg.Stall)))
}

// wait is the time to the next thing to do.
func (v *vigil) wait(now time.Time) time.Duration {
	next := v.nextPing
	if !v.open.IsZero() {
		next = v.deadline()
	}
	if v.nextBeat.Before(next) {
		next = v.nextBeat
	}
	return max(0, next.Sub(now))
}

func (v *vigil) due(now time.Time) bool { return v.wait(now) == 0 }

// wrote notes that n bytes were written from began to now.
func (v *vigil) wrote(n int, began, now time.Time) {
	v.total += n
	if n > 0 && now.Sub(began) > waited {
		v.excuse(now)
	}
}

// excuse begins to wait for the peer anew.
func (v *vigil) excuse(now time.Time) {
	if !v.open.IsZero() {
		v.open = now
	}
}

// listen notes when, since the socket began, the peer last sent anything, and
// a pong.
func (v *vigil) listen(heard, ponged time.Duration) {
	if !v.open.IsZero() && !v.began.Add(heard).Before(v.sent) {
		v.open = time.Time{}
	}
	if !v.pinged.IsZero() && !v.began.Add(ponged).Before(v.pinged) {
		v.pinged = time.Time{}
		v.read = v.atPing
	}
}

// asked notes that a ping was written, from began to now. The peer may have
// answered it meanwhile.
func (v *vigil) asked(began, now time.Time) {
	v.sent, v.open = began, now
	if v.pinged.IsZero() {
		v.pinged, v.atPing = began, v.total
	}
	v.plan(now)
}

func (v *vigil) overdue(now time.Time) bool {
	return !v.open.IsZero() && !now.Before(v.deadline())
}

func (v *vigil) pingDue(now time.Time) bool { return v.open.IsZero() && !now.Before(v.nextPing) }

func (v *vigil) beatDue(now time.Time) bool {
	if now.Before(v.nextBeat) {
		return false
	}
	v.nextBeat = now.Add(v.cfg.Heartbeat)
	return true
}
