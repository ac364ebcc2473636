package packet

import (
	"bytes"
	"iter"
	"strconv"
	"unicode/utf8"
)

// separator stands between the packets of a payload of protocol 4. Text that
// has one cannot be polled: see [Fits].
const separator = 0x1e

// Bytes of the binary payload of protocol 3.
const (
	kindText   = 0x00
	kindBinary = 0x01
	lengthEnd  = 0xff
	maxDigits  = 10 // of a length
)

// Fits reports whether a packet can be part of a payload.
func Fits(v Version, p Packet) bool {
	return v == V3 || p.Binary || bytes.IndexByte(p.Data, separator) < 0
}

// AppendPayload appends packets, at least one, as the body of a response, and
// says whether it is a binary one: only protocol 3 has those, for clients that
// did not ask for base64. Each packet fits (see [Fits]).
func AppendPayload(dst []byte, v Version, b64 bool, packets []Packet) (_ []byte, binary bool) {
	if v == V4 {
		for i, p := range packets {
			if i > 0 {
				dst = append(dst, separator)
			}
			dst = appendText(dst, v, p)
		}
		return dst, false
	}
	for _, p := range packets {
		binary = binary || p.Binary && !b64
	}
	for _, p := range packets {
		if binary {
			dst = appendBytes3(dst, p)
		} else {
			dst = appendText3(dst, p)
		}
	}
	return dst, binary
}

// appendText3 counts a packet's length as JavaScript does, in UTF-16 units.
func appendText3(dst []byte, p Packet) []byte {
	n := 0
	if p.Binary {
		n = 2 + 4*((len(p.Data)+2)/3)
	} else {
		n = 1 + units(p.Data)
	}
	dst = append(strconv.AppendInt(dst, int64(n), 10), ':')
	return appendText(dst, V3, p)
}

// appendBytes3 counts it in bytes, and writes the number's digits as bytes
// with their value.
func appendBytes3(dst []byte, p Packet) []byte {
	kind, first := byte(kindText), '0'+byte(p.Type)
	if p.Binary {
		kind, first = kindBinary, byte(p.Type)
	}
	dst = append(dst, kind)
	from := len(dst)
	dst = strconv.AppendInt(dst, int64(1+len(p.Data)), 10)
	for i := from; i < len(dst); i++ {
		dst[i] -= '0'
	}
	return append(append(dst, lengthEnd, first), p.Data...)
}

// units counts the UTF-16 units of text.
func units(s []byte) int {
	n := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i++
			n++
			continue
		}
		r, size := utf8.DecodeRune(s[i:])
		i += size
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// Payload reads the packets of a request's body, one after the other: binary
// is for a body of protocol 3 whose type is application/octet-stream. The
// first error ends it and wraps [ErrSyntax]. The packets' data may be part of
// body.
func Payload(v Version, binary bool, body []byte) iter.Seq2[Packet, error] {
	return func(yield func(Packet, error) bool) {
		if len(body) == 0 {
			yield(Packet{}, syntax("the payload is empty"))
			return
		}
		if !binary && !utf8.Valid(body) {
			yield(Packet{}, syntax("the payload is not UTF-8"))
			return
		}
		next := nextText4
		switch {
		case binary:
			next = nextBytes3
		case v == V3:
			next = nextText3
		}
		for rest, more := body, true; more; {
			var p Packet
			var skip bool
			var err error
			p, rest, more, skip, err = next(rest)
			if err != nil {
				yield(Packet{}, err)
				return
			}
			if !skip && !yield(p, nil) {
				return
			}
		}
	}
}

func nextText4(body []byte) (p Packet, rest []byte, more, skip bool, err error) {
	head, rest, more := bytes.Cut(body, []byte{separator})
	p, err = parseText(V4, head)
	return p, rest, more, false, err
}

func nextText3(body []byte) (p Packet, rest []byte, more, skip bool, err error) {
	colon := bytes.IndexByte(body[:min(len(body), maxDigits+1)], ':')
	if colon <= 0 {
		return p, nil, false, false, syntax("no length before a colon")
	}
	n := 0
	for _, c := range body[:colon] {
		if c < '0' || c > '9' {
			return p, nil, false, false, syntax("a length has the byte %q", c)
		}
		n = 10*n + int(c-'0')
	}
	body = body[colon+1:]
	end, ok := cutUnits(body, n)
	if !ok {
		return p, nil, false, false, syntax("the payload is shorter than a length says, or cut within a character")
	}
	rest = body[end:]
	if n == 0 {
		return p, rest, len(rest) > 0, true, nil
	}
	p, err = parseText(V3, body[:end])
	return p, rest, len(rest) > 0, false, err
}

// cutUnits finds the place after n UTF-16 units.
func cutUnits(s []byte, n int) (end int, ok bool) {
	for n > 0 {
		if end >= len(s) {
			return 0, false
		}
		if s[end] < utf8.RuneSelf {
			end++
			n--
			continue
		}
		r, size := utf8.DecodeRune(s[end:])
		end += size
		if n--; r > 0xffff {
			n--
		}
	}
	return end, n == 0
}

func nextBytes3(body []byte) (p Packet, rest []byte, more, skip bool, err error) {
	fail := func(format string, args ...any) (Packet, []byte, bool, bool, error) {
		return Packet{}, nil, false, false, syntax(format, args...)
	}
	kind := body[0]
	if kind > kindBinary {
		return fail("a packet begins with the byte %#x, not 0 or 1", kind)
	}
	end := bytes.IndexByte(body[:min(len(body), maxDigits+2)], lengthEnd)
	if end < 2 {
		return fail("no length before a byte 0xff")
	}
	n := 0
	for _, c := range body[1:end] {
		if c > 9 {
			return fail("a length has the byte %#x", c)
		}
		n = 10*n + int(c)
	}
	body = body[end+1:]
	if n > len(body) {
		return fail("the payload is shorter than a length says")
	}
	data, rest := body[:n], body[n:]
	more = len(rest) > 0
	switch {
	case n == 0:
		return p, rest, more, true, nil
	case kind == kindBinary:
		p, err = ParseFrame(V3, true, data)
	case !utf8.Valid(data):
		return fail("text is not UTF-8")
	default:
		p, err = parseText(V3, data)
	}
	return p, rest, more, false, err
}
