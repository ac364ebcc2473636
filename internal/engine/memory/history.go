package memory

import (
	"bytes"
	"strings"
	"time"

	"crier/internal/message"
)

// chunkLen is how many records a chunk has (16 KiB).
const chunkLen = 256

// record is a stored message without what its place says already. Times are
// Unix microseconds.
type record struct {
	topic   *topicState // nil: the message is gone
	data    []byte
	meta    *meta
	at      int64
	expires int64 // 0: never
	epoch   message.Epoch
}

// meta is what messages of one topic mostly have in common; they share it.
type meta struct {
	contentType string
	typ         string
	app         string
	binary      bool
}

func metaOf(d *message.Draft) meta {
	return meta{contentType: d.ContentType, typ: d.Type, app: d.App, binary: d.Binary}
}

// clone makes the strings independent of the request that they came with.
func (m meta) clone() *meta {
	return &meta{
		contentType: strings.Clone(m.contentType), typ: strings.Clone(m.typ),
		app: strings.Clone(m.app), binary: m.binary,
	}
}

// lean returns data, copied if it would keep a larger buffer alive: one with
// much room behind it, or one that it shares with the rest of its block.
func lean(data []byte, shared bool) []byte {
	if shared || cap(data)-len(data) > len(data)/4+64 {
		return bytes.Clone(data)
	}
	return data
}

func (r *record) size() int64 { return int64(len(r.data) + len(r.topic.name)) }

// message builds the message that the record with number seq stands for.
func (r *record) message(seq uint64) message.Message {
	m := message.Message{
		ID:    message.ID{Epoch: r.epoch, Seq: seq},
		Topic: r.topic.name, Data: r.data, ContentType: r.meta.contentType, Binary: r.meta.binary,
		Time: time.UnixMicro(r.at).UTC(), Type: r.meta.typ, App: r.meta.app,
	}
	if r.expires != 0 {
		m.Expires = time.UnixMicro(r.expires).UTC()
	}
	return m
}

// chunk is chunkLen records in a row; the last one of a history may have
// fewer. A full one whose messages are all gone has given its records back.
type chunk struct {
	recs []record
	left int // records that are not cleared
}

// history has the records from one sequence number to the head without holes.
// Not safe for concurrent use.
type history struct {
	first  uint64 // sequence number of the first record of the first chunk
	head   uint64 // of the newest record; first-1 if there is none
	chunks []chunk
}

// push adds the record of head+1.
func (h *history) push(r record) {
	if n := len(h.chunks); n == 0 || len(h.chunks[n-1].recs) == chunkLen || h.chunks[n-1].freed() {
		var c chunk
		if n > 0 { // no small log: the next chunk will be filled too
			c.recs = make([]record, 0, chunkLen)
		}
		h.chunks = append(h.chunks, c)
	}
	c := &h.chunks[len(h.chunks)-1]
	c.recs = append(c.recs, r)
	c.left++
	h.head++
}

func (c *chunk) freed() bool { return c.recs == nil && c.left < 0 }

// at returns the record of seq, or nil if its message is gone or never was.
func (h *history) at(seq uint64) *record {
	if seq < h.first || seq > h.head {
		return nil
	}
	i := seq - h.first
	c := &h.chunks[i/chunkLen]
	if c.freed() {
		return nil
	}
	r := &c.recs[i%chunkLen]
	if r.topic == nil || r.topic.forgotten {
		return nil
	}
	return r
}

// raw is at, but finds the records of forgotten topics too.
func (h *history) raw(seq uint64) *record {
	if seq < h.first || seq > h.head {
		return nil
	}
	i := seq - h.first
	c := &h.chunks[i/chunkLen]
	if c.freed() || c.recs[i%chunkLen].topic == nil {
		return nil
	}
	return &c.recs[i%chunkLen]
}

// clear lets go of the record of seq.
func (h *history) clear(seq uint64) {
	if h.raw(seq) == nil {
		return
	}
	i := seq - h.first
	c := &h.chunks[i/chunkLen]
	c.recs[i%chunkLen] = record{}
	c.left--
	if c.left == 0 && len(c.recs) == chunkLen {
		*c = chunk{left: -1}
	}
}

// cut gives back the chunks that lie wholly at or below seq.
func (h *history) cut(seq uint64) {
	for len(h.chunks) > 0 && h.first+chunkLen-1 <= seq {
		h.chunks[0] = chunk{}
		h.chunks = h.chunks[1:]
		h.first += chunkLen
	}
}
