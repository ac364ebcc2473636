package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Transport is how a subscriber listens.
type Transport string

// The transports. Pages are not among them: they are no stream.
const (
	SSE       Transport = "sse"
	WebSocket Transport = "ws"
	NDJSON    Transport = "ndjson"
)

// errGap: the server told a gap, so that messages are missing.
var errGap = errors.New("the server told of a gap")

// listener is an open subscription.
type listener struct {
	conn net.Conn
	in   *bufio.Reader
	head answerHead
	via  Transport
}

// listen subscribes to a path of the public API and returns once the server
// listens for the subscription. buffer is for reading: small for a subscriber
// that is idle, large for one that is to be fast.
func (s *server) listen(ctx context.Context, via Transport, path string, query url.Values, buffer int) (*listener, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	l := &listener{conn: conn, in: bufio.NewReaderSize(conn, max(buffer, 512)), via: via}
	if err := l.begin(s, path, query); err != nil {
		return nil, errors.Join(fmt.Errorf("listen to %s: %w", path, err), conn.Close())
	}
	return l, nil
}

func (l *listener) begin(s *server, path string, query url.Values) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	request, want := s.head("GET", path, "Accept", "text/event-stream"), http.StatusOK
	switch l.via {
	case NDJSON:
		request = s.head("GET", path, "Accept", "application/x-ndjson")
	case WebSocket:
		var key [16]byte
		_, _ = rand.Read(key[:]) // never fails, see crypto/rand
		request, want = s.head("GET", path, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
			"Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key[:])), http.StatusSwitchingProtocols
	}
	if err := l.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := l.conn.Write(request); err != nil {
		return err
	}
	var err error
	if l.head, err = readHead(l.in); err != nil {
		return err
	}
	if l.head.status != want {
		text, _ := io.ReadAll(io.LimitReader(newBody(l.in, l.head), 512)) // what came is better than nothing
		return &statusError{l.head.status, string(text)}
	}
	return l.conn.SetDeadline(time.Time{})
}

// each calls fn with the head of every payload until the stream ends or fn
// returns an error. The end of a stream that ends is io.EOF.
func (l *listener) each(fn func(payload []byte) error) error {
	if l.via == WebSocket {
		scan := wsScanner{in: l.in, conn: l.conn}
		for {
			message, err := scan.next()
			if err != nil {
				return err
			}
			if err := fn(payloadOf(message)); err != nil {
				return err
			}
		}
	}
	line := func(line []byte) error { return sseLine(line, fn) }
	if l.via == NDJSON {
		line = func(line []byte) error { return envelopeLine(line, fn) }
	}
	from := newBody(l.in, l.head)
	var lines lineScanner
	for {
		piece, err := from.next()
		if err != nil {
			return err
		}
		if err := lines.scan(piece, line); err != nil {
			return err
		}
	}
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

func (l *listener) Close() error { return l.conn.Close() }
