// Package ber decodes the messages of QRI's backends out of a stream of bytes:
//
//	Message ::= SEQUENCE { peer OCTET STRING, checksum OCTET STRING, message OCTET STRING }
//
// in BER (ITU-T X.690), one after the other with nothing between them. Every
// form that BER allows is taken: lengths of the long form with whatever
// zeros in front, indefinite lengths, octet strings in pieces of pieces.
//
// The decoder is a state machine without I/O: it takes bytes as they come, in
// pieces of any size, keeps what it has decoded and not the frame, and looks
// at each byte once. What a frame can make it hold is bounded by [Limits],
// checked as soon as a length says what is to come, and memory is taken only
// for bytes that are there.
package ber

import "fmt"

// Message is one decoded message. Its slices are the caller's.
type Message struct {
	Peer, Checksum, Data []byte
}

// Limits of one frame, in bytes.
type Limits struct {
	Name  int // of peer and of checksum
	Data  int // of the message
	Frame int // of all of it as it is encoded
}

// MaxDepth bounds how deep pieces may lie in pieces.
const MaxDepth = 32

// Error is why a stream cannot be decoded any further. It stays with its
// decoder.
type Error struct {
	Offset int64 // in the stream, of the byte at fault
	Reason string
	// TooBig says that the frame may be a good one, but is over a limit.
	TooBig bool
}

// Error gives offset and reason.
func (e *Error) Error() string { return fmt.Sprintf("byte %d: %s", e.Offset, e.Reason) }

// Tags and lengths (X.690, sections 8.1.2 and 8.1.3).
const (
	tagEnd         = 0x00 // of an end of contents
	tagString      = 0x04 // OCTET STRING
	tagPieces      = 0x24 // OCTET STRING, constructed
	tagSequence    = 0x30
	lengthLong     = 0x80 // and the number of length octets
	lengthReserved = 0xff
)

// The fields of a message, in their order.
const (
	fieldPeer = iota
	fieldChecksum
	fieldData
	fields
)

var fieldNames = [fields]string{"peer", "checksum", "message"}

// step is what the next byte is.
type step uint8

const (
	atTag step = iota
	atLength
	atLongLength // one of the octets of a long form
	atEndLength  // the second octet of an end of contents
	atContent    // of a primitive octet string
)

// open is a constructed encoding that has not ended.
type open struct {
	end        int // where it ends, in bytes of the frame, or at the latest if it is indefinite
	indefinite bool
}

// Decoder decodes one stream. It is not safe for concurrent use.
type Decoder struct {
	limits Limits
	err    *Error
	offset int64 // of the next byte in the stream
	size   int   // of the frame so far

	step   step
	tag    byte
	octets int // of a long length that are to come
	length int // as far as it was read, or of the content that is to come

	depth int // of stack; 0: between frames, 1: in the sequence, more: in pieces
	stack [1 + MaxDepth]open
	field int // under way, or fields once all are there
	frame [fields][]byte
}

// NewDecoder makes a decoder for one stream.
func NewDecoder(l Limits) *Decoder { return &Decoder{limits: l} }

// Begun reports whether a frame was begun and has not ended.
func (d *Decoder) Begun() bool { return d.size > 0 }

// Offset is how many bytes of the stream were decoded.
func (d *Decoder) Offset() int64 { return d.offset }

// Next takes bytes in, up to the end of one message, and returns how many they
// were. ok says that m is a message; if it is not, all of p was taken in. After
// an error, a [*Error], nothing is taken in any more.
func (d *Decoder) Next(p []byte) (m Message, n int, ok bool, err error) {
	for n < len(p) && d.err == nil {
		if d.step == atContent {
			n += d.content(p[n:])
		} else {
			d.header(p[n])
			n++
		}
		if d.step == atTag && d.err == nil && d.ended() {
			return d.finish(), n, true, nil
		}
	}
	if d.err != nil {
		return Message{}, n, false, d.err
	}
	return Message{}, n, false, nil
}

// finish gives the message of a frame that has ended, and begins anew.
func (d *Decoder) finish() Message {
	m := Message{d.frame[fieldPeer], d.frame[fieldChecksum], d.frame[fieldData]}
	d.frame = [fields][]byte{}
	d.field, d.size = 0, 0
	return m
}

func (d *Decoder) fail(format string, args ...any) {
	d.err = &Error{Offset: d.offset, Reason: fmt.Sprintf(format, args...)}
}

func (d *Decoder) tooBig(format string, args ...any) {
	d.fail(format, args...)
	d.err.TooBig = true
}

// took counts n bytes of the frame.
func (d *Decoder) took(n int) {
	d.offset += int64(n)
	d.size += n
}

