package engineio

import (
	"sync"
	"time"

	"crier/internal/transport/engineio/packet"
)

const (
	// A ping stands behind all that was written before it. A peer that has
	// more than inFlight to read may take a second longer for each slowest.
	inFlight = 64 << 10
	slowest  = 16 << 10
)

// pulse tells whether a peer is alive: in protocol 4 the server pings, in
// protocol 3 the client does. A write that is under way excuses the peer;
// writes have a deadline of their own.
type pulse struct {
	session  *Session
	interval time.Duration
	timeout  time.Duration

	mu       sync.Mutex // guards the fields below
	timer    *time.Timer
	over     bool
	awaiting bool      // a ping is out: a pong has to come
	deadline time.Time // by which the peer has to be heard
	written  int       // bytes
	pinged   int       // of them, before the last ping
	read     int       // of them, what the peer must have read
}

func (p *pulse) init(s *Session) {
	p.session, p.interval, p.timeout = s, s.srv.cfg.PingInterval, s.srv.cfg.PingTimeout
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.interval
	if s.version == packet.V3 {
		first += p.timeout
	}
	p.deadline = time.Now().Add(first)
	p.timer = time.AfterFunc(first, p.beat)
}

func (p *pulse) end() {
	p.mu.Lock()
	p.over = true
	p.timer.Stop()
	p.mu.Unlock()
}

// beat pings, or gives a silent peer up.
func (p *pulse) beat() {
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return
	}
	now := time.Now()
	switch left := p.deadline.Sub(now); {
	case left > 0:
		p.timer.Reset(left)
	case p.session.version == packet.V4 && !p.awaiting:
		// Counted from when the ping was due, so that a peer that does not
		// listen is given up when it may expect it.
		p.awaiting = true
		p.set(p.deadline, p.timeout)
		p.mu.Unlock()
		p.session.queue(packet.Packet{Type: packet.Ping})
		return
	case p.session.busy.Load():
		p.set(now, p.timeout)
	default:
		p.mu.Unlock()
		p.session.end(ErrUnanswered)
		return
	}
	p.mu.Unlock()
}

// set moves the deadline. The caller holds mu.
func (p *pulse) set(from time.Time, in time.Duration) {
	if p.over {
		return
	}
	p.deadline = from.Add(in)
	p.timer.Reset(time.Until(p.deadline))
}

// late reports whether the peer has been silent for too long, also if beat has
// not come to that yet.
func (p *pulse) late() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	deadline := p.deadline
	if p.session.version == packet.V4 && !p.awaiting {
		deadline = deadline.Add(p.timeout)
	}
	return !p.over && !p.session.busy.Load() && !time.Now().Before(deadline)
}

// heard notes a sign of life.
func (p *pulse) heard(pong bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.session.version == packet.V3:
		p.set(now, p.interval+p.timeout)
	case pong && p.awaiting:
		p.awaiting = false
		p.read = p.pinged
		p.set(now, p.interval)
	case p.awaiting:
		p.extend(now, p.timeout)
	}
}

// extend gives the peer at least that long. The caller holds mu.
func (p *pulse) extend(now time.Time, in time.Duration) {
	if now.Add(in).After(p.deadline) {
		p.set(now, in)
	}
}

// wrote notes that a batch was written, in n bytes.
func (p *pulse) wrote(b *Batch, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written += n
	for i := range b.packets {
		if b.packets[i].Type == packet.Ping && p.awaiting {
			p.pinged = p.written
			late := time.Duration(max(0, p.written-p.read-inFlight)) * time.Second / slowest
			p.extend(time.Now(), p.timeout+min(late, p.session.srv.cfg.Stall))
		}
	}
}
