package bench

import (
	"bytes"
	"fmt"
	"io"
)

// stream takes what comes to a subscriber after the head of the answer, in
// pieces of any size, and finds the payloads. It looks only at the bytes that
// it needs.
type stream struct {
	via    Transport
	body   bodyScanner
	lines  lineScanner
	frames frameScanner
	fn     func(payload []byte) error
}

// newStream begins a stream; fn is told of the head of every payload, valid
// until it returns, and ends the stream with an error.
func newStream(via Transport, h answerHead, fn func(payload []byte) error) *stream {
	return &stream{via: via, body: newBodyScanner(h), fn: fn}
}

// feed takes a piece. The end of a body is io.EOF; after an error there is
// nothing more to feed. reply is what the peer is to be sent, nil most times.
func (s *stream) feed(piece []byte) (reply []byte, err error) {
	if s.via == WebSocket {
		err = s.frames.scan(piece, func(m []byte) error { return s.fn(payloadOf(m)) })
		reply, s.frames.reply = s.frames.reply, nil
		return reply, err
	}
	if s.body.chunked || s.body.left >= 0 {
		_, err = s.body.scan(piece, s.text)
	} else {
		err = s.text(piece)
	}
	if err == nil && s.body.done() {
		err = io.EOF
	}
	return nil, err
}

// ended is the error of a stream whose connection ends now.
func (s *stream) ended() error {
	if s.via == WebSocket {
		return io.ErrUnexpectedEOF
	}
	return s.body.ended()
}

func (s *stream) text(piece []byte) error { return s.lines.scan(piece, s.line) }

func (s *stream) line(line []byte) error {
	if s.via == NDJSON {
		return envelopeLine(line, s.fn)
	}
	return sseLine(line, s.fn)
}

// sseLine looks at a line of an event stream. A payload is one line, so that
// events need not be put together.
func sseLine(line []byte, fn func([]byte) error) error {
	if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
		return fn(payloadOf(data))
	}
	if name, ok := bytes.CutPrefix(line, []byte("event: crier-")); ok {
		if string(name) == "gap" {
			return errGap
		}
		return fmt.Errorf("%w: event crier-%.40s", errAnswer, name)
	}
	return nil
}

// envelopeLine looks at a line of NDJSON.
func envelopeLine(line []byte, fn func([]byte) error) error {
	if bytes.HasPrefix(line, []byte(`{"gap"`)) {
		return errGap
	}
	if _, data, ok := bytes.Cut(line, []byte(`"data":`)); ok {
		return fn(payloadOf(data))
	}
	return nil
}

// payloadOf takes the quote away with which a payload begins that was
// published as JSON, or is in an envelope.
func payloadOf(data []byte) []byte { return bytes.TrimPrefix(data, []byte(`"`)) }
