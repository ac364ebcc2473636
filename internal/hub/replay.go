package hub

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

const (
	// pieceMessages and pieceBytes are about what a piece of history holds.
	pieceMessages = 4096
	pieceBytes    = 192 << 10
	// keptPieces is how many are kept for others, of all domains together, and
	// keptFor for how long after the last one that wanted it.
	keptPieces = 32
	keptFor    = 10 * time.Second
)

// Piece is a piece of history in one encoding: frames side by side, in order.
// Many subscribers share it and nobody changes it.
type Piece struct {
	Bytes []byte

	domain *Domain
	enc    *Encoding
	filter string
	after  uint64
	next   uint64    // everything that matches after .. next is in the piece or has expired
	until  time.Time // when the first of the messages expires; zero: none does
	marks  []pieceMark
	used   time.Time     // guarded by the lock of pieces
	made   chan struct{} // closed when the fields above are set
	err    error
}

// pieceMark is where a frame ends, and the id of its message.
type pieceMark struct {
	end int
	id  message.ID
}

// Part is what of a piece a subscriber gets.
type Part struct {
	*Piece
	After uint64 // the place before it
	first int    // of marks
}

// Bytes are the frames of the part.
func (p Part) Bytes() []byte {
	if p.first == 0 {
		return p.Piece.Bytes
	}
	return p.Piece.Bytes[p.Piece.marks[p.first-1].end:]
}

// Len is the number of messages.
func (p Part) Len() int { return len(p.Piece.marks) - p.first }

// Newest is the id of the last message.
func (p Part) Newest() message.ID { return p.Piece.marks[len(p.Piece.marks)-1].id }

// Cut says, of the first n bytes of the part, how many messages lie in them
// wholly or in part, the id of the last of those, and where its frame ends. n
// is above 0.
func (p Part) Cut(n int) (messages int, newest message.ID, end int) {
	start := 0
	if p.first > 0 {
		start = p.Piece.marks[p.first-1].end
	}
	i, _ := slices.BinarySearchFunc(p.Piece.marks, start+n, func(m pieceMark, at int) int { return m.end - at })
	return i - p.first + 1, p.Piece.marks[i].id, p.Piece.marks[i].end - start
}

// errGapAhead: Poll has to tell a gap before what comes next.
var errGapAhead = errors.New("gap ahead")

// pieces has the history that was encoded last, for subscribers that replay
// the same.
type pieces struct {
	mu   sync.Mutex
	list []*Piece // the one that was used last comes last
}

// Replay returns frames of what comes next, if that is history which is not in
// memory, and moves the subscription behind it. ok is false if it is not so,
// or if something is to be told that has no frame: then [Subscription.Poll] is
// the way. It may wait for the store.
func (s *Subscription) Replay(ctx context.Context, enc *Encoding) (part Part, ok bool) {
	d := s.domain
	at := s.replayFrom()
	if !at.stored || at.upTo-at.after < 2 {
		return Part{}, false
	}
	p, ready := d.hub.pieces.find(s, enc, at.after)
	if !ready {
		d.makePiece(ctx, s, p, at)
	}
	select {
	case <-p.made:
	case <-ctx.Done():
		return Part{}, false
	}
	if p.err != nil || len(p.marks) == 0 {
		return Part{}, false
	}
	first, _ := slices.BinarySearchFunc(p.marks, at.after+1, func(m pieceMark, seq uint64) int {
		switch {
		case m.id.Seq < seq:
			return -1
		case m.id.Seq > seq:
			return 1
		}
		return 0
	})
	if first == len(p.marks) {
		return Part{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if p.next > s.until || s.place() != at.after || d.rollbacks != at.rollbacks || s.gap != nil {
		return Part{}, false
	}
	s.moveTo(p.next)
	return Part{p, at.after, first}, true
}

// replayFrom says whether history comes next that can be replayed, and there is
// nothing to tell before it.
func (s *Subscription) replayFrom() found {
	d := s.domain
	d.mu.RLock()
	defer d.mu.RUnlock()
	from := s.place() + 1
	if s.gap != nil || s.rolled != nil || from >= d.tail.first || from > s.until {
		return found{}
	}
	return found{stored: true, after: from - 1, upTo: d.tail.head(), rollbacks: d.rollbacks}
}

// find returns the piece that has what comes after a place. If there is none
// it is begun: ready is false for whoever has to make it.
func (c *pieces) find(s *Subscription, enc *Encoding, after uint64) (p *Piece, ready bool) {
	filter := filterKey(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := s.domain.hub.now()
	for i := len(c.list) - 1; i >= 0; i-- {
		p := c.list[i]
		if p.domain != s.domain || p.enc != enc || p.filter != filter || after < p.after {
			continue
		}
		select {
		case <-p.made:
			if after >= p.next || !p.until.IsZero() && !now.Before(p.until) {
				continue
			}
		default:
			if after != p.after {
				continue
			}
		}
		copy(c.list[i:], c.list[i+1:])
		c.list[len(c.list)-1] = p
		p.used = now
		return p, true
	}
	p = &Piece{domain: s.domain, enc: enc, filter: filter, after: after, used: now, made: make(chan struct{})}
	if len(c.list) >= keptPieces {
		c.list = slices.Delete(c.list, 0, 1)
	}
	c.list = append(c.list, p)
	return p, false
}

func filterKey(s *Subscription) string {
	patterns := s.filter.Patterns()
	if len(patterns) == 1 {
		return patterns[0].String()
	}
	var b strings.Builder
	for _, p := range patterns {
		b.WriteString(p.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// drop forgets pieces.
func (c *pieces) drop(gone func(*Piece) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = slices.DeleteFunc(c.list, gone)
}

// makePiece reads and encodes a piece.
func (d *Domain) makePiece(ctx context.Context, s *Subscription, p *Piece, at found) {
	defer close(p.made)
	p.next = p.after
	page, err := d.log.Read(ctx, engine.Query{After: at.after, UpTo: at.upTo, Filter: s.filter, Limit: pieceMessages, MaxBytes: pieceBytes})
	if err == nil && page.Lost > at.after {
		err = errGapAhead
	}
	if err != nil || len(page.Messages) == 0 {
		p.err = err
		d.hub.pieces.drop(func(o *Piece) bool { return o == p })
		return
	}
	size := 0
	for i := range page.Messages {
		size += len(page.Messages[i].Data) + 96
	}
	p.Bytes = make([]byte, 0, size)
	p.marks = make([]pieceMark, len(page.Messages))
	for i := range page.Messages {
		m := &page.Messages[i]
		p.Bytes = p.enc.encode(p.Bytes, m)
		p.marks[i] = pieceMark{end: len(p.Bytes), id: m.ID}
		if !m.Expires.IsZero() && (p.until.IsZero() || m.Expires.Before(p.until)) {
			p.until = m.Expires
		}
	}
	p.next = page.Next
	d.hub.metrics.FromStore.Add(float64(len(page.Messages)))
}
