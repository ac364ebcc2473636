package websocket

import (
	"time"

	"crier/internal/transport"
)

// vigil is when to ping a peer, when to give it up, and when to tell cursors.
// A ping stands behind all that was written before it, so that a slow peer
// answers late: it is given time for what it may have yet to read.
//
// Its times are since the socket began, and above 0.
type vigil struct {
	cfg *Config

	nextPing time.Duration
	nextBeat time.Duration

	open   time.Duration // since when the peer was pinged and is silent; 0: it is not
	sent   time.Duration // when the writing of the last ping began
	pinged time.Duration // the same of the ping to which no pong came; 0: none
	atPing int           // what had been written then
	read   int           // of what was written, what the peer must have read
	total  int           // bytes written
}

const (
	// slowest is how many bytes a second a peer reads that is not given up
	// for its late pongs, however much it has yet to read.
	slowest = 1 << 10
	// waited is how long a write takes that had to wait for the peer: that it
	// went on is a sign of life.
	waited = 100 * time.Millisecond
)

func newVigil(cfg *Config) vigil {
	v := vigil{cfg: cfg, nextBeat: cfg.Heartbeat}
	v.plan(0)
	return v
}

func (v *vigil) plan(now time.Duration) {
	v.nextPing = now + transport.Jitter(v.cfg.PingEvery*4/5, v.cfg.PingEvery*6/5)
}

// deadline is when a peer that says nothing is given up.
func (v *vigil) deadline() time.Duration {
	patience := v.cfg.PongWait + time.Duration(v.total-v.read)*time.Second/slowest
	return v.open + min(patience, max(v.cfg.PongWait, v.cfg.Stall))
}

// wait is the time to the next thing to do.
func (v *vigil) wait(now time.Duration) time.Duration {
	next := v.nextPing
	if v.open != 0 {
		next = v.deadline()
	}
	return max(0, min(next, v.nextBeat)-now)
}

func (v *vigil) due(now time.Duration) bool { return v.wait(now) == 0 }

// wrote notes that n bytes were written from began to now.
func (v *vigil) wrote(n int, began, now time.Duration) {
	v.total += n
	if n > 0 && now-began > waited {
		v.excuse(now)
	}
}

// excuse begins to wait for the peer anew.
func (v *vigil) excuse(now time.Duration) {
	if v.open != 0 {
		v.open = now
	}
}

// listen notes when the peer last sent anything, and
// a pong.
func (v *vigil) listen(heard, ponged time.Duration) {
	if v.open != 0 && heard >= v.sent {
		v.open = 0
	}
	if v.pinged != 0 && ponged >= v.pinged {
		v.pinged = 0
		v.read = v.atPing
	}
}

// asked notes that a ping was written, from began to now. The peer may have
// answered it meanwhile.
func (v *vigil) asked(began, now time.Duration) {
	v.sent, v.open = began, now
	if v.pinged == 0 {
		v.pinged, v.atPing = began, v.total
	}
	v.plan(now)
}

func (v *vigil) overdue(now time.Duration) bool {
	return v.open != 0 && now >= v.deadline()
}

func (v *vigil) pingDue(now time.Duration) bool { return v.open == 0 && now >= v.nextPing }

func (v *vigil) beatDue(now time.Duration) bool {
	if now < v.nextBeat {
		return false
	}
	v.nextBeat = now + v.cfg.Heartbeat
	return true
}
