package bench

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The opcodes of RFC 6455, section 5.2, that matter here.
const (
	wsContinuation = 0x0
	wsText         = 0x1
	wsBinary       = 0x2
	wsClose        = 0x8
	wsPing         = 0x9
	wsPong         = 0xA
)

// frameScanner finds the messages in the frames of a server, which come in
// pieces of any size. Of a message that lies in several pieces it keeps only
// the first keepLine bytes.
type frameScanner struct {
	begun   []byte // of a frame's head, as far as it has come
	frame   frameHead
	inside  bool   // a frame: left bytes of it have not come
	left    int64  //
	message []byte // of the message, if it does not lie in one piece
	parted  bool   // it does not
	control []byte // the payload of a control frame
	reply   []byte // frames to answer with
}

type frameHead struct {
	op     byte
	final  bool
	length int64
}

// parseFrameHead reads a frame's head of n bytes; n is 0 if it is not all there.
func parseFrameHead(b []byte) (h frameHead, n int, err error) {
	if len(b) < 2 {
		return h, 0, nil
	}
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return h, 0, fmt.Errorf("%w: WebSocket frame %#02x %#02x", errAnswer, b[0], b[1])
	}
	h = frameHead{op: b[0] & 0x0f, final: b[0]&0x80 != 0, length: int64(b[1] & 0x7f)}
	n = 2
	switch h.length {
	case 126:
		if n = 4; len(b) < n {
			return h, 0, nil
		}
		h.length = int64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if n = 10; len(b) < n {
			return h, 0, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if bits.Len64(long) > 31 {
			return h, 0, fmt.Errorf("%w: WebSocket frame of %d bytes", errAnswer, long)
		}
		h.length = int64(long)
	}
	switch h.op {
	case wsText, wsBinary, wsContinuation:
	case wsPing, wsPong, wsClose:
		if h.length > 125 {
			return h, 0, fmt.Errorf("%w: a control frame, such as a ping, of %d bytes", errAnswer, h.length)
		}
	default:
		return h, 0, fmt.Errorf("%w: WebSocket opcode %d", errAnswer, h.op)
	}
	return h, n, nil
}

// scan calls fn with the head of each message that ends in the piece; it is
// valid until fn returns. A close frame is an error. What is to be sent in
// answer is in reply.
func (s *frameScanner) scan(piece []byte, fn func(message []byte) error) error {
	for len(piece) > 0 || s.inside && s.left == 0 {
		if !s.inside {
			rest, err := s.head(piece)
			if err != nil {
				return err
			}
			piece = rest
			continue
		}
		n := min(s.left, int64(len(piece)))
		part := piece[:n]
		piece = piece[n:]
		s.left -= n
		if err := s.part(part, fn); err != nil {
			return err
		}
		s.inside = s.left > 0
	}
	return nil
}

// head takes a frame's head, or what has come of one, and returns what follows.
func (s *frameScanner) head(piece []byte) (rest []byte, err error) {
	if len(s.begun) == 0 {
		h, n, err := parseFrameHead(piece)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			s.enter(h)
			return piece[n:], nil
		}
	}
	for i, c := range piece {
		s.begun = append(s.begun, c)
		h, n, err := parseFrameHead(s.begun)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			s.begun = s.begun[:0]
			s.enter(h)
			return piece[i+1:], nil
		}
	}
	return nil, nil
}

func (s *frameScanner) enter(h frameHead) { s.frame, s.inside, s.left = h, true, h.length }

// part takes bytes of the frame; left says how many are to come.
func (s *frameScanner) part(b []byte, fn func([]byte) error) error {
	if s.frame.op >= wsClose {
		s.control = append(s.control, b...)
		if s.left > 0 {
			return nil
		}
		defer func() { s.control = s.control[:0] }()
		switch s.frame.op {
		case wsPing:
			s.reply = appendPong(s.reply, s.control)
		case wsClose:
			return closedBy(s.control)
		}
		return nil
	}
	last := s.left == 0 && s.frame.final
	if last && !s.parted {
		return fn(b)
	}
	s.parted = true
	s.message = append(s.message, b[:min(len(b), keepLine-len(s.message))]...)
	if !last {
		return nil
	}
	err := fn(s.message)
	s.message, s.parted = s.message[:0], false
	return err
}

// appendPong answers a ping: masked, as a client's frames are (with the key 0).
func appendPong(dst, payload []byte) []byte {
	dst = append(dst, 0x80|wsPong, 0x80|byte(len(payload)), 0, 0, 0, 0)
	return append(dst, payload...)
}

func closedBy(b []byte) error {
	if len(b) < 2 {
		return fmt.Errorf("%w: the server closed the WebSocket", errAnswer)
	}
	return fmt.Errorf("%w: the server closed the WebSocket: %d %s", errAnswer, binary.BigEndian.Uint16(b), b[2:])
}
