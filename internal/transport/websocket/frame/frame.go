// Package frame has the frames of WebSocket (RFC 6455, section 5) as a server
// sees them, without any I/O: a [Decoder] that is fed with whatever chunks a
// socket gives, and functions that append frames to a buffer. Whoever drives
// them decides how bytes come and go: a goroutine for each socket, or a loop
// of non-blocking reads.
//
// The invariant: what a Decoder does depends on the bytes only, never on how
// they were cut into chunks, and a peer that breaks the rules is found out
// with the first byte that does.
//
// Extensions are not negotiated, permessage-deflate (RFC 7692) among them, so
// that a reserved bit is always an error.
package frame

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Op is a frame's opcode.
type Op uint8

// The opcodes of RFC 6455. As the Op of an [Event] Continuation means that
// there is none.
const (
	Continuation Op = 0x0
	Text         Op = 0x1
	Binary       Op = 0x2
	Close        Op = 0x8
	Ping         Op = 0x9
	Pong         Op = 0xa
)

// IsControl reports whether frames with the opcode are control frames.
func (o Op) IsControl() bool { return o&0x8 != 0 }

// Code is a close code.
type Code uint16

// The close codes of RFC 6455, section 7.4.1, and of the registry that it
// begins, as far as they are used here.
const (
	Normal      Code = 1000
	GoingAway   Code = 1001
	Protocol    Code = 1002 // the rules of frames were broken
	Unsupported Code = 1003 // a kind of data that is not taken
	NoStatus    Code = 1005 // a close frame without a code; never sent
	BadData     Code = 1007 // text is not UTF-8
	Policy      Code = 1008
	TooBig      Code = 1009
	Internal    Code = 1011
	Restart     Code = 1012
	TryLater    Code = 1013
)

// Sendable reports whether a close frame may hold the code: those that the
// registry assigns to be sent, 3000 to 3999 and 4000 to 4999.
func (c Code) Sendable() bool {
	switch {
	case 1000 <= c && c <= 1003, 1007 <= c && c <= 1014, 3000 <= c && c <= 4999:
		return true
	}
	return false
}

// Limits of control frames.
const (
	MaxControl = 125               // bytes of payload
	MaxReason  = MaxControl - 2    // bytes of a close frame's reason
	MaxHeader  = 2 + 8 + 4         // bytes of any frame's header
	headerOut  = MaxHeader - 4     // of one that is not masked
	finBit     = 0x80              // of the first byte
	rsvBits    = 0x70              // of the first byte
	maskBit    = 0x80              // of the second byte
	minLen16   = MaxControl + 1    // the least length written in 16 bits
	minLen64   = 1<<16 - 1 + 1     // the least length written in 64 bits
	maxLen64   = uint64(1)<<63 - 1 // the most significant bit must be 0
)

// Error is why a peer's connection is failed: the code and reason of the close
// frame that it is sent.
type Error struct {
	Code   Code
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (close code %d)", e.Reason, e.Code) }

// AppendHeader appends the header of a frame of n bytes that is not masked,
// as servers send them.
func AppendHeader(dst []byte, op Op, fin bool, n int) []byte {
	first := byte(op)
	if fin {
		first |= finBit
	}
	switch {
	case n < minLen16:
		return append(dst, first, byte(n))
	case n < minLen64:
		return binary.BigEndian.AppendUint16(append(dst, first, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, first, 127), uint64(n))
}

// Append appends one frame that is a whole message, or a control frame of at
// most [MaxControl] bytes, not masked.
func Append(dst []byte, op Op, payload []byte) []byte {
	return append(AppendHeader(dst, op, true, len(payload)), payload...)
}

// AppendClose appends a close frame. A code that must not be sent makes it one
// without a code; a reason of more than [MaxReason] bytes is cut at a whole
// character. The reason is UTF-8.
func AppendClose(dst []byte, code Code, reason string) []byte {
	if !code.Sendable() {
		return AppendHeader(dst, Close, true, 0)
	}
	reason = Clip(reason, MaxReason)
	dst = AppendHeader(dst, Close, true, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// Clip cuts s to at most n bytes, at a whole character.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Reserve makes room in an empty buffer for a frame whose length is not known
// before its payload is written; [Finish] then puts the header in its place.
func Reserve(dst []byte) []byte { return append(dst, make([]byte, headerOut)...) }

// Finish turns what follows a [Reserve] at the beginning of b into one frame,
// which is a part of b.
func Finish(b []byte, op Op) []byte {
	var h [headerOut]byte
	header := AppendHeader(h[:0], op, true, len(b)-headerOut)
	at := headerOut - len(header)
	copy(b[at:], header)
	return b[at:]
}
