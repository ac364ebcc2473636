package realizehit

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/engineio"
)

// maxAnswers bounds the bytes of answers that wait to be sent. Beyond it a
// socket's requests wait.
const maxAnswers = 64 << 10

// pollMessages and pollBytes are what is taken from one subscription before it
// is another's turn.
const (
	pollMessages = 64
	pollBytes    = 32 << 10
)

// errGap ends a socket whose history is gone: the dialect has no word for
// that, and silence would be a lie.
var errGap = errors.New("messages that were not delivered yet are gone from history")

// socket is the user of one Engine.IO session.
type socket struct {
	dialect *Dialect
	session *engineio.Session
	room    hub.Signal // answers were sent
	batch   hub.Batch  // Send's

	mu      sync.Mutex // guards the fields below
	answers [][]byte
	waiting int             // bytes of them
	subs    map[string]*sub // by canonical form
	ready   []*sub          // that may have something, in turn
	closed  bool
}

// sub is a subscription on a socket.
type sub struct {
	socket *socket
	mark   []byte // what its payloads begin with: the id and ?
	sub    *hub.Subscription
	behind bool // the last poll found something; Send's

	active bool // its answer is on the way; guarded by socket.mu
	queued bool // in socket.ready; guarded by socket.mu
}

func newSocket(d *Dialect, s *engineio.Session) *socket {
	return &socket{dialect: d, session: s, room: hub.NewSignal(), subs: map[string]*sub{}}
}

// Wake implements [hub.Waker].
func (b *sub) Wake() {
	s := b.socket
	s.mu.Lock()
	fresh := b.active && !b.queued
	if fresh {
		b.queued = true
		s.ready = append(s.ready, b)
	}
	s.mu.Unlock()
	if fresh {
		s.session.Wake()
	}
}

// Receive implements [engineio.User].
func (s *socket) Receive(ctx context.Context, m engineio.Message) {
	a, v, err := parseAction(m.Data)
	if m.Binary {
		a, v, err = action{ID: madeID()}, verbUnknown, errBinary
	}
	var p Pattern
	if err == nil && v != verbPing {
		p, err = ParsePattern(a.pattern(), true)
	}
	var begun *sub
	if err == nil {
		switch v {
		case verbSubscribe:
			begun, err = s.subscribe(ctx, p)
		case verbUnsubscribe:
			err = s.unsubscribe(p)
		}
	}
	s.answer(ctx, a.answer(v, err), begun)
}

// answer has an answer sent, and then what begun has.
func (s *socket) answer(ctx context.Context, text []byte, begun *sub) {
	for {
		s.mu.Lock()
		if len(s.answers) == 0 || s.waiting+len(text) <= maxAnswers {
			break
		}
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-ctx.Done():
			return
		}
	}
	s.answers = append(s.answers, text)
	s.waiting += len(text)
	if begun != nil {
		begun.active = true
	}
	s.mu.Unlock()
	s.session.Wake()
	if begun != nil {
		begun.Wake()
	}
}

// subscribe begins a subscription, which is silent until its answer is on the
// way.
func (s *socket) subscribe(ctx context.Context, p Pattern) (*sub, error) {
	d := s.dialect
	canonical := p.Canonical()
	s.mu.Lock()
	_, there := s.subs[canonical]
	n := len(s.subs)
	s.mu.Unlock()
	switch {
	case there:
		return nil, errSubscribed
	case n >= d.cfg.MaxPatterns:
		return nil, told(fmt.Sprintf("Subscribed to %d patterns, the limit of a connection", n))
	}
	filter, err := p.filter()
	if err != nil {
		return nil, err
	}
	domain, err := d.cfg.Hub.Domain(hub.Main)
	if err != nil {
		return nil, d.fault(err)
	}
	one := &sub{socket: s, mark: []byte(p.ID() + "?")}
	if one.sub, err = domain.Subscribe(ctx, hub.Options{Filter: filter, Start: message.Latest(), Waker: one}); err != nil {
		return nil, d.fault(err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		one.sub.Close()
		return nil, errUnknown
	}
	s.subs[canonical] = one
	s.mu.Unlock()
	s.session.Conn().Track(canonical, one.sub)
	if d.cfg.Redis != nil {
		d.cfg.Redis.Await(ctx, p)
	}
	return one, nil
}

// fault is what a client is told of a fault of the server.
func (d *Dialect) fault(err error) error {
	d.cfg.Logger.Warn("realizehit: not subscribed", "error", err)
	return told(textFault)
}

func (s *socket) unsubscribe(p Pattern) error {
	canonical := p.Canonical()
	s.mu.Lock()
	one := s.subs[canonical]
	delete(s.subs, canonical)
	if one != nil {
		one.active = false
	}
	s.mu.Unlock()
	if one == nil {
		return errMissing
	}
	s.session.Conn().Untrack(one.sub)
	one.sub.Close()
	return nil
}

// Send implements [engineio.User].
func (s *socket) Send(ctx context.Context, b *engineio.Batch) error {
	s.sendAnswers(b)
	defer func() { // an idle socket holds no messages
		clear(s.batch.Entries[:cap(s.batch.Entries)])
		s.batch = hub.Batch{Entries: s.batch.Entries[:0]}
	}()
	for !b.Full() {
		one := s.next()
		if one == nil {
			return nil
		}
		if err := one.sub.Poll(ctx, &s.batch, pollMessages, pollBytes); err != nil {
			s.mu.Lock()
			gone := !one.active // unsubscribed meanwhile
			s.mu.Unlock()
			if gone {
				continue
			}
			return transport.PollEnded(ctx, s.dialect.cfg.Hub, one.sub, err)
		}
		if s.batch.Gap != nil {
			return errGap
		}
		for i, e := range s.batch.Entries {
			if i == 0 && !one.behind {
				b.Sent(e.Time)
			}
			payload := e.Frame(s.dialect.payload)
			if b.ASCIIOnly() {
				payload = inASCII(payload)
			}
			b.Add(false, one.mark, payload)
		}
		if one.behind = !s.batch.Empty(); one.behind {
			one.Wake() // behind the others
		}
	}
	// What is left is for the next time.
	s.session.Wake()
	return nil
}

// sendAnswers moves answers into the batch.
func (s *socket) sendAnswers(b *engineio.Batch) {
	s.mu.Lock()
	n := 0
	for n < len(s.answers) && !b.Full() {
		b.Add(false, s.answers[n])
		s.waiting -= len(s.answers[n])
		n++
	}
	s.answers = append(s.answers[:0:0], s.answers[n:]...)
	s.mu.Unlock()
	if n > 0 {
		s.room.Wake()
	}
}

// next takes the subscription whose turn it is.
func (s *socket) next() *sub {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.ready) > 0 {
		one := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		one.queued = false
		if one.active {
			return one
		}
	}
	s.ready = nil
	return nil
}

// Closed implements [engineio.User].
func (s *socket) Closed(error) {
	s.mu.Lock()
	s.closed = true
	subs := s.subs
	s.subs = map[string]*sub{}
	s.mu.Unlock()
	for _, one := range subs {
		s.session.Conn().Untrack(one.sub)
		one.sub.Close()
	}
}
