// Package packet has the packets of Engine.IO, protocol 3 and 4, and the two
// ways in which they travel: several of them joined to a payload, for polling,
// and one of them in a WebSocket frame. It is bytes in and bytes out; sessions,
// requests and sockets are its caller's.
//
// The protocol is described in the socketio/socket.io repository, in
// docs/engine.io-protocol (v3.md and v4-current.md). Where its text and the
// servers that are in use differ, this package does as the servers do: an
// example of v3.md, for one, leaves out the type byte of a binary packet.
package packet

import (
	"encoding/base64"
	"errors"
	"fmt"
)

// Version is a version of the protocol.
type Version uint8

// The versions.
const (
	V3 Version = 3 // Socket.IO 1 and 2
	V4 Version = 4 // Socket.IO 3 and 4
)

// Type is a packet's type.
type Type uint8

// The types, by their numbers on the wire.
const (
	Open Type = iota
	Close
	Ping
	Pong
	Message
	Upgrade
	Noop
)

// Packet is one packet. Only messages can be binary.
type Packet struct {
	Type   Type
	Binary bool
	Data   []byte
}

// ErrSyntax is wrapped by every error about bytes that are no packet or
// payload. After one nothing that follows has a meaning.
var ErrSyntax = errors.New("not an Engine.IO packet")

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

func digit(c byte) (Type, error) {
	if c < '0' || c > '0'+byte(Noop) {
		return 0, syntax("type %q is none of 0 to 6", c)
	}
	return Type(c - '0'), nil
}

// parseText reads a packet of text: a digit and data, or b and base64. The
// data are part of s, unless they were base64.
func parseText(v Version, s []byte) (Packet, error) {
	if len(s) == 0 {
		return Packet{}, syntax("it is empty")
	}
	if s[0] != 'b' {
		t, err := digit(s[0])
		return Packet{Type: t, Data: s[1:]}, err
	}
	s = s[1:]
	if v == V3 { // which names the type also here
		if len(s) == 0 || s[0] != '0'+byte(Message) {
			return Packet{}, syntax("only messages can be binary")
		}
		s = s[1:]
	}
	data, err := fromBase64(s)
	return Packet{Type: Message, Binary: true, Data: data}, err
}

// fromBase64 takes base64 with and without padding.
func fromBase64(s []byte) ([]byte, error) {
	for i := 0; i < 2 && len(s) > 0 && s[len(s)-1] == '='; i++ {
		s = s[:len(s)-1]
	}
	data := make([]byte, base64.RawStdEncoding.DecodedLen(len(s)))
	n, err := base64.RawStdEncoding.Decode(data, s)
	if err != nil {
		return nil, syntax("binary data are not base64: %v", err)
	}
	return data[:n], nil
}

// appendText is the reverse of parseText.
func appendText(dst []byte, v Version, p Packet) []byte {
	if !p.Binary {
		return append(append(dst, '0'+byte(p.Type)), p.Data...)
	}
	dst = append(dst, 'b')
	if v == V3 {
		dst = append(dst, '0'+byte(Message))
	}
	return base64.StdEncoding.AppendEncode(dst, p.Data)
}

// ParseFrame reads the packet that a WebSocket message holds. The packet's
// data may be part of data. Errors wrap [ErrSyntax].
func ParseFrame(v Version, binary bool, data []byte) (Packet, error) {
	switch {
	case !binary:
		return parseText(v, data)
	case v == V4:
		return Packet{Type: Message, Binary: true, Data: data}, nil
	case len(data) == 0:
		return Packet{}, syntax("it is empty")
	case data[0] != byte(Message):
		return Packet{}, syntax("only messages can be binary")
	}
	return Packet{Type: Message, Binary: true, Data: data[1:]}, nil
}

// AppendFrame appends what a WebSocket message holds for a packet, and says
// whether it is a binary one. With b64 it never is.
func AppendFrame(dst []byte, v Version, b64 bool, p Packet) (_ []byte, binary bool) {
	switch {
	case !p.Binary || b64:
		return appendText(dst, v, p), false
	case v == V3:
		dst = append(dst, byte(Message))
	}
	return append(dst, p.Data...), true
}
