package transporttest

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// EventSource reads text/event-stream by the steps of the WHATWG HTML
// standard, section 9.2.6, as a user agent does, and shows what it saw of
// each block.
type EventSource struct {
	r       *bufio.Reader
	begun   bool
	afterCR bool

	data      strings.Builder // the data buffer
	eventType string          // the event type buffer
	idBuffer  string          // the last event id buffer
	block     Block
	seen      bool // the block has a line
}

// Block is what stood between two blank lines.
type Block struct {
	// Dispatched says that an event came of it, with Event as its type
	// ("message" if it has no name) and Data.
	Dispatched bool
	Event      string
	Data       string
	// ID is the last event id string after the block, and HasID says that
	// the block had an id field that counted.
	ID    string
	HasID bool

	Comments []string
	Retry    string // the digits of a retry field
}

// NewEventSource reads from r.
func NewEventSource(r io.Reader) *EventSource { return &EventSource{r: bufio.NewReader(r)} }

// Next returns the next block. At the end of the stream, with which an
// unfinished block is thrown away, it returns [io.EOF].
func (s *EventSource) Next() (Block, error) {
	for {
		line, err := s.line()
		if err != nil {
			return Block{}, err
		}
		if line != "" {
			s.seen = true
			s.field(line)
			continue
		}
		if !s.seen {
			continue
		}
		return s.dispatch(), nil
	}
}

// line reads up to a CRLF, LF or CR. An LF after a CR is only waited for with
// the next line.
func (s *EventSource) line() (string, error) {
	var line []byte
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return "", err
		}
		if s.afterCR {
			s.afterCR = false
			if c == '\n' {
				continue
			}
		}
		if c == '\r' || c == '\n' {
			s.afterCR = c == '\r'
			break
		}
		line = append(line, c)
	}
	if !s.begun {
		s.begun = true
		if len(line) >= 3 && line[0] == 0xEF && line[1] == 0xBB && line[2] == 0xBF {
			line = line[3:]
		}
	}
	return decode(line), nil
}

// decode is the UTF-8 decode algorithm, as far as whole characters go.
func decode(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string([]rune(string(b)))
}

func (s *EventSource) field(line string) {
	if comment, ok := strings.CutPrefix(line, ":"); ok {
		s.block.Comments = append(s.block.Comments, comment)
		return
	}
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "event":
		s.eventType = value
	case "data":
		s.data.WriteString(value)
		s.data.WriteByte('\n')
	case "id":
		if !strings.ContainsRune(value, 0) {
			s.idBuffer = value
			s.block.HasID = true
		}
	case "retry":
		if strings.Trim(value, "0123456789") == "" && value != "" {
			s.block.Retry = value
		}
	}
}

func (s *EventSource) dispatch() Block {
	b := s.block
	b.ID = s.idBuffer
	if data := s.data.String(); data != "" {
		b.Dispatched = true
		b.Data = strings.TrimSuffix(data, "\n")
		b.Event = s.eventType
		if b.Event == "" {
			b.Event = "message"
		}
	}
	s.data.Reset()
	s.eventType, s.block, s.seen = "", Block{}, false
	return b
}

// AllBlocks reads to the end.
func AllBlocks(r io.Reader) ([]Block, error) {
	s := NewEventSource(r)
	var all []Block
	for {
		b, err := s.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, b)
	}
}
