package limit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Bounds of what is taken from a peer.
const (
	maxHead = 16 << 10
	maxBody = 16 << 20
)

var errRequest = errors.New("not understood")

// request is what matters of a request. Its slices are those of the bytes it
// was parsed from.
type request struct {
	method   []byte
	path     []byte // up to the question mark
	query    []byte
	encoding encoding
	protocol bool // a WebSocket that asks for a protocol
	body     []byte
}

// parse reads a request of n bytes; n is 0 if it is not all there.
func parse(b []byte) (r request, n int, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > maxHead {
			return r, 0, fmt.Errorf("%w: a head of more than %d bytes", errRequest, maxHead)
		}
		return r, 0, nil
	}
	head := b[:end+2]
	i := bytes.IndexByte(head, '\r')
	method, rest, ok := bytes.Cut(head[:i], []byte(" "))
	target, _, ok2 := bytes.Cut(rest, []byte(" HTTP/1."))
	if !ok || !ok2 {
		return r, 0, fmt.Errorf("%w: request line %.60q", errRequest, head[:i])
	}
	r.method = method
	r.path, r.query, _ = bytes.Cut(target, []byte("?"))
	length := 0
	for head = head[i+2:]; len(head) > 0; head = head[i+2:] {
		if i = bytes.IndexByte(head, '\r'); i < 0 || i+2 > len(head) {
			return r, 0, fmt.Errorf("%w: header line %.60q", errRequest, head)
		}
		name, value, _ := bytes.Cut(head[:i], []byte(": "))
		switch string(name) { // as the generator writes them
		case "Content-Length":
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxBody {
				return r, 0, fmt.Errorf("%w: Content-Length %.20q", errRequest, value)
			}
		case "Upgrade":
			r.encoding = socket
		case "Accept":
			if string(value) == "application/x-ndjson" {
				r.encoding = ndjson
			}
		case "Sec-WebSocket-Protocol":
			r.protocol = true
		}
	}
	if n = end + 4 + length; len(b) < n {
		return r, 0, nil
	}
	r.body = b[end+4 : n]
	return r, n, nil
}

// times is the number that the query asks for.
func (r *request) times() int {
	for part := range bytes.SplitSeq(r.query, []byte("&")) {
		if value, ok := bytes.CutPrefix(part, []byte("times=")); ok {
			n, _ := strconv.Atoi(string(value)) // 0 if it is none
			return n
		}
	}
	return 0
}

// clientFrame finds the end of a client's frame; n is 0 if it is not all there.
func clientFrame(b []byte) (op byte, n int, err error) {
	if len(b) < 6 {
		return 0, 0, nil
	}
	head, length := 6, int(b[1]&0x7f)
	switch length {
	case 126:
		head, length = 8, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return 0, 0, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long > maxBody {
			return 0, 0, fmt.Errorf("%w: a frame of %d bytes", errRequest, long)
		}
		head, length = 14, int(long)
	}
	if len(b) < head+length {
		return 0, 0, nil
	}
	return b[0] & 0x0f, head + length, nil
}
