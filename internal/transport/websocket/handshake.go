package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
)

// Handshake is a client's opening handshake, found good by [Check].
type Handshake struct {
	// Protocol is [Protocol], or empty: raw mode.
	Protocol string
	key      string
}

// IsUpgrade reports whether a request wants to become a WebSocket; whether it
// may is for [Check] to say.
func IsUpgrade(r *http.Request) bool {
	return hasToken(r.Header, "Upgrade", "websocket") && hasToken(r.Header, "Connection", "upgrade")
}

// HandshakeError is an opening handshake that is answered with a status, and
// the header given beside it, instead of 101.
type HandshakeError struct {
	Status int
	Header http.Header // may be nil
	Detail string
}

func (e *HandshakeError) Error() string { return e.Detail }

// maxOffers bounds the subprotocols that are looked at.
const maxOffers = 32

// Check reads the opening handshake of a request (RFC 6455, section 4.2.1).
// The Origin is not its business. Errors are [*HandshakeError].
//
// A client that offers subprotocols, but not crier.v1.json, is refused: in
// raw mode its first frame of another protocol would be published.
func Check(r *http.Request) (Handshake, error) {
	h, err := CheckPlain(r)
	if err != nil {
		return h, err
	}
	offered := 0
	for name := range tokens(r.Header, "Sec-WebSocket-Protocol") {
		if offered++; name == Protocol {
			h.Protocol = Protocol
			break
		}
		if offered == maxOffers {
			break
		}
	}
	if offered > 0 && h.Protocol == "" {
		return Handshake{}, &HandshakeError{
			Status: http.StatusBadRequest,
			Detail: "none of the offered Sec-WebSocket-Protocol is served; offer " + Protocol + ", or none for raw messages",
		}
	}
	return h, nil
}

// CheckPlain is Check for sockets without subprotocols: those that a client
// offers are passed over, as RFC 6455 allows.
func CheckPlain(r *http.Request) (Handshake, error) {
	refuse := func(status int, detail string) (Handshake, error) {
		return Handshake{}, &HandshakeError{Status: status, Detail: detail}
	}
	switch {
	case r.ProtoMajor != 1:
		return refuse(http.StatusBadRequest, "a WebSocket begins with an HTTP/1.1 request; extended CONNECT of HTTP/2 is not served")
	case r.Method != http.MethodGet:
		return refuse(http.StatusMethodNotAllowed, "a WebSocket begins with GET, not "+r.Method)
	case r.ContentLength != 0:
		return refuse(http.StatusBadRequest, "the request has a body; what follows its head are frames")
	case !IsUpgrade(r):
		return refuse(http.StatusBadRequest, "a WebSocket begins with the header fields Connection: Upgrade and Upgrade: websocket")
	}
	if v := r.Header.Values("Sec-WebSocket-Version"); len(v) != 1 || v[0] != "13" {
		return Handshake{}, &HandshakeError{
			Status: http.StatusUpgradeRequired,
			Header: http.Header{"Sec-Websocket-Version": {"13"}, "Upgrade": {"websocket"}, "Connection": {"Upgrade"}},
			Detail: "Sec-WebSocket-Version must be 13",
		}
	}
	keys := r.Header.Values("Sec-WebSocket-Key")
	if len(keys) != 1 {
		return refuse(http.StatusBadRequest, fmt.Sprintf("want one Sec-WebSocket-Key, got %d", len(keys)))
	}
	if raw, err := base64.StdEncoding.Strict().DecodeString(keys[0]); err != nil || len(raw) != 16 {
		return refuse(http.StatusBadRequest, "Sec-WebSocket-Key is not the base64 of 16 bytes")
	}
	return Handshake{key: keys[0]}, nil
}

// acceptKey answers a Sec-WebSocket-Key (RFC 6455, section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// response is the whole answer to a good handshake.
func (h Handshake) response() []byte {
	b := make([]byte, 0, 192)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = append(b, acceptKey(h.key)...)
	if h.Protocol != "" {
		b = append(b, "\r\nSec-WebSocket-Protocol: "...)
		b = append(b, h.Protocol...)
	}
	return append(b, "\r\n\r\n"...)
}

func hasToken(h http.Header, field, want string) bool {
	for t := range tokens(h, field) {
		if strings.EqualFold(t, want) {
			return true
		}
	}
	return false
}

// tokens yields the members of a comma-separated header field.
func tokens(h http.Header, field string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range h.Values(field) {
			for t := range strings.SplitSeq(line, ",") {
				if t = strings.TrimSpace(t); t != "" && !yield(t) {
					return
				}
			}
		}
	}
}
