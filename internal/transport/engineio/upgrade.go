package engineio

import (
	"time"

	"crier/internal/transport/engineio/packet"
)

// probe answers a WebSocket's probe and waits for the upgrade. true: the
// socket is the transport now. What the session has to say goes to polls until
// then; of those the one that waits is answered, since the peer upgrades when
// it has no request under way.
func (c *socket) probe() (upgraded bool) {
	late := time.NewTimer(upgradeTimeout)
	defer late.Stop()
	s := c.session
	for {
		select {
		case <-c.nudge:
		case <-c.read:
			return false
		case <-late.C:
			return false
		case <-s.ended:
			return false
		}
		c.mu.Lock()
		probes, switches := c.probes, c.switchs
		c.probes = 0
		c.mu.Unlock()
		out := c.appendPong(nil)
		if probes > 0 {
			out = appendFrame(out, s, packet.Packet{Type: packet.Pong, Data: []byte("probe")})
		}
		if len(out) > 0 && c.put(out) != nil {
			return false
		}
		if probes > 0 {
			s.mu.Lock()
			s.probed, s.release = true, s.poll == waiting
			s.mu.Unlock()
			s.wake.Wake()
		}
		if switches {
			return c.become()
		}
	}
}

// become makes the socket the session's transport: it writes once the poll
// under way has ended, and what it reads is carried out after both the poll and
// the POST under way. So everything stays in order, in both directions.
func (c *socket) become() bool {
	s := c.session
	s.mu.Lock()
	if s.over() {
		s.mu.Unlock()
		return false
	}
	s.upgraded = true
	var pollDone chan struct{}
	if s.poll != idle {
		pollDone = s.pollDone
		c.after = append(c.after, pollDone)
	}
	if s.posting {
		c.after = append(c.after, s.postDone)
	}
	s.mu.Unlock()
	close(c.chosen)
	s.wake.Wake()
	if pollDone != nil {
		select {
		case <-pollDone:
		case <-s.ended: // to say goodbye
		}
	}
	return true
}
