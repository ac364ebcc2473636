package limit

import (
	"bytes"
	"encoding/binary"
)

// encoding is how the frames of a stream look.
type encoding uint8

const (
	sse encoding = iota
	ndjson
	socket
	encodings
)

// The heads of answers, and what stands around a message; as long as a
// server's.
const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
	socketHead = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
	created    = "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 102\r\n\r\n" +
		`{"id":"000000000000000000000000","topic":"000000000000","time":"2026-11-22T00:00:00Z","durability":""}`
	published = `{"type":"published","ref":"1","message":{"id":"000000000000000000000000","time":"2026-11-22T00:00:00Z"}}`

	sseBefore      = "id: 000000000000000000000000\ndata: "
	sseAfter       = "\n\n"
	envelopeBefore = `{"id":"000000000000000000000000","topic":"000000000000000000","time":"2026-11-22T00:00:00.000000Z","contentType":"text/plain; charset=utf-8","data":`
	envelopeAfter  = "}\n"
)

// appendFrame appends the frame of a message.
func (e encoding) appendFrame(dst, message []byte) []byte {
	switch e {
	case sse:
		return append(append(append(dst, sseBefore...), message...), sseAfter...)
	case ndjson:
		dst = append(dst, envelopeBefore...)
		if bytes.HasPrefix(message, []byte(`"`)) {
			dst = append(dst, message...)
		} else {
			dst = append(append(append(dst, '"'), message...), '"')
		}
		return append(dst, envelopeAfter...)
	}
	return append(appendFrameHead(dst, len(message)), message...)
}

// appendFrameHead begins a text frame of a server (RFC 6455, section 5.2).
func appendFrameHead(dst []byte, length int) []byte {
	switch {
	case length < 126:
		return append(dst, 0x81, byte(length))
	case length < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 0x81, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0x81, 127), uint64(length))
}

// head is the head of the answer to who subscribes.
func (e encoding) head() string {
	if e == socket {
		return socketHead
	}
	return streamHead
}
