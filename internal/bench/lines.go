package bench

import (
	"bytes"
)

// keepLine is how many bytes of a line are kept when it comes in pieces: the
// head of a payload and what stands before it.
const keepLine = 1024

// lineScanner finds the lines of a stream that comes in pieces. Of a line
// that lies in several pieces only the first keepLine bytes are kept.
type lineScanner struct {
	part   []byte // of a line whose end has not come
	inside bool   // there is such a line
}

// scan calls fn with each line that ends in the piece, without its LF.
func (s *lineScanner) scan(piece []byte, fn func(line []byte) error) error {
	for {
		i := bytes.IndexByte(piece, '\n')
		if i < 0 {
			break
		}
		line := piece[:i]
		if s.inside {
			s.keep(line)
			line, s.inside = s.part, false
		}
		if err := fn(line); err != nil {
			return err
		}
		piece = piece[i+1:]
	}
	if len(piece) > 0 {
		if !s.inside {
			s.part, s.inside = s.part[:0], true
		}
		s.keep(piece)
	}
	return nil
}

func (s *lineScanner) keep(b []byte) {
	s.part = append(s.part, b[:min(len(b), keepLine-len(s.part))]...)
}
