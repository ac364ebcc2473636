package transport

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"unicode/utf8"

	"crier/internal/message"
)

// AppendEnvelope appends the JSON form of a message that has all of it:
//
//	{"id","topic","time","type","contentType","data"}
//
// "type" is there only if the message has one. "data" is
//   - the data itself, if the content type is JSON (application/json, or one
//     that ends in +json) and the data are one valid JSON text. It is left as
//     it is, except that line breaks, which in valid JSON are only ever white
//     space between tokens, become spaces;
//   - a string, if the message is other text;
//   - a string in base64 (RFC 4648 section 4), followed by
//     "encoding":"base64", if the message is binary.
//
// So an envelope is one line whatever was published, and stands as it is in
// a line of NDJSON, an SSE data field or a WebSocket frame.
func AppendEnvelope(dst []byte, m *message.Message) []byte {
	dst = append(dst, `{"id":"`...)
	dst = m.ID.Append(dst)
	dst = append(dst, `","topic":`...)
	dst = AppendString(dst, m.Topic)
	dst = append(dst, `,"time":"`...)
	dst = message.AppendTime(dst, m.Time)
	dst = append(dst, '"')
	if m.Type != "" {
		dst = append(dst, `,"type":`...)
		dst = AppendString(dst, m.Type)
	}
	dst = append(dst, `,"contentType":`...)
	dst = AppendString(dst, m.ContentType)
	dst = append(dst, `,"data":`...)
	switch {
	case m.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, m.Data)
		dst = append(dst, `","encoding":"base64"`...)
	case IsJSON(m.ContentType) && utf8.Valid(m.Data) && json.Valid(m.Data):
		dst = appendOneLine(dst, m.Data)
	default:
		dst = AppendString(dst, m.Data)
	}
	return append(dst, '}')
}

// AppendGap appends the JSON form of a gap: {"after","resumed","reason"}.
func AppendGap(dst []byte, g *message.Gap) []byte {
	dst = append(dst, `{"after":`...)
	dst = AppendString(dst, g.After)
	dst = append(dst, `,"resumed":"`...)
	dst = g.Resumed.Append(dst)
	dst = append(dst, `","reason":`...)
	dst = AppendString(dst, g.Reason)
	return append(dst, '}')
}

// IsJSON reports whether a content type says that the data are JSON.
func IsJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	const suffix = "+json"
	return strings.EqualFold(media, "application/json") ||
		len(media) > len(suffix) && strings.EqualFold(media[len(media)-len(suffix):], suffix)
}

// appendOneLine appends JSON with its line breaks made spaces.
func appendOneLine(dst, src []byte) []byte {
	for len(src) > 0 {
		i := bytes.IndexAny(src, "\r\n")
		if i < 0 {
			break
		}
		dst = append(dst, src[:i]...)
		dst = append(dst, ' ')
		src = src[i+1:]
	}
	return append(dst, src...)
}

// AppendString appends s as a JSON string (RFC 8259 section 7). Quotes,
// backslashes and control characters are escaped; so are U+2028 and U+2029,
// which break lines for some readers. Each byte that is not part of valid
// UTF-8 becomes U+FFFD.
func AppendString[S ~string | ~[]byte](dst []byte, s S) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0 // what lies between start and i needs no escape
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[start:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, hex[r&15])
			start = i + size
		}
		i += size
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
