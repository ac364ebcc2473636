package early

import (
	"bytes"
	"net/http"
	"slices"
)

// maxHead bounds a request; what is longer is net/http's.
const maxHead = 4 << 10

var (
	headEnd   = []byte("\r\n\r\n")
	streaming = []byte("text/event-stream")
	socket    = []byte("websocket")
)

// shape reports whether p may be a request for here, and nothing but it: a GET
// below the prefix, lines of printable ASCII that each end with CR LF, names of
// letters, digits and hyphens, an empty line at the end and nowhere else (RFC
// 9112, sections 2 to 5, and less than they allow). What the headers say is
// looked at by [plain].
func shape(p []byte, prefix string) bool {
	if len(p) < len("GET ")+len(prefix) || len(p) >= maxHead || string(p[:4]) != "GET " || string(p[4:4+len(prefix)]) != prefix ||
		bytes.Index(p, headEnd) != len(p)-len(headEnd) || !bytes.Contains(p, streaming) && !bytes.Contains(p, socket) {
		return false
	}
	first := true
	for rest := p[:len(p)-2]; len(rest) > 0; first = false {
		end := bytes.IndexByte(rest, '\n')
		if end < 1 || rest[end-1] != '\r' || !line(rest[:end-1], first) {
			return false
		}
		rest = rest[end+1:]
	}
	return true
}

// line looks at a line without its end.
func line(p []byte, first bool) bool {
	for _, c := range p {
		if c < ' ' || c > '~' {
			return false
		}
	}
	if first {
		return bytes.HasSuffix(p, []byte(" HTTP/1.1"))
	}
	colon := bytes.IndexByte(p, ':')
	if colon < 1 {
		return false
	}
	for _, c := range p[:colon] {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// plain reports whether a request that net/http's parser has read is that of an
// event stream or the opening handshake of a WebSocket, says nothing of bodies,
// and has the one Host that there is to be.
func plain(r *http.Request) bool {
	if r.Host == "" || r.URL.Host != "" || !hostPlain(r.Host) || r.ContentLength != 0 || r.TransferEncoding != nil {
		return false
	}
	for _, name := range [...]string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect", "Host"} {
		if r.Header[name] != nil {
			return false
		}
	}
	if r.Header["Upgrade"] == nil {
		return one(r, "Accept", string(streaming)) && (r.Header["Connection"] == nil || one(r, "Connection", "keep-alive", "close"))
	}
	return one(r, "Upgrade", string(socket)) && one(r, "Connection", "Upgrade", "keep-alive, Upgrade") &&
		one(r, "Sec-Websocket-Version", "13") && len(r.Header["Sec-Websocket-Key"]) == 1
}

// one reports whether a header is there once, and says one of a few things.
func one(r *http.Request, name string, says ...string) bool {
	values := r.Header[name]
	return len(values) == 1 && slices.Contains(says, values[0])
}

// hostPlain is stricter than net/http is with a Host.
func hostPlain(host string) bool {
	for i := range len(host) {
		c := host[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || bytes.IndexByte([]byte("-._:[]"), c) >= 0) {
			return false
		}
	}
	return true
}
