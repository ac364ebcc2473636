package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// ErrMessageTooLong: a message is longer than [WithMaxMessage] allows.
var ErrMessageTooLong = errors.New("message too long for this client")

// event is one block of an event stream. A block without data has none, but
// its id and retry count.
type event struct {
	name  string
	data  []byte // valid until the next one is read; nil: the block has no data
	id    string // of this block; hasID says whether it has one
	hasID bool
	retry time.Duration // 0: not said
}

// eventReader reads an event stream (WHATWG HTML, section 9.2.6). What a
// block may hold is bounded: its lines together have at most max bytes.
type eventReader struct {
	r          io.Reader
	max        int
	buf        []byte
	start, end int  // the bytes of buf not read yet
	skipLF     bool // the last line ended with CR: an LF that follows belongs to it
	begun      bool // the place where a byte order mark may be is behind
	data       []byte
}

func newEventReader(r io.Reader, max int) *eventReader {
	return &eventReader{r: r, max: max, buf: make([]byte, 4096)}
}

// next returns the next block that says anything. A block that the stream
// ends in is thrown away, as the standard has it; the error is then the
// stream's.
func (e *eventReader) next() (event, error) {
	var ev event
	e.data = e.data[:0]
	size, has := 0, false
	for {
		line, err := e.line()
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			if !has {
				continue
			}
			if ev.data != nil {
				ev.data = e.data[:len(e.data)-1] // the last LF
			}
			return ev, nil
		}
		if size += len(line); size > e.max {
			return event{}, e.tooLong()
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "data":
			e.data = append(append(e.data, value...), '\n')
			ev.data, has = e.data, true
		case "event":
			ev.name, has = text(value), true
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				ev.id, ev.hasID, has = text(value), true, true
			}
		case "retry":
			if d, ok := millis(value); ok {
				ev.retry, has = d, true
			}
		}
	}
}

// text is bytes as the stream's decoder would have them.
func text(b []byte) string { return strings.ToValidUTF8(string(b), string(utf8.RuneError)) }

// millis reads digits only; what is more than a day is a day.
func millis(b []byte) (time.Duration, bool) {
	const day = 24 * time.Hour
	var d time.Duration
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		d = min(day, d*10+time.Duration(c-'0')*time.Millisecond)
	}
	return d, len(b) > 0
}

// line returns the next line without its end, which is LF, CR or CRLF; it is
// valid until the next call.
func (e *eventReader) line() ([]byte, error) {
	scanned := 0 // bytes after start known to have no line's end
	for {
		if e.skipLF && e.start < e.end {
			if e.skipLF = false; e.buf[e.start] == '\n' {
				e.start++
			}
		}
		window := e.buf[e.start:e.end]
		if i := lineEnd(window[scanned:]); i >= 0 {
			line := window[:scanned+i]
			e.skipLF = window[scanned+i] == '\r'
			e.start += scanned + i + 1
			if !e.begun {
				e.begun = true
				line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF"))
			}
			return line, nil
		}
		scanned = len(window)
		if scanned > e.max {
			return nil, e.tooLong()
		}
		if err := e.fill(); err != nil {
			return nil, err
		}
	}
}

// lineEnd finds the first CR or LF, or gives -1.
func lineEnd(b []byte) int {
	lf := bytes.IndexByte(b, '\n')
	if lf >= 0 {
		b = b[:lf]
	}
	if cr := bytes.IndexByte(b, '\r'); cr >= 0 {
		return cr
	}
	return lf
}

// fill reads more bytes behind those that are there.
func (e *eventReader) fill() error {
	if e.start == e.end {
		e.start, e.end = 0, 0
	}
	if e.end == len(e.buf) {
		if e.start > 0 {
			e.end = copy(e.buf, e.buf[e.start:e.end])
			e.start = 0
		} else {
			e.buf = append(e.buf, make([]byte, len(e.buf))...)
		}
	}
	for range 100 {
		n, err := e.r.Read(e.buf[e.end:])
		e.end += n
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

func (e *eventReader) tooLong() error {
	return fmt.Errorf("%w: the limit is %d bytes, see WithMaxMessage", ErrMessageTooLong, e.max)
}
