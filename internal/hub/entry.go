package hub

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"

	"crier/internal/message"
)

// maxEncodings bounds how many encodings an entry keeps; one beyond that
// works and is made anew each time.
const maxEncodings = 12

// Encoding turns a message into the bytes of one wire format. What it makes
// depends on nothing but the message, so that it is made once and shared by
// all subscribers.
type Encoding struct {
	slot   int // -1: not kept
	encode func(dst []byte, m *message.Message) []byte
}

type encodingSlots struct {
	mu   sync.Mutex
	used int
}

// NewEncoding gives an encoding a place in every entry. encode appends the
// frame of m to dst and keeps neither.
func (h *Hub) NewEncoding(encode func(dst []byte, m *message.Message) []byte) *Encoding {
	h.slots.mu.Lock()
	defer h.slots.mu.Unlock()
	enc := &Encoding{slot: -1, encode: encode}
	if h.slots.used < maxEncodings {
		enc.slot = h.slots.used
		h.slots.used++
	}
	return enc
}

// Entry is a message on its way to subscribers, shared by all of them.
type Entry struct {
	message.Message
	frames [maxEncodings]atomic.Pointer[[]byte]
	tail   *tail        // that counts the entry's bytes; nil: none
	held   atomic.Int64 // bytes counted there; far below zero once the tail gave the entry up
}

// notHeld marks an entry that its tail gave up.
const notHeld = math.MinInt64 / 2

// entryOverhead is what an entry costs beside data, topic and frames.
const entryOverhead = int64(unsafe.Sizeof(Entry{})) + 16

// frameOverhead is what a frame costs beside its bytes.
const frameOverhead = 24

func (e *Entry) cost() int64 { return entryOverhead + int64(e.Size()) }

// Frame returns the entry's bytes in the encoding, made at the first call.
// Callers don't change them.
func (e *Entry) Frame(enc *Encoding) []byte {
	if enc.slot < 0 {
		return enc.encode(nil, &e.Message)
	}
	if p := e.frames[enc.slot].Load(); p != nil {
		return *p
	}
	frame := enc.encode(make([]byte, 0, len(e.Data)+96), &e.Message)
	if e.frames[enc.slot].CompareAndSwap(nil, &frame) {
		if n := int64(len(frame)) + frameOverhead; e.tail != nil && e.held.Add(n) > 0 {
			e.tail.bytes.Add(n)
		}
		return frame
	}
	return *e.frames[enc.slot].Load()
}