// end is where the innermost encoding ends at the latest.
func (d *Decoder) end() int {
	if d.depth == 0 {
		return d.limits.Frame
	}
	return d.stack[d.depth-1].end
}

// header takes one octet of a tag or a length.
func (d *Decoder) header(b byte) {
	if d.size >= d.end() {
		d.overrun(1)
		return
	}
	switch d.step {
	case atTag:
		d.begin(b)
	case atLength:
		d.readLength(b)
	case atLongLength:
		if d.length >= 1<<23 {
			d.tooBig("a length of 2^31 bytes or more")
			return
		}
		d.length = d.length<<8 | int(b)
		d.octets--
		d.took(1)
		if d.octets == 0 {
			d.enter()
		}
	case atEndLength:
		if b != 0 {
			d.fail("the end of contents is 00 00, not 00 %02X", b)
			return
		}
		d.took(1)
		d.pop()
	}
}

// overrun fails because n more bytes do not fit where they are.
func (d *Decoder) overrun(n int) {
	if d.end() == d.limits.Frame {
		d.tooBig("the frame is over the limit of %d bytes", d.limits.Frame)
		return
	}
	d.fail("an encoding runs over the end of the one that it is in, by %d bytes", d.size+n-d.end())
}

// begin takes a tag.
func (d *Decoder) begin(tag byte) {
	switch {
	case d.depth == 0:
		if tag != tagSequence {
			d.fail("a message begins with 30 (SEQUENCE), not %02X", tag)
			return
		}
	case tag == tagEnd && d.stack[d.depth-1].indefinite:
		d.took(1)
		d.step = atEndLength
		return
	case tag != tagString && tag != tagPieces:
		d.fail("tag %02X where an OCTET STRING (04 or 24) belongs", tag)
		return
	case d.field == fields:
		d.fail("a message has three members, this one has more")
		return
	}
	d.took(1)
	d.tag, d.step = tag, atLength
}

// readLength takes the first octet of a length.
func (d *Decoder) readLength(b byte) {
	switch {
	case b < lengthLong:
		d.length = int(b)
		d.took(1)
		d.enter()
	case b == lengthLong && d.tag == tagString:
		d.fail("an indefinite length belongs to constructed encodings, and this one is primitive")
	case b == lengthLong:
		d.took(1)
		d.push(open{end: d.end(), indefinite: true})
	case b == lengthReserved:
		d.fail("length octet FF is reserved")
	default:
		d.took(1)
		d.length, d.octets, d.step = 0, int(b&^lengthLong), atLongLength
	}
}

// enter begins the contents of an encoding whose length is known.
func (d *Decoder) enter() {
	switch {
	case d.length > d.end()-d.size:
		d.overrun(d.length)
	case d.tag != tagString:
		d.push(open{end: d.size + d.length})
	case d.length > d.limit()-len(d.frame[d.field]):
		d.tooBig("the %s is over the limit of %d bytes", fieldNames[d.field], d.limit())
	case d.length == 0:
		d.filled()
	default:
		d.step = atContent
	}
}

// limit of the field under way.
func (d *Decoder) limit() int {
	if d.field == fieldData {
		return d.limits.Data
	}
	return d.limits.Name
}

// content takes octets of a primitive octet string.
func (d *Decoder) content(p []byte) int {
	n := min(len(p), d.length)
	f := &d.frame[d.field]
	if *f == nil && n == d.length {
		*f = make([]byte, 0, n)
	}
	*f = append(*f, p[:n]...)
	d.length -= n
	d.took(n)
	if d.length == 0 {
		d.filled()
	}
	return n
}

// filled ends a primitive octet string: a field, or a piece of one.
func (d *Decoder) filled() {
	d.step = atTag
	if d.depth == 1 {
		d.field++
	}
}

// push begins a constructed encoding.
func (d *Decoder) push(o open) {
	if d.depth == len(d.stack) {
		d.tooBig("octet strings in pieces of pieces, more than %d deep", MaxDepth)
		return
	}
	d.stack[d.depth] = o
	d.depth++
	d.step = atTag
}

// pop ends one: the frame, a field in pieces, or a piece of one.
func (d *Decoder) pop() {
	d.step = atTag
	d.depth--
	switch {
	case d.depth == 1:
		d.field++
	case d.depth == 0 && d.field < fields:
		d.fail("the message ends without its %s", fieldNames[d.field])
	}
}

// ended ends the definite encodings that are full, and reports whether the
// frame is one of them, or has ended by its end of contents.
func (d *Decoder) ended() bool {
	for d.err == nil && d.depth > 0 {
		top := &d.stack[d.depth-1]
		if top.indefinite || d.size < top.end {
			return false
		}
		d.pop()
	}
	return d.err == nil && d.size > 0
}
