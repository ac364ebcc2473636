package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// socketExchange is one WebSocket on which publishes are answered in turn
// (crier.v1.json).
type socketExchange struct {
	conn   net.Conn
	in     *bufio.Reader
	frames frameScanner
}

func (s *server) socketExchange(ctx context.Context, domain string) (*socketExchange, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	e := &socketExchange{conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}
	if err := e.open(s, domain); err != nil {
		return nil, errors.Join(fmt.Errorf("WebSocket: %w", err), conn.Close())
	}
	return e, nil
}

func (e *socketExchange) open(s *server, domain string) error {
	if err := e.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := e.conn.Write(s.upgrade("/t/"+domain, "Sec-WebSocket-Protocol", "crier.v1.json")); err != nil {
		return err
	}
	h, err := readHead(e.in)
	if err != nil {
		return err
	}
	if h.status != http.StatusSwitchingProtocols {
		body, _ := readBody(e.in, h, 512) // what came is better than nothing
		return &statusError{h.status, string(body)}
	}
	return nil
}

// do writes frames, and reads an answer to each.
func (e *socketExchange) do(frames []byte, answers int) error {
	if err := e.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := e.conn.Write(frames); err != nil {
		return err
	}
	var refused error
	for answers > 0 {
		if _, err := e.in.Peek(1); err != nil {
			return err
		}
		piece, _ := e.in.Peek(e.in.Buffered())
		err := e.frames.scan(piece, func(m []byte) error {
			if answers--; !bytes.HasPrefix(m, []byte(`{"type":"published"`)) && refused == nil {
				refused = &statusError{0, string(m[:min(len(m), 300)])}
			}
			return nil
		})
		_, _ = e.in.Discard(len(piece)) // they are buffered
		if err != nil {
			return err
		}
		if reply := e.frames.reply; len(reply) > 0 {
			e.frames.reply = nil
			if _, err := e.conn.Write(reply); err != nil {
				return err
			}
		}
	}
	return refused
}

// Close ends the connection without the closing handshake: all is answered.
func (e *socketExchange) Close() error { return e.conn.Close() }

// appendFrameHead begins a text frame of a client; its mask is 0, so that the
// payload stands there as it is.
func appendFrameHead(dst []byte, length int) []byte {
	dst = append(dst, 0x80|wsText)
	switch {
	case length < 126:
		dst = append(dst, 0x80|byte(length))
	case length < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(length))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(length))
	}
	return append(dst, 0, 0, 0, 0)
}
