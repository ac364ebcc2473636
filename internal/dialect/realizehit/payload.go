package realizehit

import (
	"encoding/base64"
	"encoding/json"
	"unicode/utf16"
	"unicode/utf8"

	"crier/internal/message"
	"crier/internal/transport"
)

// contentType of what the dialect publishes.
const contentType = "application/json"

// appendPayload appends a message's data as JSON text: JSON as it is, other
// text as a string, bytes as a string in base64.
func appendPayload(dst []byte, m *message.Message) []byte {
	switch {
	case m.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, m.Data)
		return append(dst, '"')
	case transport.IsJSON(m.ContentType) && utf8.Valid(m.Data) && json.Valid(m.Data):
		return append(dst, m.Data...)
	}
	return transport.AppendString(dst, m.Data)
}

// inASCII writes JSON text without anything beyond ASCII, which in JSON can
// only be within strings.
func inASCII(text []byte) []byte {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(text)+len(text)/4)
	unit := func(u rune) {
		out = append(out, '\\', 'u', hex[u>>12&15], hex[u>>8&15], hex[u>>4&15], hex[u&15])
	}
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			out = append(out, text[i])
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		i += size
		if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			unit(high)
			unit(low)
		} else {
			unit(r)
		}
	}
	return out
}
