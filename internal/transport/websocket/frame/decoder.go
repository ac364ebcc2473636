package frame

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Event is something whole that a peer sent: a message put together from its
// fragments, or a control frame.
type Event struct {
	Op Op // Text, Binary, Ping, Pong or Close; Continuation: nothing yet
	// Payload is valid until the next call of the Decoder. It may be part of
	// the chunk that was fed. Of a Close it is the reason.
	Payload []byte
	Code    Code // of a Close; NoStatus if it had none
}

// maxEmpty bounds the fragments of a message that hold nothing, which cost
// the peer next to nothing and would not end.
const maxEmpty = 64

// Decoder takes the bytes that a client sends. The zero value will not do;
// see [NewDecoder]. It holds memory only for what is unfinished.
type Decoder struct {
	limit int
	err   error
	ended bool // a close frame came: what follows means nothing

	header  [MaxHeader]byte
	have    uint8 // bytes of header
	want    uint8 // bytes that the header has, as far as is known
	payload bool  // the header is whole

	op     Op   // of the frame
	fin    bool // of the frame
	mask   [4]byte
	length int // of the frame's payload
	seen   int // of it

	message Op    // of the message under way; Continuation: none
	empty   uint8 // its fragments without payload
	text    utf8Check
	data    []byte // the message so far
	given   bool   // data was handed out with the last event
	control []byte // the control frame so far
}

// NewDecoder makes a decoder that takes messages of at most limit bytes, all
// fragments together.
func NewDecoder(limit int) Decoder { return Decoder{limit: limit, want: 2} }

// Next takes bytes of p, which it unmasks in place, until something is whole
// or p is used up, and returns how many it took. When it took all, there may
// still be an event, but no need to call again before there are more bytes.
// Errors are [*Error] and stay.
func (d *Decoder) Next(p []byte) (ev Event, n int, err error) {
	if d.given {
		d.data, d.given = nil, false
	}
	if d.err != nil {
		return Event{}, 0, d.err
	}
	if d.ended {
		return Event{}, len(p), nil
	}
	for n < len(p) {
		if !d.payload {
			took, fault := d.takeHeader(p[n:])
			n += took
			if fault != nil {
				return Event{}, n, d.fail(fault)
			}
			if !d.payload {
				break // p is used up
			}
		}
		piece := p[n:min(len(p), n+d.length-d.seen)]
		n += len(piece)
		ev, fault := d.takePayload(piece)
		if fault != nil {
			return Event{}, n, d.fail(fault)
		}
		if ev.Op != Continuation {
			return ev, n, nil
		}
	}
	return Event{}, n, nil
}

// Idle reports whether the decoder is between two messages and frames.
func (d *Decoder) Idle() bool {
	return d.have == 0 && !d.payload && d.message == Continuation
}

func (d *Decoder) fail(e *Error) error {
	d.err = e
	d.data, d.control = nil, nil
	return d.err
}

// takeHeader takes bytes of a header, each judged as soon as it is there.
func (d *Decoder) takeHeader(p []byte) (n int, fault *Error) {
	for n < len(p) {
		d.header[d.have] = p[n]
		d.have++
		n++
		switch d.have {
		case 1:
			fault = d.first(p[n-1])
		case 2:
			fault = d.second(p[n-1])
		}
		if fault != nil {
			return n, fault
		}
		if d.have == d.want {
			return n, d.begin()
		}
	}
	return n, nil
}

// first judges the byte with FIN, RSV and opcode.
func (d *Decoder) first(b byte) *Error {
	d.fin, d.op = b&finBit != 0, Op(b&0x0f)
	if b&rsvBits != 0 {
		return &Error{Protocol, "a reserved bit is set, and no extension was agreed on"}
	}
	switch d.op {
	case Close, Ping, Pong:
		if !d.fin {
			return &Error{Protocol, "a control frame is fragmented"}
		}
	case Text, Binary:
		if d.message != Continuation {
			return &Error{Protocol, "a new message begins before the last one's final fragment"}
		}
	case Continuation:
		if d.message == Continuation {
			return &Error{Protocol, "a continuation frame, but no message was begun"}
		}
	default:
		return &Error{Protocol, "a reserved opcode"}
	}
	return nil
}

