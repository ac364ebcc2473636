// Package strict reads exactly one shape of request out of bytes: a publish
// with a whole body, as a backend sends it thousands of times over one
// connection. It is no HTTP server. Whatever is not of that shape, or could be
// read in two ways, is not looked into any further: net/http reads it then, and
// says what is wrong with it, if anything is. So the parser may be smaller than
// HTTP and never larger: what it takes net/http takes too, and reads the same of
// it (RFC 9112; a fuzz target holds it to that).
//
// The shape:
//
//	POST /t/<plain path> HTTP/1.1
//	Host, Content-Length: once each
//	Authorization, Content-Type, Crier-Type, Crier-TTL, Idempotency-Key: at most once each
//	headers that mean nothing to a publish: any number
//	an empty line, and Content-Length bytes
//
// Lines end with CR LF. A plain path has letters, digits and -._~!$&'()+,;=:@/
// only. There are no other headers; none is continued on another line.
package strict

import (
	"bytes"
)

// Prefix is what the path of a request begins with.
const Prefix = "/t/"

// Bounds of a request. What is beyond them is not of the shape.
const (
	MaxHead    = 8 << 10
	MaxBody    = 48 << 10
	MaxRequest = MaxHead + MaxBody
	maxHeaders = 32
)

// Request is what a publish says. Its slices are parts of what was parsed.
type Request struct {
	Path          []byte // as it came, with [Prefix]
	Host          []byte
	Authorization []byte // nil: there is none; likewise below
	ContentType   []byte
	Type          []byte // Crier-Type
	TTL           []byte // Crier-TTL
	Key           []byte // Idempotency-Key
	Body          []byte
}

// Result is what came of Parse.
type Result int

// The results.
const (
	Whole  Result = iota // a request of the shape
	Part                 // the beginning of one, perhaps
	Shape                // something else
	Header               // a header that is not known, or not that often
	Large                // too large for the shape
)

// String names the result for metrics.
func (r Result) String() string {
	switch r {
	case Whole:
		return "whole"
	case Part:
		return "part"
	case Header:
		return "header"
	case Large:
		return "large"
	}
	return "shape"
}

const (
	method  = "POST "
	version = " HTTP/1.1"
)

// Parse reads a request from the beginning of p. If it is [Whole], it has n
// bytes; what follows is of the next one. r is overwritten, and means nothing
// without that.
func Parse(p []byte, r *Request) (n int, result Result) {
	if !begins(p) {
		return 0, Shape
	}
	end := bytes.Index(p[:min(len(p), MaxHead)], []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) >= MaxHead {
			return 0, Large
		}
		for rest := p; ; {
			i := bytes.IndexByte(rest, '\n')
			if i < 0 {
				return 0, Part
			}
			if i == 0 || rest[i-1] != '\r' {
				return 0, Shape // the end would not be seen
			}
			rest = rest[i+1:]
		}
	}
	head, rest := p[:end+2], p[end+4:]
	length, result := r.head(head)
	if result != Whole {
		return 0, result
	}
	if length > len(rest) {
		return 0, Part
	}
	r.Body = rest[:length]
	return end + 4 + length, Whole
}

// begins reports whether p may be the beginning of a request of the shape.
func begins(p []byte) bool {
	const all = method + Prefix
	n := min(len(p), len(all))
	return string(p[:n]) == all[:n]
}

// head reads the lines of a head, each with its end.
func (r *Request) head(p []byte) (length int, result Result) {
	*r = Request{}
	line, p, ok := cutLine(p)
	if !ok || len(line) < len(method)+len(version) || string(line[len(line)-len(version):]) != version {
		return 0, Shape
	}
	r.Path = line[len(method) : len(line)-len(version)]
	if !plainPath(r.Path) {
		return 0, Shape
	}
	var digits []byte
	for i := 0; len(p) > 0; i++ {
		if i == maxHeaders {
			return 0, Large
		}
		if line, p, ok = cutLine(p); !ok {
			return 0, Shape
		}
		if result := r.field(line, &digits); result != Whole {
			return 0, result
		}
	}
	if r.Host == nil || digits == nil {
		return 0, Shape
	}
	return parseLength(digits)
}

// cutLine takes a line off. A line that ends with anything but CR LF is none.
func cutLine(p []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(p, '\n')
	if i < 1 || p[i-1] != '\r' {
		return nil, nil, false
	}
	return p[:i-1], p[i+1:], true
}

// field reads a line with a header.
func (r *Request) field(line []byte, length *[]byte) Result {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return Shape
	}
	name, value := line[:colon], trim(line[colon+1:])
	for _, c := range value {
		if c < 0x20 || c >= 0x7f {
			return Shape // net/http takes bytes above ASCII; it may say what they are
		}
	}
	var to *[]byte
	switch known(name) {
	case hostHeader:
		to = &r.Host
	case lengthHeader:
		to = length
	case authorizationHeader:
		to = &r.Authorization
	case contentTypeHeader:
		to = &r.ContentType
	case typeHeader:
		to = &r.Type
	case ttlHeader:
		to = &r.TTL
	case keyHeader:
		to = &r.Key
	case connectionHeader:
		if !bytes.EqualFold(value, []byte("keep-alive")) {
			return Header
		}
		return Whole
	case idleHeader:
		return Whole
	default:
		return Header
	}
	if *to != nil || len(value) == 0 {
		return Header
	}
	*to = value
	return Whole
}

func trim(p []byte) []byte {
	for len(p) > 0 && (p[0] == ' ' || p[0] == '\t') {
		p = p[1:]
	}
	for len(p) > 0 && (p[len(p)-1] == ' ' || p[len(p)-1] == '\t') {
		p = p[:len(p)-1]
	}
	return p
}

// parseLength reads a Content-Length: digits only, and no more than a body may
// have.
func parseLength(p []byte) (int, Result) {
	n := 0
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, Shape
		}
		if n = 10*n + int(c-'0'); n > MaxBody {
			return 0, Large
		}
	}
	return n, Whole
}

// plainPath reports whether a path means what its bytes are: nothing in it is
// escaped, and nothing begins a query.
func plainPath(p []byte) bool {
	if len(p) < len(Prefix) || string(p[:len(Prefix)]) != Prefix {
		return false
	}
	for _, c := range p {
		if !plain[c] {
			return false
		}
	}
	return true
}

var plain = func() (t [256]bool) {
	for c := range t {
		b := byte(c)
		t[c] = 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || bytes.IndexByte([]byte("-._~!$&'()+,;=:@/"), b) >= 0
	}
	return t
}()
