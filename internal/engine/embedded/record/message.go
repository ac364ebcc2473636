// Package record encodes what the embedded engine writes into the segmented
// logs below it. To package seglog a record is a sequence number and opaque
// bytes; those bytes are drawn here. Integers are little-endian, "uvarint" is
// the one of encoding/binary, a text is its length as uvarint and its bytes.
//
// A message, in the log of its domain (its sequence number is the record's,
// its epoch is in the segment's tag):
//
//	version and block 1 │ flags 1 │ time µs 8 │
//	[ key hash 16 │ body fingerprint 16 │ messages of the block uvarint ] │
//	topic text │ [ content type text ] │ [ type text ] │ [ app text ] │
//	[ time to live µs uvarint ] │ data: the rest
//
// Version and block: the upper four bits are the version, 1; bit 0: an
// idempotency key follows the time (on the first message of its block); bit 1:
// the block was acknowledged as fsync, else as async. The messages of a block
// are one group of seglog: after a crash all are there or none.
//
// Flags: bit 0 binary, bits 1 to 4 the code of the content type (0: its text
// is there), bit 5 type, bit 6 app, bit 7 time to live.
//
// Changes of what a log knows beside its messages are in the control log, see
// [Control].
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// ErrMalformed is wrapped by every error about a record whose checksum is good
// and that yet cannot be read: another version wrote it, or a fault of ours.
var ErrMalformed = errors.New("malformed record")

const (
	version    = 1 << 4
	blockKey   = 1 << 0
	blockFsync = 1 << 1
)

const (
	flagBinary = 1 << 0
	codeShift  = 1
	codeMask   = 1<<4 - 1
	flagType   = 1 << 5
	flagApp    = 1 << 6
	flagTTL    = 1 << 7
)

// contentTypes have codes from 1 on; never change one's place. A longer table
// is another version.
var contentTypes = [...]string{
	1: message.DefaultContentType,
	2: "application/json",
	3: "application/octet-stream",
	4: "text/plain",
	5: "text/html; charset=utf-8",
	6: "application/json; charset=utf-8",
	7: "application/xml",
	8: "image/png",
	9: "image/jpeg",
}

// contentCode gives the code of a content type, 0 if it has none.
func contentCode(s string) byte {
	for code := 1; code < len(contentTypes); code++ {
		if contentTypes[code] == s {
			return byte(code)
		}
	}
	return 0
}

// KnownContentType gives the content type of a code that is not 0.
func KnownContentType(code byte) string { return contentTypes[code] }

// Block is what the messages of one block have in common.
type Block struct {
	Time  int64      // µs since 1970
	Fsync bool       // acknowledged as fsync, else as async
	Key   engine.Key // zero: none
	N     int        // messages; kept if there is a key
}

// MaxSize bounds the payload of a draft's record.
func MaxSize(d *message.Draft) int {
	const fixed = 2 + 8 + 32 + 6*binary.MaxVarintLen64
	return fixed + len(d.Topic) + len(d.ContentType) + len(d.Type) + len(d.App) + len(d.Data)
}

// Append appends the payload of the block's i-th message to dst.
func Append(dst []byte, b *Block, i int, d *message.Draft) []byte {
	withKey := i == 0 && !b.Key.IsZero()
	first := byte(version)
	if withKey {
		first |= blockKey
	}
	if b.Fsync {
		first |= blockFsync
	}
	code := contentCode(d.ContentType)
	flags := code << codeShift
	if d.Binary {
		flags |= flagBinary
	}
	if d.Type != "" {
		flags |= flagType
	}
	if d.App != "" {
		flags |= flagApp
	}
	if d.TTL > 0 {
		flags |= flagTTL
	}
	dst = append(dst, first, flags)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(b.Time))
	if withKey {
		dst = append(dst, b.Key.Hash[:]...)
		dst = append(dst, b.Key.Body[:]...)
		dst = binary.AppendUvarint(dst, uint64(b.N))
	}
	dst = appendText(dst, d.Topic)
	if code == 0 {
		dst = appendText(dst, d.ContentType)
	}
	if d.Type != "" {
		dst = appendText(dst, d.Type)
	}
	if d.App != "" {
		dst = appendText(dst, d.App)
	}
	if d.TTL > 0 {
		dst = binary.AppendUvarint(dst, uint64(d.TTL/time.Microsecond))
	}
	return append(dst, d.Data...)
}

// Message is a message as it lies in a record: the slices are the record's.
type Message struct {
	Block
	Topic       []byte
	ContentType []byte // if Code is 0
	Type, App   []byte
	Data        []byte
	TTL         int64 // µs; 0: for ever
	Code        byte  // of the content type
	Binary      bool
}

// Size is what retention by bytes counts: data plus topic.
func (m *Message) Size() int { return len(m.Data) + len(m.Topic) }

// Expired reports whether the message's own time to live has ended.
func (m *Message) Expired(nowMicros int64) bool { return m.TTL > 0 && nowMicros >= m.Time+m.TTL }

// Parse reads the payload of a message into m, whose slices are the payload's
// then. Errors wrap [ErrMalformed].
func Parse(p []byte, m *Message) error {
	if len(p) < 10 || p[0]&^(blockKey|blockFsync) != version {
		return fmt.Errorf("%w: not a message of version 1", ErrMalformed)
	}
	flags := p[1]
	r := reader{rest: p[10:]}
	*m = Message{
		Block:  Block{Time: int64(binary.LittleEndian.Uint64(p[2:])), Fsync: p[0]&blockFsync != 0},
		Binary: flags&flagBinary != 0,
		Code:   flags >> codeShift & codeMask,
	}
	if p[0]&blockKey != 0 {
		copy(m.Key.Hash[:], r.bytes(16))
		copy(m.Key.Body[:], r.bytes(16))
		m.N = int(r.uvarint())
	}
	m.Topic = r.text()
	if m.Code == 0 {
		m.ContentType = r.text()
	}
	if flags&flagType != 0 {
		m.Type = r.text()
	}
	if flags&flagApp != 0 {
		m.App = r.text()
	}
	if flags&flagTTL != 0 {
		m.TTL = int64(r.uvarint())
	}
	m.Data = r.rest
	if r.bad || int(m.Code) >= len(contentTypes) || m.TTL < 0 || m.N < 0 || m.N > engine.MaxBlock {
		return fmt.Errorf("%w: message of %d bytes", ErrMalformed, len(p))
	}
	return nil
}

// Durability is what the block was acknowledged as.
func (b *Block) Durability() engine.Durability {
	if b.Fsync {
		return engine.Fsync
	}
	return engine.Async
}
