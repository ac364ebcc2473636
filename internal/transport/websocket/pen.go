package websocket

import (
	"net"
	"time"

	"crier/internal/hub"
	"crier/internal/transport/websocket/frame"
)

const (
	copyBelow = 2 << 10  // shorter pieces are copied, so that a write has few of them
	pieceTLS  = 16 << 10 // written at a time through TLS: the size of a record
	keepArena = 64 << 10 // a pen with more is not kept
)

// pen gathers what is written to a socket at once. It is the writer's while
// that is busy; idle sockets have none.
type pen struct {
	arena  []byte      // small pieces, one after the other
	from   int         // where in the arena the piece under way begins
	pieces net.Buffers // in order; large ones are shared with others
	rest   net.Buffers // of pieces, what is not written
	size   int

	batch   hub.Batch
	frames  int           // message frames
	bytes   int           // of them
	live    bool          // they go to a subscription that was not behind
	answers int           // answers to requests
	replies int           // bytes of them that the queue counts
	pinged  time.Duration // when a ping was put in; 0: none is
}

// small appends a short piece.
func (p *pen) small(b []byte) {
	p.arena = append(p.arena, b...)
	p.size += len(b)
}

// text appends a short piece.
func (p *pen) text(s string) {
	p.arena = append(p.arena, s...)
	p.size += len(s)
}

// piece appends a piece that nobody changes any more.
func (p *pen) piece(b []byte) {
	if len(b) < copyBelow {
		p.small(b)
		return
	}
	p.seal()
	p.pieces = append(p.pieces, b)
	p.size += len(b)
}

// header appends the header of a frame.
func (p *pen) header(op frame.Op, n int) {
	before := len(p.arena)
	p.arena = frame.AppendHeader(p.arena, op, true, n)
	p.size += len(p.arena) - before
}

// seal ends the piece under way in the arena.
func (p *pen) seal() {
	if p.from < len(p.arena) {
		p.pieces = append(p.pieces, p.arena[p.from:len(p.arena):len(p.arena)])
		p.from = len(p.arena)
	}
}

// ready makes what was gathered the rest to be written.
func (p *pen) ready() {
	p.seal()
	p.rest = p.pieces
}

// writeTo writes some of the rest, or all, and takes it off. What goes through
// TLS goes in pieces that even a slow peer takes in time.
func (p *pen) writeTo(nc net.Conn, secure bool) (n int64, err error) {
	if !secure {
		return p.rest.WriteTo(nc) // one system call
	}
	head := p.rest[0]
	wrote, err := nc.Write(head[:min(len(head), pieceTLS)])
	if p.rest[0] = head[wrote:]; len(p.rest[0]) == 0 {
		p.rest = p.rest[1:]
	}
	return int64(wrote), err
}

// reset empties the pen.
func (p *pen) reset() {
	clear(p.pieces[:cap(p.pieces)])
	*p = pen{arena: p.arena[:0], pieces: p.pieces[:0], batch: p.batch}
}

// pen takes one out of the pool.
func (s *Server) pen() *pen { return s.pens.Get().(*pen) }

// putPen gives one back, which then holds nothing of any socket.
func (s *Server) putPen(p *pen) {
	clear(p.batch.Entries[:cap(p.batch.Entries)])
	p.batch = hub.Batch{Entries: p.batch.Entries[:0]}
	p.reset()
	if cap(p.arena) <= keepArena {
		s.pens.Put(p)
	}
}
