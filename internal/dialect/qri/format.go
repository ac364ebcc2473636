package qri

import (
	"time"

	"crier/internal/dialect/qri/notice"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
	"crier/internal/transport/sse"
)

// tick is what every listener gets when it comes, and every 30 seconds.
const (
	tick      = "Tick"
	tickEvery = 30 * time.Second
)

// After a stop a listener comes back after the least up to the most of these.
const (
	retryLeast = 5 * time.Second
	retryMost  = 15 * time.Second
)

// format is the stream as QRI's clients read it: each event is an id field and
// data fields and nothing else. What is not in the log, which is Tick and the
// notices that are told again, has the id of the listener's place.
type format struct {
	messages *hub.Encoding
	notices  *notice.Board
}

func newFormat(h *hub.Hub, n *notice.Board) *format {
	return &format{messages: h.NewEncoding(appendMessage), notices: n}
}

// appendMessage leaves the type out, and binary data as they are: there is
// nothing in QRI that could say either.
func appendMessage(dst []byte, m *message.Message) []byte {
	dst = sse.AppendID(dst, m.ID)
	dst = sse.AppendData(dst, m.Data)
	return append(dst, '\n')
}

func appendEvent(dst []byte, id message.ID, text string) []byte {
	dst = sse.AppendID(dst, id)
	dst = sse.AppendData(dst, []byte(text))
	return append(dst, '\n')
}

func (f *format) Messages() *hub.Encoding { return f.messages }

func (f *format) Every() time.Duration { return tickEvery }

func (f *format) AppendBegin(dst []byte, at sse.Place) []byte { return f.AppendBeat(dst, at) }

// AppendBeat appends Tick and the notices that are set. While a gap waits to
// be told the id is the one that the listener came with: who is cut off then
// is told of the gap when it comes back.
func (f *format) AppendBeat(dst []byte, at sse.Place) []byte {
	dst = appendEvent(dst, at.ID, tick)
	for _, n := range f.notices.Current() {
		dst = appendEvent(dst, at.ID, n.Text())
	}
	return dst
}

// AppendGap appends an event of a name of its own, which an EventSource passes
// over unless it was asked to listen to it.
func (f *format) AppendGap(dst []byte, g *message.Gap) []byte { return sse.AppendGap(dst, g) }

// AppendBye asks listeners to come back spread. Nothing that a page would see
// as a message is sent.
func (f *format) AppendBye(dst []byte, _ sse.Place, _ error) []byte {
	return append(sse.AppendRetry(dst, transport.Jitter(retryLeast, retryMost)), '\n')
}
