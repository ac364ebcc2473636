package bench

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// A payload is one line of ASCII: its head, then padding.
//
//	crier PPPPPPPP NNNNNNNNNNNNNNNN TTTTTTTTTTTTTTTT xxxxxx…
//
// P is the sender, N the number of its message, T when it was sent or due, in
// nanoseconds after the run began; all in hex digits of fixed width, so that
// they are written over in place.
const (
	payloadMark = "crier "
	senderAt    = len(payloadMark)
	numberAt    = senderAt + 8 + 1
	sentAt      = numberAt + 16 + 1
	// MinSize is the least size of a message.
	MinSize = sentAt + 16 + 1
	// MaxSize is the largest.
	MaxSize = 1 << 20
)

// newPayload makes the payload of a sender with zeros for number and time.
func newPayload(sender uint32, size int) []byte {
	head := fmt.Sprintf("%s%08x %016x %016x ", payloadMark, sender, 0, 0)
	return []byte(head + strings.Repeat("x", size-len(head)))
}

// stamp writes number and time into a payload.
func stamp(payload []byte, number uint64, sent time.Duration) {
	putHex(payload[numberAt:], number)
	putHex(payload[sentAt:], uint64(sent))
}

func putHex(dst []byte, v uint64) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], v)
	hex.Encode(dst, b[:])
}

// stamped is what a payload's head says.
type stamped struct {
	sender uint32
	number uint64
	sent   time.Duration
}

// readPayload reads a payload's head; ok is false for other data.
func readPayload(b []byte) (s stamped, ok bool) {
	if len(b) < MinSize || string(b[:senderAt]) != payloadMark || b[MinSize-1] != ' ' {
		return stamped{}, false
	}
	sender, ok1 := parseHex(b[senderAt : senderAt+8])
	number, ok2 := parseHex(b[numberAt : numberAt+16])
	sent, ok3 := parseHex(b[sentAt : sentAt+16])
	return stamped{uint32(sender), number, time.Duration(sent)}, ok1 && ok2 && ok3
}

// hexValue has the value of each hex digit, and 0xff for other bytes.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()

func parseHex(b []byte) (v uint64, ok bool) {
	var bad byte
	for _, c := range b {
		d := hexValue[c]
		bad |= d
		v = v<<4 | uint64(d&15)
	}
	return v, bad < 16
}
