package frame

import "unicode/utf8"

// utf8Check validates UTF-8 that comes in pieces. It fails with the first
// byte after which no text can be right.
type utf8Check struct {
	rest [utf8.UTFMax]byte // the beginning of a character
	n    uint8
}

// feed reports whether p can go on what came before.
func (c *utf8Check) feed(p []byte) bool {
	for c.n > 0 && len(p) > 0 {
		c.rest[c.n] = p[0]
		c.n++
		p = p[1:]
		if begun := c.rest[:c.n]; utf8.FullRune(begun) { // or one that is wrong already
			if _, size := utf8.DecodeRune(begun); size < len(begun) {
				return false
			}
			c.n = 0
		}
	}
	whole := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if at := len(p) - back; utf8.RuneStart(p[at]) {
			if !utf8.FullRune(p[at:]) {
				whole = at
			}
			break
		}
	}
	c.n += uint8(copy(c.rest[c.n:], p[whole:]))
	return utf8.Valid(p[:whole])
}

// done reports whether the text may end here, and begins another.
func (c *utf8Check) done() bool {
	ok := c.n == 0
	c.n = 0
	return ok
}
