package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// body is an answer's body, out of its chunks (RFC 9112, section 7.1) if it is
// in chunks. Unlike a reader for any use it hands out what is buffered without
// copying.
type body struct {
	in      *bufio.Reader
	chunked bool
	left    int64 // of the chunk, or of the whole; -1: until the connection ends
	begun   bool  // a chunk was read, so that a line's end is due before the next
	done    bool
}

func newBody(in *bufio.Reader, h answerHead) *body {
	b := &body{in: in, chunked: h.chunked, left: h.length}
	if h.chunked {
		b.left = 0
	}
	return b
}

// next returns the bytes that are there, at least one; they are valid until
// the next call. It waits for more only if there are none. The end is io.EOF,
// a body that is cut off io.ErrUnexpectedEOF.
func (b *body) next() ([]byte, error) { return b.upTo(math.MaxInt) }

func (b *body) upTo(limit int) ([]byte, error) {
	if b.done {
		return nil, io.EOF
	}
	if b.left == 0 {
		if !b.chunked {
			b.done = true
			return nil, io.EOF
		}
		if err := b.chunk(); err != nil {
			return nil, err
		}
	}
	if b.in.Buffered() == 0 {
		if _, err := b.in.Peek(1); err != nil {
			if errors.Is(err, io.EOF) && b.left > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	n := min(b.in.Buffered(), limit)
	if b.left > 0 {
		n = int(min(int64(n), b.left))
		b.left -= int64(n)
	}
	piece, err := b.in.Peek(n)
	if err != nil {
		return nil, err
	}
	_, err = b.in.Discard(n) // the bytes stay where they are until the next read
	return piece, err
}

// chunk reads the head of the next chunk.
func (b *body) chunk() error {
	if b.begun {
		if line, err := b.line(); err != nil || line != "" {
			return cmpErr(err, fmt.Errorf("%w: a chunk is longer than it says", errAnswer))
		}
	}
	b.begun = true
	line, err := b.line()
	if err != nil {
		return err
	}
	size, _, _ := strings.Cut(line, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
	if err != nil {
		return fmt.Errorf("%w: chunk size %.20q", errAnswer, size)
	}
	if n > 0 {
		b.left = int64(n)
		return nil
	}
	for { // trailers
		if line, err = b.line(); err != nil || line == "" {
			b.done = true
			return cmpErr(err, io.EOF)
		}
	}
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (b *body) line() (string, error) {
	line, err := b.in.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

// Read makes a body an io.Reader, for answers that are read seldom.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	piece, err := b.upTo(len(p))
	return copy(p, piece), err
}
