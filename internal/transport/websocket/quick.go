package websocket

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"crier/internal/engine"
)

// quickPublish reads the publish requests that clients write, in one pass and
// without reflection. ok is false for whatever it does not know, be it right
// or wrong: [parseRequest] has the last word then. What it does read means
// the same to both.
func quickPublish(data []byte) (ref string, c callPublish, ok bool) {
	if !utf8.Valid(data) {
		return "", c, false
	}
	s := scanner{data}
	p := &c.publication
	var one published
	var list []published
	ok = s.object(func(name []byte) bool {
		switch string(name) {
		case "type":
			kind, ok := s.plain()
			return ok && string(kind) == "publish"
		case "ref":
			return s.fill(&ref)
		case "topic":
			return s.fill(&p.Topic)
		case "idempotencyKey":
			return s.fill(&p.IdempotencyKey)
		case "message":
			return one.Data == nil && s.message(&one)
		case "messages":
			if list != nil || !s.take('[') {
				return false
			}
			for more := true; more; more = s.take(',') {
				list = append(list, published{})
				if len(list) > engine.MaxBlock || !s.message(&list[len(list)-1]) {
					return false
				}
			}
			return s.take(']')
		}
		return false
	})
	if s.space(); !ok || len(s.rest) > 0 || ref == "" || len(ref) > maxRef || p.Topic == "" || (one.Data == nil) == (list == nil) {
		return "", c, false
	}
	if p.Batch = list != nil; !p.Batch {
		list = []published{one}
	}
	p.Messages = make([]Message, len(list))
	for i := range list {
		m, fault := list[i].message()
		if fault != nil {
			return "", c, false
		}
		p.Messages[i] = m
	}
	return ref, c, true
}

// scanner reads JSON as it is usually written.
type scanner struct{ rest []byte }

func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\t' || s.rest[0] == '\r') {
		s.rest = s.rest[1:]
	}
}

// take takes a byte, if it is what comes next.
func (s *scanner) take(b byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != b {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// object reads an object; member reads the value of each member. Members with
// the same name are given up.
func (s *scanner) object(member func(name []byte) bool) bool {
	if !s.take('{') {
		return false
	}
	var seen [8][]byte // more than there are names
	for n := 0; n < len(seen); n++ {
		name, ok := s.plain()
		if !ok || !s.take(':') {
			return false
		}
		for _, before := range seen[:n] {
			if bytes.Equal(before, name) {
				return false
			}
		}
		seen[n] = name
		if !member(name) {
			return false
		}
		if !s.take(',') {
			return s.take('}')
		}
	}
	return false
}

// message reads a message. Its data are a copy, which outlives the frame.
func (s *scanner) message(m *published) bool {
	ok := s.object(func(name []byte) bool {
		switch string(name) {
		case "data":
			data := s.data()
			m.Data = bytes.Clone(data)
			return data != nil
		case "encoding":
			return s.fill(&m.Encoding)
		case "contentType":
			return s.fill(&m.ContentType)
		case "type":
			return s.fill(&m.Type)
		}
		return false
	})
	return ok && m.Data != nil
}

// str gives a string with its quotes, and whether there are escapes in it,
// which are not looked at.
func (s *scanner) str() (quoted []byte, escapes, ok bool) {
	if s.space(); len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false, false
	}
	for i := 1; i < len(s.rest); i++ {
		switch b := s.rest[i]; {
		case b == '"':
			quoted, s.rest = s.rest[:i+1], s.rest[i+1:]
			return quoted, escapes, true
		case b == '\\':
			escapes = true
			i++
		case b < ' ':
			return nil, false, false
		}
	}
	return nil, false, false
}

// plain reads a string without escapes.
func (s *scanner) plain() ([]byte, bool) {
	quoted, escapes, ok := s.str()
	if !ok || escapes {
		return nil, false
	}
	return quoted[1 : len(quoted)-1], true
}

func (s *scanner) fill(field *string) bool {
	text, ok := s.plain()
	*field = string(text)
	return ok
}

// data reads a string, an object or a list; nil: it is none.
func (s *scanner) data() []byte {
	if s.space(); len(s.rest) == 0 {
		return nil
	}
	switch s.rest[0] {
	case '"':
		if quoted, escapes, ok := s.str(); ok && (!escapes || json.Valid(quoted)) {
			return quoted
		}
	case '{', '[':
		if value := s.nested(); json.Valid(value) {
			return value
		}
	}
	return nil
}

// nested reads to the bracket that closes the one that comes next.
func (s *scanner) nested() []byte {
	whole := s.rest
	depth := 0
	for len(s.rest) > 0 {
		switch s.rest[0] {
		case '"':
			if _, _, ok := s.str(); !ok {
				return nil
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if s.rest = s.rest[1:]; depth == 0 {
			return whole[:len(whole)-len(s.rest)]
		}
	}
	return nil
}
