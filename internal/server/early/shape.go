package early

import (
	"bytes"
	"net/http"
)

// maxHead bounds a request; what is longer is net/http's.
const maxHead = 4 << 10

var (
	headEnd   = []byte("\r\n\r\n")
	streaming = []byte("text/event-stream")
)

// shape reports whether p may be a request for here, and nothing but it: a GET
// below the prefix, lines of printable ASCII that each end with CR LF, names of
// letters, digits and hyphens, an empty line at the end and nowhere else (RFC
// 9112, sections 2 to 5, and less than they allow). What the headers say is
// looked at by [plain].
func shape(p []byte, prefix string) bool {
	if len(p) < len("GET ")+len(prefix) || len(p) >= maxHead || string(p[:4]) != "GET " || string(p[4:4+len(prefix)]) != prefix ||
		bytes.Index(p, headEnd) != len(p)-len(headEnd) || !bytes.Contains(p, streaming) {
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

// plain reports whether a request that net/http's parser has read says nothing
// of bodies, other protocols or the connection, and has the one Host that there
// is to be.
func plain(r *http.Request) bool {
	accept := r.Header["Accept"]
	if len(accept) != 1 || accept[0] != string(streaming) || r.Host == "" || r.URL.Host != "" || !hostPlain(r.Host) {
		return false
	}
	for _, name := range [...]string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect", "Upgrade", "Host"} {
		if r.Header[name] != nil {
			return false
		}
	}
	if connection := r.Header["Connection"]; len(connection) > 1 || len(connection) == 1 && connection[0] != "keep-alive" && connection[0] != "close" {
		return false
	}
	return r.ContentLength == 0 && r.TransferEncoding == nil
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
