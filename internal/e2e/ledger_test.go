package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// ledger has what is known of the messages of one domain.
type ledger struct {
	domain     string
	publishers int // that there were

	mu     sync.Mutex
	acked  map[string]string // id by name, of what was acknowledged
	unsure map[string]bool   // names of what may or may not be stored
	names  map[string]string // name by id, of all that anybody was told
	faults []string
}

func newLedger(domain string) *ledger {
	return &ledger{domain: domain, acked: map[string]string{}, unsure: map[string]bool{}, names: map[string]string{}}
}

// fault notes what must not be. The caller holds mu.
func (l *ledger) fault(format string, args ...any) {
	if len(l.faults) < 20 {
		l.faults = append(l.faults, l.domain+": "+fmt.Sprintf(format, args...))
	}
}

// report fails the test for each fault.
func (l *ledger) report(t *testing.T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.faults {
		t.Error(f)
	}
}

// complain is fault for others.
func (l *ledger) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault(format, args...)
}

// named notes that an id is a message's. The caller holds mu.
func (l *ledger) named(id, name string) {
	if had, there := l.names[id]; there && had != name {
		l.fault("the id %s names %s and %s", id, had, name)
	}
	l.names[id] = name
}

// acknowledge notes that a publisher was told that its message is stored.
func (l *ledger) acknowledge(name, id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if had, there := l.acked[name]; there {
		l.fault("%s was acknowledged as %s and as %s", name, had, id)
	}
	l.acked[name] = id
	l.named(id, name)
}

// doubt notes that a publisher was not told what became of its message.
func (l *ledger) doubt(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsure[name] = true
}

// deliver notes that somebody got a message.
func (l *ledger) deliver(who, id string, data []byte) {
	name, err := nameOf(data)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.fault("%s got %s: %v", who, id, err)
		return
	}
	l.named(id, name)
}

// place is an id taken apart.
type place struct {
	epoch string // 12 hex digits, ordered by their first 8
	seq   uint64
}

func placeOf(id string) (place, error) {
	if len(id) != 24 {
		return place{}, fmt.Errorf("id %q is not of 24 digits", id)
	}
	seq, err := strconv.ParseUint(id[12:], 16, 64)
	if err != nil {
		return place{}, fmt.Errorf("id %q: %w", id, err)
	}
	return place{id[:12], seq}, nil
}

// origin takes a name apart: whose it is, and the how many-th.
func origin(name string) (publisher string, n int) {
	publisher, count, _ := strings.Cut(name, "#")
	n, _ = strconv.Atoi(count) // 0 is below all
	return publisher, n
}

// stored is a message of the final history.
type stored struct{ id, topic, name string }

// checkHistory compares what is stored in the end with what was said: ids go
// up by one from the first, epochs only grow, each message is there at most
// once, acknowledged ones under their ids, and in the order in which their
// publisher sent them.
func (l *ledger) checkHistory(t *testing.T, history []stored) {
	t.Helper()
	at := map[string]string{}
	last := map[string]int{} // by publisher
	epoch := ""
	for i, m := range history {
		p, err := placeOf(m.id)
		if err != nil {
			t.Fatal(err)
		}
		if p.seq != uint64(i)+1 {
			t.Errorf("%s: message %d of the history has the id %s, sequence numbers have holes", l.domain, i+1, m.id)
			return
		}
		if p.epoch != epoch && epoch != "" && p.epoch[:8] <= epoch[:8] {
			t.Errorf("%s: the epoch of %s is not above the one before, %s", l.domain, m.id, epoch)
		}
		epoch = p.epoch
		if had, there := at[m.name]; there {
			t.Errorf("%s: %s is stored twice, as %s and %s", l.domain, m.name, had, m.id)
		}
		at[m.name] = m.id
		from, n := origin(m.name)
		if n <= last[from] {
			t.Errorf("%s: %s came after number %d of its publisher", l.domain, m.name, last[from])
		}
		last[from] = n
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := 0
	for name, id := range l.acked {
		if at[name] != id {
			if lost++; lost <= 10 {
				t.Errorf("%s: %s was acknowledged as %s, and is stored as %q", l.domain, name, id, at[name])
			}
		}
	}
	if lost > 10 {
		t.Errorf("%s: and %d more acknowledged messages are not where they should be", l.domain, lost-10)
	}
	for name, id := range at {
		if _, acked := l.acked[name]; !acked && !l.unsure[name] {
			t.Errorf("%s: %s (%s) is stored, but nobody published it", l.domain, id, name)
		}
	}
}