// second judges the byte with MASK and the short length.
func (d *Decoder) second(b byte) *Error {
	if b&maskBit == 0 {
		return &Error{Protocol, "a client's frame is not masked"}
	}
	short := b &^ maskBit
	if d.op.IsControl() && short > MaxControl {
		return &Error{Protocol, "a control frame of more than 125 bytes"}
	}
	d.want = 2 + 4
	switch short {
	case 126:
		d.want += 2
	case 127:
		d.want += 8
	}
	return nil
}

// begin takes over a header that is whole.
func (d *Decoder) begin() *Error {
	length := uint64(d.header[1] &^ maskBit)
	switch length {
	case 126:
		if length = uint64(binary.BigEndian.Uint16(d.header[2:])); length < minLen16 {
			return &Error{Protocol, "a length in more bytes than it needs"}
		}
	case 127:
		length = binary.BigEndian.Uint64(d.header[2:])
		if length < minLen64 || length > maxLen64 {
			return &Error{Protocol, "a length in more bytes than it needs, or of more than 63 bits"}
		}
	}
	copy(d.mask[:], d.header[d.want-4:d.want])
	if !d.op.IsControl() {
		if length > uint64(d.limit-len(d.data)) {
			return &Error{TooBig, "a message of more bytes than are taken"}
		}
		if d.op != Continuation {
			d.message, d.empty = d.op, 0
		}
		if length == 0 && !d.fin {
			if d.empty++; d.empty > maxEmpty {
				return &Error{Policy, "too many empty fragments"}
			}
		}
	}
	d.length, d.seen, d.payload = int(length), 0, true
	return nil
}

// takePayload takes bytes that belong to the frame under way.
func (d *Decoder) takePayload(p []byte) (Event, *Error) {
	ws.Cipher(p, d.mask, d.seen)
	d.seen += len(p)
	whole := d.seen == d.length
	if d.op.IsControl() {
		return d.takeControl(p, whole)
	}
	if whole && d.fin && len(d.data) == 0 && d.text.n == 0 {
		// All of the message is here: it need not be copied.
		if d.message == Text && !utf8.Valid(p) {
			return Event{}, &Error{BadData, "text is not UTF-8"}
		}
		return d.finish(p), nil
	}
	if d.message == Text && !d.text.feed(p) {
		return Event{}, &Error{BadData, "text is not UTF-8"}
	}
	d.keep(p)
	if !whole {
		return Event{}, nil
	}
	if !d.fin {
		d.endFrame()
		return Event{}, nil
	}
	if !d.text.done() {
		return Event{}, &Error{BadData, "text ends within a character"}
	}
	d.given = true
	return d.finish(d.data), nil
}

// keep adds to the message so far. Memory is taken as bytes come, not as a
// header promises them.
func (d *Decoder) keep(p []byte) {
	if d.data == nil && len(p) > 0 {
		d.data = make([]byte, 0, min(d.length, max(4*len(p), 512)))
	}
	d.data = append(d.data, p...)
}

func (d *Decoder) finish(payload []byte) Event {
	ev := Event{Op: d.message, Payload: payload}
	d.message = Continuation
	d.endFrame()
	return ev
}

func (d *Decoder) endFrame() { d.have, d.want, d.payload = 0, 2, false }

func (d *Decoder) takeControl(p []byte, whole bool) (Event, *Error) {
	if !whole {
		d.control = append(d.control, p...)
		return Event{}, nil
	}
	if len(d.control) > 0 {
		p = append(d.control, p...)
		d.control = nil
	}
	ev := Event{Op: d.op, Payload: p}
	d.endFrame()
	if ev.Op != Close {
		return ev, nil
	}
	d.ended = true
	d.data = nil
	switch {
	case len(p) == 0:
		ev.Code = NoStatus
		return ev, nil
	case len(p) == 1:
		return Event{}, &Error{Protocol, "a close frame of one byte"}
	}
	ev.Code, ev.Payload = Code(binary.BigEndian.Uint16(p)), p[2:]
	if !ev.Code.Sendable() {
		return Event{}, &Error{Protocol, "a close code that must not be sent"}
	}
	if !utf8.Valid(ev.Payload) {
		return Event{}, &Error{BadData, "the reason of a close frame is not UTF-8"}
	}
	return ev, nil
}
