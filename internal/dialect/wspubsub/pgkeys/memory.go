package pgkeys

import (
	"time"

	"crier/internal/dialect/wspubsub/keys"
)

// Bounds of what is remembered.
const (
	maxGood = 100_000
	maxBad  = 10_000
)

// memory is what the database last said of pairs. Those that were good are
// remembered for when it is away, those that were not only for a moment.
type memory struct {
	good map[keys.Print]goodPair
	bad  map[keys.Print]time.Time // when it was asked
}

type goodPair struct {
	id string
	at time.Time // when it was asked
}

func newMemory() memory {
	return memory{good: map[keys.Print]goodPair{}, bad: map[keys.Print]time.Time{}}
}

// fresh gives what the database said a moment ago: an id, or "" for a pair that
// was not good.
func (m *memory) fresh(p keys.Print, now time.Time) (id string, ok bool) {
	if g, known := m.good[p]; known {
		return g.id, now.Sub(g.at) < freshGood
	}
	at, known := m.bad[p]
	return "", known && now.Sub(at) < freshBad
}

// kept gives the id of a pair that was good not longer than keep ago, or "".
func (m *memory) kept(p keys.Print, now time.Time, keep time.Duration) string {
	if g, known := m.good[p]; known && now.Sub(g.at) <= keep {
		return g.id
	}
	return ""
}

// note remembers what the database said just now; id "": the pair is not good.
func (m *memory) note(p keys.Print, id string, now time.Time) {
	if id == "" {
		delete(m.good, p)
		if len(m.bad) >= maxBad {
			clear(m.bad)
		}
		m.bad[p] = now
		return
	}
	delete(m.bad, p)
	if _, known := m.good[p]; !known && len(m.good) >= maxGood {
		for other := range m.good { // any: maps are walked in random order
			delete(m.good, other)
			break
		}
	}
	m.good[p] = goodPair{id, now}
}
