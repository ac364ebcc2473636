package engineio

import "crier/internal/transport/engineio/packet"

// dialect is what is known of how a peer of protocol 3 writes text in polls:
// see [packet.Undouble].
type dialect = int32

const (
	unknown dialect = iota
	plain           // as everybody
	doubled         // as clients of Engine.IO 1.x
)

// undouble reads a text that came in a text payload, and learns from it.
func (s *Session) undouble(p packet.Packet) packet.Packet {
	if p.Type != packet.Message || p.Binary || s.dialect.Load() == plain || packet.ASCII(p.Data) {
		return p
	}
	once, ok := packet.Undouble(p.Data)
	if ok {
		p.Data = once
		s.dialect.Store(doubled)
	} else {
		s.dialect.CompareAndSwap(unknown, plain)
	}
	return p
}

// double writes texts for a text payload as the peer reads them.
func (s *Session) double(packets []packet.Packet) {
	if s.dialect.Load() != doubled {
		return
	}
	for _, p := range packets {
		if p.Binary && !s.base64 {
			return // the payload is a binary one
		}
	}
	for i, p := range packets {
		if !p.Binary && !packet.ASCII(p.Data) {
			packets[i].Data = packet.Double(p.Data)
		}
	}
}
