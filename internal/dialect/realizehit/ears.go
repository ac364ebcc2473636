package realizehit

import "strings"

// ears makes publications out of what one connection to Redis delivers. Redis
// delivers a publication once for each subscription of the connection that
// matches it: one of those deliveries, known beforehand, counts. It can be
// known since the connection's stream tells in order which subscriptions are
// in force.
//
// A publication of Crier follows, in the same transaction, an announcement on
// crier:own: so if the connection has any subscription for its channel, it is
// the next one that counts.
type ears struct {
	log   string // ours: what is announced by it is in the log already
	exact map[string]bool
	globs map[string]bool
	next  *announcement // of the next publication
	seen  recent        // announcements of other logs, which may come twice
}

// announcement is what crier:own says of the publication that follows it.
type announcement struct{ log, id, channel string }

func newEars(log string) *ears {
	return &ears{log: log, exact: map[string]bool{}, globs: map[string]bool{}}
}

// changed notes that a subscription is in force, or is not any more.
func (e *ears) changed(kind, name string) {
	switch kind {
	case "subscribe":
		e.exact[name] = true
	case "unsubscribe":
		delete(e.exact, name)
	case "psubscribe":
		e.globs[name] = true
	case "punsubscribe":
		delete(e.globs, name)
	}
}

// covered reports whether publications on a channel are delivered.
func (e *ears) covered(channel string) bool {
	return e.exact[channel] || e.firstGlob(channel) != ""
}

// firstGlob is the pattern whose delivery counts, of those that match.
func (e *ears) firstGlob(channel string) (first string) {
	for g := range e.globs {
		if (first == "" || g < first) && globMatch(g, channel) {
			first = g
		}
	}
	return first
}

// heard takes a delivery, by a pattern or (empty) by the channel's own
// subscription. new reports whether it is a publication to take in.
func (e *ears) heard(pattern, channel, payload string) (isNew bool) {
	counts := pattern == "" && e.exact[channel] ||
		pattern != "" && !e.exact[channel] && e.firstGlob(channel) == pattern
	if !counts {
		return false
	}
	if channel == ownChannel {
		e.next = nil
		if a, ok := parseAnnouncement(payload); ok && e.covered(a.channel) {
			e.next = &a
		}
		return false
	}
	a := e.next
	e.next = nil
	if a == nil || a.channel != channel {
		return true
	}
	return a.log != e.log && e.seen.add(a.log+a.id)
}

func parseAnnouncement(s string) (a announcement, ok bool) {
	parts := strings.SplitN(s, " ", 3)
	if len(parts) != 3 || len(parts[0]) > 64 || len(parts[1]) > 64 {
		return a, false
	}
	return announcement{parts[0], parts[1], parts[2]}, true
}

// recent remembers the newest of what was added.
type recent struct {
	set  map[string]struct{}
	ring []string
	at   int
}

const recentMost = 4096

// add reports whether s is not remembered, and remembers it.
func (r *recent) add(s string) bool {
	if _, there := r.set[s]; there {
		return false
	}
	if r.set == nil {
		r.set = map[string]struct{}{}
		r.ring = make([]string, recentMost)
	}
	delete(r.set, r.ring[r.at])
	r.ring[r.at] = s
	r.set[s] = struct{}{}
	r.at = (r.at + 1) % recentMost
	return true
}

// globMatch matches a Redis pattern in which only * is special.
func globMatch(glob, s string) bool {
	head, rest, wild := strings.Cut(glob, "*")
	if !wild {
		return glob == s
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		part, more, again := strings.Cut(rest, "*")
		if !again {
			return strings.HasSuffix(s, part)
		}
		at := strings.Index(s, part)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(part):], more
	}
}
