package bench

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
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

func (t Transport) check() error {
	if t != SSE && t != WebSocket && t != NDJSON {
		return fmt.Errorf("transport %q is not sse, ws or ndjson", t)
	}
	return nil
}

// errGap: the server told a gap, so that messages are missing.
var errGap = errors.New("the server told of a gap")

// errEnough ends a stream that has no end of its own.
var errEnough = errors.New("enough")

// member is one connection of a crowd, that listens.
type member struct {
	via     Transport
	request []byte
	take    func(payload []byte) error // told of each payload's head; an error ends the stream
	at      time.Time                  // when what take is told of came
	err     error                      // what it ended with; for after the crowd's end

	head   []byte // of the answer, as far as it has come
	stream *stream
}

// newMember makes a member that subscribes to a path of the public API.
func newMember(s *server, via Transport, path string, query url.Values) *member {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	m := &member{via: via}
	switch via {
	case NDJSON:
		m.request = s.head("GET", path, "Accept", "application/x-ndjson")
	case WebSocket:
		m.request = s.upgrade(path)
	default:
		m.request = s.head("GET", path, "Accept", "text/event-stream")
	}
	return m
}

// upgrade makes the request of a WebSocket.
func (s *server) upgrade(path string, header ...string) []byte {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails, see crypto/rand
	return s.head("GET", path, append([]string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
		"Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(key[:])}, header...)...)
}

// feed takes a piece of what comes on the connection. answered is true with
// the piece that ends the head of the answer.
func (m *member) feed(piece []byte) (answered bool, reply []byte, err error) {
	if m.stream != nil {
		reply, err = m.stream.feed(piece)
		return false, reply, err
	}
	m.head = append(m.head, piece...)
	i := bytes.Index(m.head, []byte("\r\n\r\n"))
	if i < 0 {
		if len(m.head) > maxHead {
			return false, nil, fmt.Errorf("%w: head of more than %d bytes", errAnswer, maxHead)
		}
		return false, nil, nil
	}
	h, err := readHead(bufio.NewReader(bytes.NewReader(m.head[:i+4])))
	if err != nil {
		return false, nil, err
	}
	rest := m.head[i+4:]
	m.head = nil
	want := http.StatusOK
	if m.via == WebSocket {
		want = http.StatusSwitchingProtocols
	}
	if h.status != want {
		return false, nil, &statusError{h.status, string(rest[:min(len(rest), 512)])}
	}
	m.stream = newStream(m.via, h, m.take)
	if len(rest) > 0 || h.length == 0 {
		reply, err = m.stream.feed(rest)
	}
	return true, reply, err
}

// ended is the error of a connection that ends now.
func (m *member) ended() error {
	if m.stream == nil {
		return io.ErrUnexpectedEOF
	}
	return m.stream.ended()
}
