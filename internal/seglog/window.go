package seglog

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

const (
	windowSize  = 256 << 10 // and each further one in which a file is read
	windowStart = 16 << 10  // the first piece
	sectorSize  = 4096
)

// buffers are the two sizes of memory that windows use: most readers come for
// a few records, some for everything. The zero value is ready.
type buffers struct{ small, large sync.Pool }

// get gives at least n bytes.
func (p *buffers) get(n int) []byte {
	switch {
	case n <= windowStart:
		if b, ok := p.small.Get().(*[windowStart]byte); ok {
			return b[:]
		}
		return make([]byte, windowStart)
	case n <= windowSize:
		if b, ok := p.large.Get().(*[windowSize]byte); ok {
			return b[:]
		}
		return make([]byte, windowSize)
	}
	return make([]byte, n)
}

func (p *buffers) put(b []byte) {
	switch len(b) {
	case windowStart:
		p.small.Put((*[windowStart]byte)(b))
	case windowSize:
		p.large.Put((*[windowSize]byte)(b))
	}
}

// window is a part of a file in memory that moves forward with its reader.
type window struct {
	file  io.ReaderAt
	pool  *buffers
	buf   []byte
	off   int64 // where in the file buf[0] is
	n     int   // how many bytes of buf are filled
	limit int64 // nothing is read beyond
	piece int   // size of the next read
	// lenient reads sectors that the disk cannot read as zeros, so that they
	// are found damaged and passed by like others.
	lenient bool
}

// open puts the window on a file; close gives its memory back.
func (w *window) open(file io.ReaderAt, limit int64) {
	w.close()
	w.file, w.limit, w.piece = file, limit, windowStart
}

func (w *window) close() {
	w.pool.put(w.buf)
	w.buf, w.off, w.n = nil, 0, 0
}

// at gives n bytes of the file at off, or fewer where the limit is nearer.
// They are valid until the next call.
func (w *window) at(off int64, n int) ([]byte, error) {
	if i := off - w.off; i >= 0 && i+int64(n) <= int64(w.n) {
		return w.buf[i : i+int64(n)], nil
	}
	return w.fill(off, n)
}

func (w *window) fill(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), max(0, w.limit-off)))
	if i := off - w.off; i >= 0 && i+int64(n) <= int64(w.n) {
		return w.buf[i : i+int64(n)], nil // the limit made it short
	}
	want := int(min(int64(max(n, w.piece)), max(0, w.limit-off)))
	w.piece = windowSize
	if want > len(w.buf) {
		w.pool.put(w.buf)
		w.buf = w.pool.get(want)
	}
	w.off, w.n = off, 0
	for w.n < want {
		got, err := w.file.ReadAt(w.buf[w.n:want], off+int64(w.n))
		w.n += got
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			w.limit = off + int64(w.n)
			return w.buf[:min(n, w.n)], nil
		case w.lenient && errors.Is(err, errnoIO):
			at := off + int64(w.n)
			skip := min(int(sectorSize-at%sectorSize), want-w.n)
			clear(w.buf[w.n : w.n+skip])
			w.n += skip
		default:
			return nil, fmt.Errorf("read at %d: %w", off+int64(w.n), err)
		}
	}
	return w.buf[:n], nil
}
