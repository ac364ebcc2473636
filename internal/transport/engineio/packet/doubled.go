package packet

import "unicode/utf8"

// Clients of Engine.IO 1.x, which are of protocol 3 like those of 2.x and 3.x
// and cannot be told from them beforehand, encode text as UTF-8 twice in text
// payloads, and expect to be answered so. In binary payloads and in WebSocket
// frames they encode once, like everybody.

// Undouble takes one encoding off text that looks as if it had two: there is
// something beyond ASCII, none of it beyond U+00FF, and as bytes it is UTF-8
// again. ok is false for other text.
func Undouble(s []byte) (plain []byte, ok bool) {
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRune(s[i:])
		if r > 0xff {
			return nil, false
		}
		ok = ok || r >= utf8.RuneSelf
		plain = append(plain, byte(r))
		i += size
	}
	return plain, ok && utf8.Valid(plain)
}

// Double is the reverse of Undouble.
func Double(s []byte) []byte {
	out := make([]byte, 0, len(s)+len(s)/2)
	for _, c := range s {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}

// ASCII reports whether text has nothing beyond it.
func ASCII(s []byte) bool {
	for _, c := range s {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
