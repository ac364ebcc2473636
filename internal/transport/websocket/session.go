package websocket

import (
	"context"
	"fmt"
	"strconv"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/problem"
	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
)

// sessionMode is crier.v1.json. Its fields belong to the worker, and before
// the socket is served to whoever makes it.
type sessionMode struct {
	socket   *socket
	session  Session
	streams  map[string]*stream
	patterns int // of all streams
	lastSub  int
}

func newSessionMode(c *socket, s Session) *sessionMode {
	return &sessionMode{socket: c, session: s, streams: map[string]*stream{}}
}

func (m *sessionMode) admit(op frame.Op) (take bool, end *ending) {
	if op == frame.Text {
		return true, nil
	}
	e := refusal(frame.Unsupported, Protocol+" has text frames only")
	return false, &e
}

// together: publishes that came while the last one was under way may make one
// block.
func (m *sessionMode) together() int { return maxInFlight }

func (m *sessionMode) handle(ctx context.Context, requests []request) bool {
	list := make([]asked, len(requests))
	for i, r := range requests {
		list[i].ref, list[i].call, list[i].err = parseRequest(r.data)
	}
	for len(list) > 0 && m.socket.life.Err() == nil {
		n := joinable(list)
		if n < 2 || !m.publishJoined(ctx, list[:n]) {
			for _, a := range list[:n] {
				m.reply(m.answer(ctx, a))
			}
		}
		list = list[n:]
	}
	return true
}

// asked is a request that was read.
type asked struct {
	ref  string
	call call
	err  error
}

// joinable counts the requests, of which the first is one, that can be
// published as one block: publishes to one topic, without idempotency keys,
// which are of a request.
func joinable(list []asked) int {
	total, topicName := 0, ""
	for i, a := range list {
		c, ok := a.call.(callPublish)
		if !ok || a.err != nil || c.publication.IdempotencyKey != "" || i > 0 && c.publication.Topic != topicName {
			return max(i, 1)
		}
		topicName = c.publication.Topic
		if total += len(c.publication.Messages); total > engine.MaxBlock {
			return max(i, 1)
		}
	}
	return len(list)
}

// publishJoined publishes requests as one block. If that fails nothing was
// published, and which of them is at fault is for each alone to find out.
func (m *sessionMode) publishJoined(ctx context.Context, list []asked) bool {
	var whole Publication
	whole.Messages = make([]Message, 0, len(list)) // each has one as a rule
	for _, a := range list {
		p := a.call.(callPublish).publication
		whole.Topic, whole.Batch = p.Topic, true
		whole.Messages = append(whole.Messages, p.Messages...)
	}
	r, err := m.session.Publish(ctx, whole)
	if err != nil {
		return false
	}
	m.socket.conn.Received.Add(uint64(r.N))
	first := r.First
	for _, a := range list {
		p := a.call.(callPublish).publication
		part := r
		part.First, part.N = first, len(p.Messages)
		first.Seq += uint64(part.N)
		m.reply(item{frame: publishedAnswer(a.ref, &p, part)})
	}
	return true
}

func (m *sessionMode) reply(it item) {
	it.counts = true
	m.socket.queue.answer(len(it.frame))
	m.socket.tell(it)
}

// answer carries out one request.
func (m *sessionMode) answer(ctx context.Context, a asked) item {
	it, err := item{}, a.err
	if err == nil {
		it, err = m.carryOut(ctx, a.ref, a.call)
	}
	if err != nil {
		return item{frame: errorAnswer(a.ref, m.socket.srv.problemOf(err))}
	}
	return it
}

func (m *sessionMode) carryOut(ctx context.Context, ref string, c call) (item, error) {
	switch c := c.(type) {
	case callSubscribe:
		return m.subscribe(ctx, ref, c)
	case callUnsubscribe:
		return m.unsubscribe(ref, c)
	case callPublish:
		r, err := m.session.Publish(ctx, c.publication)
		if err != nil {
			return item{}, err
		}
		m.socket.conn.Received.Add(uint64(r.N))
		return item{frame: publishedAnswer(ref, &c.publication, r)}, nil
	}
	return item{frame: pongAnswer(ref)}, nil
}

func (m *sessionMode) subscribe(ctx context.Context, ref string, c callSubscribe) (item, error) {
	// The filter, known later, may be of fewer: doubled patterns count once.
	most := m.socket.srv.cfg.MaxPatterns
	if m.patterns+len(c.Topics) > most {
		return item{}, problem.BadRequest(fmt.Sprintf("topics: %d patterns and the %d that are subscribed to already are over the limit of %d for a connection; unsubscribe, or open another", len(c.Topics), m.patterns, most)).On("topics")
	}
	l, err := m.session.Listen(ctx, c.Topics, c.Since)
	if err != nil {
		return item{}, err
	}
	st, answer, err := m.begin(ctx, ref, l)
	if err != nil {
		return item{}, err
	}
	return item{frame: answer, add: st}, nil
}

// begin makes a stream and the frame that announces it.
func (m *sessionMode) begin(ctx context.Context, ref string, l transport.Listen) (*stream, []byte, error) {
	m.lastSub++
	st, err := m.socket.subscribe(ctx, strconv.Itoa(m.lastSub), l)
	if err != nil {
		return nil, nil, err
	}
	m.streams[st.id] = st
	m.patterns += len(l.Filter.Patterns())
	// While a gap waits to be told there is no cursor to tell: who came back
	// with it without having seen the gap would not learn of it.
	at, _ := st.sub.Cursor()
	st.told = at
	return st, subscribedAnswer(ref, st.id, l.Filter, at), nil
}

func (m *sessionMode) unsubscribe(ref string, c callUnsubscribe) (item, error) {
	st := m.streams[c.Sub]
	if st == nil {
		return item{}, problem.NotFound("sub " + clipped(c.Sub) + " is no subscription of this connection").On("sub")
	}
	delete(m.streams, c.Sub)
	m.patterns -= len(st.sub.Filter().Patterns())
	return item{remove: st, ref: ref}, nil
}

// What follows is the writer's.

func (m *sessionMode) apply(p *pen, it item) {
	if it.remove != nil {
		m.socket.drop(it.remove)
		p.small(unsubscribedAnswer(it.ref, it.remove.id, it.remove.told))
		return
	}
	p.small(it.frame)
	if it.add != nil {
		m.socket.add(it.add)
	}
}

func (m *sessionMode) message(p *pen, st *stream, e *hub.Entry) {
	envelope := e.Frame(m.socket.srv.envelope)
	p.header(frame.Text, len(messageHead)+len(st.id)+len(messageMiddle)+len(envelope)+len(messageEnd))
	p.text(messageHead)
	p.text(st.id)
	p.text(messageMiddle)
	p.piece(envelope)
	p.text(messageEnd)
}

func (m *sessionMode) gap(p *pen, st *stream, g *message.Gap) *ending {
	p.small(gapFrame(st.id, g))
	return nil
}

func (m *sessionMode) cursor(p *pen, st *stream, at message.ID) {
	p.small(cursorFrame(st.id, at))
}
