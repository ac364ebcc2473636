package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// bodyScanner takes an answer's body out of what comes, in pieces of any size:
// out of its chunks (RFC 9112, section 7.1) if it is in chunks.
type bodyScanner struct {
	chunked bool
	at      chunkPart
	left    int64  // of the chunk, or of the whole; -1: until the connection ends
	line    []byte // of a chunk's head or a trailer, as far as it has come
}

// chunkPart is what comes next of a body in chunks.
type chunkPart uint8

const (
	chunkHead chunkPart = iota
	chunkData
	chunkEnd // the line's end after the data
	chunkTrailer
	bodyDone
)

// maxChunkLine bounds a chunk's head and a trailer.
const maxChunkLine = 4096

func newBodyScanner(h answerHead) bodyScanner {
	b := bodyScanner{chunked: h.chunked, left: h.length, at: chunkData}
	switch {
	case h.chunked:
		b.at = chunkHead
	case h.length == 0:
		b.at = bodyDone
	}
	return b
}

func (b *bodyScanner) done() bool { return b.at == bodyDone }

// ended is the error of a connection that ends now: io.EOF if nothing is missing.
func (b *bodyScanner) ended() error {
	if b.done() || !b.chunked && b.left < 0 {
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// scan calls fn with the bytes of the body in a piece, and returns how much of
// the piece is of the body and its chunks.
func (b *bodyScanner) scan(piece []byte, fn func([]byte) error) (used int, err error) {
	for used < len(piece) && !b.done() {
		rest := piece[used:]
		if b.at != chunkData {
			n, err := b.framing(rest)
			if used += n; err != nil {
				return used, err
			}
			continue
		}
		if b.left >= 0 && int64(len(rest)) > b.left {
			rest = rest[:b.left]
		}
		used += len(rest)
		if b.left >= 0 {
			if b.left -= int64(len(rest)); b.left == 0 {
				b.at = bodyDone
				if b.chunked {
					b.at = chunkEnd
				}
			}
		}
		if err := fn(rest); err != nil {
			return used, err
		}
	}
	return used, nil
}

// framing takes a line, or what has come of one, between the data of chunks.
func (b *bodyScanner) framing(piece []byte) (used int, err error) {
	i := bytes.IndexByte(piece, '\n')
	if i < 0 {
		b.line = append(b.line, piece...)
		if len(b.line) > maxChunkLine {
			return len(piece), fmt.Errorf("%w: a line of a chunk of more than %d bytes", errAnswer, maxChunkLine)
		}
		return len(piece), nil
	}
	b.line = append(b.line, piece[:i]...)
	line := strings.TrimRight(string(b.line), "\r")
	b.line = b.line[:0]
	return i + 1, b.framed(line)
}

func (b *bodyScanner) framed(line string) error {
	switch b.at {
	case chunkEnd:
		if line != "" {
			return fmt.Errorf("%w: a chunk is longer than it says", errAnswer)
		}
		b.at = chunkHead
	case chunkHead:
		size, _, _ := strings.Cut(line, ";")
		n, err := strconv.ParseUint(strings.TrimSpace(size), 16, 31)
		if err != nil {
			return fmt.Errorf("%w: chunk size %.20q", errAnswer, size)
		}
		if b.left, b.at = int64(n), chunkData; n == 0 {
			b.at = chunkTrailer
		}
	case chunkTrailer:
		if line == "" {
			b.at = bodyDone
		}
	}
	return nil
}

// readBody reads an answer's body to its end and returns up to limit bytes of
// it; the rest is thrown away.
func readBody(in *bufio.Reader, h answerHead, limit int) ([]byte, error) {
	var kept []byte
	b := newBodyScanner(h)
	for !b.done() {
		if _, err := in.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = b.ended()
			}
			if errors.Is(err, io.EOF) {
				return kept, nil
			}
			return kept, err
		}
		piece, _ := in.Peek(in.Buffered())
		used, err := b.scan(piece, func(p []byte) error {
			kept = append(kept, p[:min(len(p), limit-len(kept))]...)
			return nil
		})
		_, _ = in.Discard(used) // they are buffered
		if err != nil {
			return kept, err
		}
	}
	return kept, nil
}
