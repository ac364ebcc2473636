package embedded

import (
	"sort"

	"crier/internal/engine"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
)

// What a page holds unless the query says otherwise.
const (
	defaultLimit    = 1000
	defaultMaxBytes = 1 << 20
)

// page gathers the messages of a page. Their data lies in a few chunks that
// belong to the page.
type page struct {
	messages []message.Message
	room     int // messages that may yet come
	bytes    int // bytes of data that may yet come; the last message may take more
	now      int64
	strings  *interner
	epochs   []record.EpochStart
	chunk    []byte
	grow     int // size of the next chunk
}

func newPage(q engine.Query, now int64, strings *interner, epochs []record.EpochStart) *page {
	p := &page{room: q.Limit, bytes: q.MaxBytes, now: now, strings: strings, epochs: epochs, grow: 4 << 10}
	if p.room <= 0 {
		p.room = defaultLimit
	}
	if p.bytes <= 0 {
		p.bytes = defaultMaxBytes
	}
	return p
}

func (p *page) full() bool { return p.room <= 0 || p.bytes <= 0 }

// expect makes room for so many messages, or as many as may come.
func (p *page) expect(n int) {
	if n = min(n, p.room, 4096); p.messages == nil && n > 0 {
		p.messages = make([]message.Message, 0, n)
	}
}

// add takes a message in, unless its own time to live has ended.
func (p *page) add(seq uint64, m *record.Message) {
	if m.Expired(p.now) {
		return
	}
	p.room--
	p.bytes -= len(m.Data)
	out := message.Message{
		ID:     message.ID{Epoch: p.epoch(seq), Seq: seq},
		Topic:  p.strings.string(m.Topic),
		Data:   p.copy(m.Data),
		Binary: m.Binary,
		Time:   micros(m.Time),
		Type:   p.strings.string(m.Type),
		App:    p.strings.string(m.App),
	}
	if m.Code != 0 {
		out.ContentType = record.KnownContentType(m.Code)
	} else {
		out.ContentType = p.strings.string(m.ContentType)
	}
	if m.TTL > 0 {
		out.Expires = micros(m.Time + m.TTL)
	}
	p.messages = append(p.messages, out)
}

// epoch gives the epoch of a sequence number.
func (p *page) epoch(seq uint64) message.Epoch {
	i := len(p.epochs) - 1
	if i >= 0 && p.epochs[i].First > seq {
		i = sort.Search(len(p.epochs), func(i int) bool { return p.epochs[i].First > seq }) - 1
	}
	if i < 0 {
		return message.Epoch{} // its epoch was forgotten: there were more than engine.MaxEpochs
	}
	return p.epochs[i].Epoch
}

// maxChunk bounds the chunks, and so what one message that somebody keeps
// keeps with it.
const maxChunk = 64 << 10

func (p *page) copy(data []byte) []byte {
	if cap(p.chunk)-len(p.chunk) < len(data) {
		if len(data) >= maxChunk/4 {
			return append([]byte(nil), data...)
		}
		p.chunk = make([]byte, 0, max(p.grow, len(data)))
		p.grow = min(2*p.grow, maxChunk)
	}
	begin := len(p.chunk)
	p.chunk = append(p.chunk, data...)
	return p.chunk[begin:len(p.chunk):len(p.chunk)]
}
