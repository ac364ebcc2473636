package sse

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	"crier/internal/message"
	"crier/internal/transport"
)

// The events that are ours; published types never begin with "crier-".
const (
	eventBinary  = "crier-binary"  // a binary message; the data are its envelope
	eventGap     = "crier-gap"     // a gap; the id is the place of resumption
	eventExpired = "crier-expired" // the credential ended, and so does the stream
	eventRestart = "crier-restart" // the stream ends; come back after the new retry time
)

// appendMessage appends a message as an event: id, event if it has a type,
// and a data field for each line of the data. A binary one, which has no
// lines, goes as its envelope.
func appendMessage(dst []byte, m *message.Message) []byte {
	dst = AppendID(dst, m.ID)
	if m.Binary {
		dst = appendEvent(dst, eventBinary)
		return appendEnvelope(dst, m)
	}
	dst = appendEvent(dst, m.Type)
	dst = AppendData(dst, m.Data)
	return append(dst, '\n')
}

// appendWhole appends a message as an event whose data is the envelope.
func appendWhole(dst []byte, m *message.Message) []byte {
	dst = AppendID(dst, m.ID)
	dst = appendEvent(dst, m.Type)
	return appendEnvelope(dst, m)
}

func appendEnvelope(dst []byte, m *message.Message) []byte {
	dst = append(dst, "data: "...)
	dst = transport.AppendEnvelope(dst, m) // one line
	return append(dst, "\n\n"...)
}

// AppendGap appends a gap: a named event, which only those hear that ask for
// it, with the id of the place of resumption.
func AppendGap(dst []byte, g *message.Gap) []byte {
	dst = AppendID(dst, g.Resumed)
	dst = appendEvent(dst, eventGap)
	dst = append(dst, "data: "...)
	dst = transport.AppendGap(dst, g)
	return append(dst, "\n\n"...)
}

// appendBye appends the event that ends a stream: why in a word for programs,
// and in more for people if there is more to say.
func appendBye(dst []byte, event, reason, detail string) []byte {
	dst = appendEvent(dst, event)
	dst = append(dst, `data: {"reason":`...)
	dst = transport.AppendString(dst, reason)
	if detail != "" {
		dst = append(dst, `,"detail":`...)
		dst = transport.AppendString(dst, detail)
	}
	return append(dst, "}\n\n"...)
}

// AppendID appends an id field.
func AppendID(dst []byte, id message.ID) []byte {
	dst = append(dst, "id: "...)
	dst = id.Append(dst)
	return append(dst, '\n')
}

// lineBreaks are what ends a field, so that none can stand in a name.
var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// appendEvent appends an event field, or nothing for an event without a name.
// Types with control bytes are refused at publish; one that came in all the
// same must not be able to write fields of its own.
func appendEvent(dst []byte, name string) []byte {
	if name == "" {
		return dst
	}
	if strings.ContainsAny(name, "\r\n") {
		name = lineBreaks.Replace(name)
	}
	dst = append(dst, "event: "...)
	dst = append(dst, name...)
	return append(dst, '\n')
}

// AppendData appends a data field for each line; LF, CR and CRLF end lines.
// The space after the colon is the one that the receiver takes away.
func AppendData(dst, data []byte) []byte {
	for {
		i := bytes.IndexAny(data, "\r\n")
		dst = append(dst, "data: "...)
		if i < 0 {
			dst = append(dst, data...)
			return append(dst, '\n')
		}
		dst = append(dst, data[:i]...)
		dst = append(dst, '\n')
		if data[i] == '\r' && i+1 < len(data) && data[i+1] == '\n' {
			i++
		}
		data = data[i+1:]
	}
}

// AppendRetry appends a retry field: when to come back after a cut.
func AppendRetry(dst []byte, after time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, after.Milliseconds(), 10)
	return append(dst, '\n')
}
