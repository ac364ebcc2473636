package bench

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"net"
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

// wsScanner reads the frames of a server: of each message it keeps only the
// head, and it answers pings.
type wsScanner struct {
	in   *bufio.Reader
	conn net.Conn
	head []byte // of the message that is being read
}

// next reads frames until a message is complete and returns its first
// keepLine bytes, valid until the next call. A close frame is an error.
func (s *wsScanner) next() ([]byte, error) {
	s.head = s.head[:0]
	for {
		op, final, length, err := s.frame()
		if err != nil {
			return nil, err
		}
		switch op {
		case wsText, wsBinary, wsContinuation:
			if err := s.take(length); err != nil {
				return nil, err
			}
			if final {
				return s.head, nil
			}
		case wsPing:
			if err := s.pong(length); err != nil {
				return nil, err
			}
		case wsPong:
			if _, err := s.in.Discard(int(length)); err != nil {
				return nil, err
			}
		case wsClose:
			return nil, s.closed(length)
		default:
			return nil, fmt.Errorf("%w: WebSocket opcode %d", errAnswer, op)
		}
	}
}

// frame reads a frame's head.
func (s *wsScanner) frame() (op byte, final bool, length int64, err error) {
	first, err := s.in.ReadByte()
	if err != nil {
		return 0, false, 0, err
	}
	second, err := s.in.ReadByte()
	if err != nil {
		return 0, false, 0, unexpected(err)
	}
	if first&0x70 != 0 || second&0x80 != 0 {
		return 0, false, 0, fmt.Errorf("%w: WebSocket frame %#02x %#02x", errAnswer, first, second)
	}
	length = int64(second & 0x7f)
	if length >= 126 {
		var b [8]byte
		n := 2
		if length == 127 {
			n = 8
		}
		if _, err := io.ReadFull(s.in, b[8-n:]); err != nil {
			return 0, false, 0, unexpected(err)
		}
		long := binary.BigEndian.Uint64(b[:])
		if bits.Len64(long) > 31 {
			return 0, false, 0, fmt.Errorf("%w: WebSocket frame of %d bytes", errAnswer, long)
		}
		length = int64(long)
	}
	return first & 0x0f, first&0x80 != 0, length, nil
}

// take keeps the head of a message and skips the rest of the frame.
func (s *wsScanner) take(length int64) error {
	if want := min(length, int64(keepLine-len(s.head))); want > 0 {
		at := len(s.head)
		s.head = append(s.head, make([]byte, want)...)
		if _, err := io.ReadFull(s.in, s.head[at:]); err != nil {
			return unexpected(err)
		}
		length -= want
	}
	_, err := s.in.Discard(int(length))
	return unexpected(err)
}

// pong answers a ping: masked, as a client's frames are (with the key 0).
func (s *wsScanner) pong(length int64) error {
	if length > 125 {
		return fmt.Errorf("%w: ping of %d bytes", errAnswer, length)
	}
	frame := make([]byte, 6+length)
	frame[0], frame[1] = 0x80|wsPong, 0x80|byte(length)
	if _, err := io.ReadFull(s.in, frame[6:]); err != nil {
		return unexpected(err)
	}
	_, err := s.conn.Write(frame)
	return err
}

func (s *wsScanner) closed(length int64) error {
	b := make([]byte, min(length, 125))
	if _, err := io.ReadFull(s.in, b); err != nil || len(b) < 2 {
		return fmt.Errorf("%w: the server closed the WebSocket", errAnswer)
	}
	return fmt.Errorf("%w: the server closed the WebSocket: %d %s", errAnswer, binary.BigEndian.Uint16(b), b[2:])
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
