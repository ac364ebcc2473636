package websocket

import (
	"context"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/websocket/frame"
)

// rawMode is one frame a message, both ways.
type rawMode struct {
	srv       *Server
	peer      rawPeer
	envelope  bool
	topic     string    // what the peer publishes to
	publisher Publisher // nil: it may not
	deaf      bool      // what the peer sends is ignored
}

// rawPeer is what carries out requests in raw mode needs of its socket.
type rawPeer interface {
	received(n int) // messages
	end(e ending)
}

func newRawMode(s *Server, l transport.Listen, p Publisher) *rawMode {
	m := &rawMode{srv: s, envelope: l.Envelope}
	if topics, exact := l.Filter.Topics(); exact && len(topics) == 1 {
		m.topic, m.publisher = topics[0], p
	}
	return m
}

func (m *rawMode) admit(frame.Op) (take bool, end *ending) {
	switch {
	case m.deaf:
		return false, nil
	case m.publisher == nil:
		e := refusal(frame.Policy, "nothing can be published here: the path is not one topic, or publishing is not granted")
		return false, &e
	}
	return true, nil
}

// together: what came while the last block was published makes the next.
func (m *rawMode) together() int { return min(maxInFlight, engine.MaxBlock) }

func (m *rawMode) handle(ctx context.Context, requests []request) bool {
	p := Publication{Topic: m.topic, Messages: make([]Message, len(requests))}
	for i, r := range requests {
		msg := Message{Data: r.data, Kind: Text}
		if r.op == frame.Binary {
			msg.Kind, msg.ContentType = Binary, contentBinary
		}
		p.Messages[i] = msg
	}
	_, err := m.publisher.Publish(ctx, p)
	if err != nil {
		m.peer.end(m.srv.endOfPublish(err))
		return false
	}
	m.peer.received(len(requests))
	return true
}

func (m *rawMode) message(p *pen, _ *stream, e *hub.Entry) {
	switch {
	case m.envelope:
		envelope := e.Frame(m.srv.envelope)
		p.header(frame.Text, len(envelope))
		p.piece(envelope)
	case e.Binary:
		p.header(frame.Binary, len(e.Data))
		p.piece(e.Data)
	default:
		p.header(frame.Text, len(e.Data))
		p.piece(e.Data)
	}
}

// gap: there is no frame for one.
func (m *rawMode) gap(_ *pen, _ *stream, g *message.Gap) *ending {
	e := endOfGap(g)
	return &e
}

func (m *rawMode) apply(*pen, item) {}

func (m *rawMode) cursor(*pen, *stream, message.ID) {}
