package admin

import (
	"net/netip"
	"sync"
	"time"
)

// How many bad tokens one client may send.
const (
	maxAttempts   = 20
	attemptWindow = 10 * time.Second
	maxClients    = 10_000 // that are remembered; those beyond are counted as one
)

// attempts counts the bad tokens of each client address, an IPv6 one by its
// /64, in windows that begin with a client's first.
type attempts struct {
	now func() time.Time

	mu      sync.Mutex // guards the fields below
	clients map[netip.Prefix]attempted
	swept   time.Time
}

type attempted struct {
	n     int
	until time.Time
}

func newAttempts(now func() time.Time) *attempts {
	return &attempts{now: now, clients: map[netip.Prefix]attempted{}}
}

// wait is how long a client has to wait before its next token is looked at.
func (t *attempts) wait(client netip.Addr) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[t.place(client)]
	if c.n < maxAttempts {
		return 0
	}
	return max(c.until.Sub(t.now()), 0)
}

// failed counts a bad token.
func (t *attempts) failed(client netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	at := t.place(client)
	c := t.clients[at]
	if !now.Before(c.until) {
		c = attempted{until: now.Add(attemptWindow)}
	}
	c.n++
	t.clients[at] = c
}

// place finds where a client is counted, making room if there is none, though
// no more often than once a second. The caller holds t.mu.
func (t *attempts) place(client netip.Addr) netip.Prefix {
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	at, err := client.Prefix(bits)
	if err != nil { // not an IP address: they are all one
		at = netip.Prefix{}
	}
	if _, known := t.clients[at]; known || len(t.clients) < maxClients {
		return at
	}
	now := t.now()
	if now.Sub(t.swept) < time.Second {
		return netip.Prefix{}
	}
	t.swept = now
	for other, c := range t.clients {
		if !now.Before(c.until) {
			delete(t.clients, other)
		}
	}
	if len(t.clients) < maxClients {
		return at
	}
	return netip.Prefix{}
}
