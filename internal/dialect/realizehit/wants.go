package realizehit

import (
	"strings"
	"sync"

	"crier/internal/dialect/name"
	"crier/internal/topic"
)

// wants is what is to be heard from Redis: what subscriptions of this node
// listen to, those of native clients too, and what other nodes that share the
// log want while this one listens for them.
type wants struct {
	mu      sync.Mutex // guards the fields below
	local   map[string]int
	version uint64              // grows when local has more or less in it
	union   map[string]int      // topic patterns, of this node and of others
	index   topic.Index[string] // of the union
	names   map[string]int      // of the union, as Redis knows them
	dirty   map[string]struct{} // names that came or went
	changed chan struct{}       // closed, and made anew, when any of it changes
}

func newWants() *wants {
	return &wants{
		local: map[string]int{}, union: map[string]int{}, names: map[string]int{},
		dirty: map[string]struct{}{}, changed: make(chan struct{}),
	}
}

// tell is for [hub.Domain.Interest].
func (w *wants) tell(p topic.Pattern, by int) {
	if redisName(p) == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	text := p.String()
	before := w.local[text]
	if w.local[text] += by; w.local[text] <= 0 {
		delete(w.local, text)
	}
	if (before > 0) != (w.local[text] > 0) {
		w.version++
		w.count(p, by)
		w.broadcast()
	}
}

// count adds a pattern to the union, or takes it away. The caller holds mu.
func (w *wants) count(p topic.Pattern, by int) {
	text, n := p.String(), redisName(p)
	before := w.union[text]
	w.union[text] += by
	switch {
	case before == 0 && by > 0:
		w.index.Add(p, text)
	case w.union[text] <= 0:
		delete(w.union, text)
		w.index.Remove(p, text)
	default:
		return
	}
	was := w.names[n]
	if w.names[n] += by; w.names[n] <= 0 {
		delete(w.names, n)
	}
	if (was > 0) != (w.names[n] > 0) {
		w.dirty[n] = struct{}{}
	}
}

// broadcast wakes everybody who waits. The caller holds mu.
func (w *wants) broadcast() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// nudge wakes everybody who waits.
func (w *wants) nudge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broadcast()
}

// next is closed when something changes.
func (w *wants) next() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

// others changes what another node wants.
func (w *wants) others(before, after []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, list := range []struct {
		patterns []string
		by       int
	}{{after, 1}, {before, -1}} {
		for _, text := range list.patterns {
			if p, err := topic.ParsePattern(text); err == nil && redisName(p) != "" {
				w.count(p, list.by)
			}
		}
	}
	w.broadcast()
}

// wanted reports whether somebody listens to a topic that came on a channel.
func (w *wants) wanted(topicName, channel string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if channel == pushcartStream && w.names[channel] == 0 {
		return false // who listens to everything has those messages from their own dialect
	}
	found := false
	w.index.Match(topicName, func(string) { found = true })
	return found
}

// diff gives the names that came and went since the last time; all: as if
// nothing had been in force.
func (w *wants) diff(all bool) (came, went []string, some bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if all {
		w.dirty = map[string]struct{}{}
		for n := range w.names {
			came = append(came, n)
		}
		return came, nil, len(came) > 0
	}
	for n := range w.dirty {
		if w.names[n] > 0 {
			came = append(came, n)
		} else {
			went = append(went, n)
		}
	}
	clear(w.dirty)
	return came, went, len(w.names) > 0
}

// mine gives what this node wants, for the one that listens.
func (w *wants) mine() (patterns []string, version uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for text := range w.local {
		patterns = append(patterns, text)
	}
	return patterns, w.version
}

// everything is the name that every canonical form matches.
const everything = "*:*"

// redisName is what has to be subscribed to in Redis to hear what a pattern of
// topics selects: a channel, or with a * a pattern, perhaps of more. Empty:
// nothing of Redis can match.
func redisName(p topic.Pattern) string {
	segments := strings.Split(p.String(), "/")
	switch segments[0] {
	case "**":
		return everything
	case prefix, "*":
	default:
		return ""
	}
	if len(segments) < 2 {
		return ""
	}
	if strings.ContainsAny(segments[1], "*~") { // also what is too long to be read back
		return everything
	}
	names, values := strings.Split(segments[1], "|"), segments[2:]
	open := len(values) > 0 && values[len(values)-1] == "**"
	if open {
		values = values[:len(values)-1]
	}
	if len(values) > len(names) || len(values) < len(names) && !open || open && len(values) == len(names) {
		return ""
	}
	q := Pattern{names: names}
	for i := range names {
		v := any1
		if i < len(values) && len(values[i]) <= name.MaxSegment && !strings.HasPrefix(values[i], "~") {
			v = values[i]
		}
		q.values = append(q.values, v)
		if i > 0 && names[i-1] >= names[i] {
			return ""
		}
	}
	if q.check(true) != nil {
		return ""
	}
	return q.Canonical()
}

// namesOf gives the names of patterns, as Redis knows them.
func namesOf(patterns []string) (names []string) {
	for _, text := range patterns {
		if p, err := topic.ParsePattern(text); err == nil && redisName(p) != "" {
			names = append(names, redisName(p))
		}
	}
	return names
}
