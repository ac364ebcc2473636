package message

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// IDLen is the length of an id's text form: 24 lower-case hex digits.
const IDLen = 24

// MaxSeq is the largest sequence number that fits the 6 bytes of an id.
const MaxSeq = 1<<48 - 1

// ErrID is wrapped by every error about an id or cursor that cannot be read.
var ErrID = errors.New("not an id: want 24 hex digits, earliest, latest or last:N")

// Epoch names one unbroken life of a domain's log: the Unix second in which
// it began (always above the epoch before it) and two random bytes drawn with
// it, so that the logs of two nodes that began in one second differ.
type Epoch struct {
	Began uint32
	Rand  uint16
}

// IsZero reports whether e is no epoch at all.
func (e Epoch) IsZero() bool { return e == Epoch{} }

// String gives the 12 hex digits with which every id of the epoch begins.
func (e Epoch) String() string { return fmt.Sprintf("%08x%04x", e.Began, e.Rand) }

// ID names one message of a domain, or, as a cursor, the place right after it.
// Sequence 0 is the place before a log's first message. Its text form has the
// 4 bytes of the epoch's second, its 2 random bytes and 6 bytes of sequence
// number, in hex: a valid ObjectID, safe in every header and URL, and sorted
// as bytes it is sorted by time within a domain.
type ID struct {
	Epoch Epoch
	Seq   uint64
}

// Bytes gives the 12 bytes of the id, big-endian.
func (id ID) Bytes() [12]byte {
	var b [12]byte
	binary.BigEndian.PutUint32(b[0:], id.Epoch.Began)
	binary.BigEndian.PutUint16(b[4:], id.Epoch.Rand)
	binary.BigEndian.PutUint16(b[6:], uint16(id.Seq>>32))
	binary.BigEndian.PutUint32(b[8:], uint32(id.Seq))
	return b
}

// FromBytes is the reverse of [ID.Bytes].
func FromBytes(b [12]byte) ID {
	return ID{
		Epoch: Epoch{Began: binary.BigEndian.Uint32(b[0:]), Rand: binary.BigEndian.Uint16(b[4:])},
		Seq:   uint64(binary.BigEndian.Uint16(b[6:]))<<32 | uint64(binary.BigEndian.Uint32(b[8:])),
	}
}

// AppendText appends the 24 hex digits of the id to dst.
func (id ID) AppendText(dst []byte) ([]byte, error) { return id.Append(dst), nil }

// Append appends the 24 hex digits of the id to dst.
func (id ID) Append(dst []byte) []byte {
	b := id.Bytes()
	return hex.AppendEncode(dst, b[:])
}

// String gives the 24 hex digits.
func (id ID) String() string { return string(id.Append(make([]byte, 0, IDLen))) }

// MarshalText makes an ID a JSON string of its 24 hex digits.
func (id ID) MarshalText() ([]byte, error) { return id.Append(nil), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// IsZero reports whether id is the zero value, which names no place in any log.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads the text form of an id. Upper-case digits are taken too.
// Errors wrap [ErrID] and name the offending byte.
func ParseID(s string) (ID, error) {
	if len(s) != IDLen {
		return ID{}, fmt.Errorf("%w: got %d bytes", ErrID, len(s))
	}
	var b [12]byte
	for i := range b {
		hi, lo := fromHex(s[2*i]), fromHex(s[2*i+1])
		if hi > 15 || lo > 15 {
			at := 2 * i
			if hi <= 15 {
				at++
			}
			return ID{}, fmt.Errorf("%w: byte %d is %q", ErrID, at, s[at])
		}
		b[i] = hi<<4 | lo
	}
	return FromBytes(b), nil
}

func fromHex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}
