package record

import (
	"encoding/binary"

	"crier/internal/message"
)

// reader takes fields off the front of a record; bad stays set once something
// was missing.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) fail() {
	r.bad, r.rest = true, nil
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	c := r.rest[0]
	r.rest = r.rest[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 {
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) text() []byte { return r.bytes(r.uvarint()) }

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendEpoch(dst []byte, e message.Epoch) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, e.Began)
	return binary.LittleEndian.AppendUint16(dst, e.Rand)
}

func parseEpoch(p []byte) message.Epoch {
	return message.Epoch{Began: binary.LittleEndian.Uint32(p), Rand: binary.LittleEndian.Uint16(p[4:])}
}

func appendSeq(dst []byte, seq uint64) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(seq))
	return binary.LittleEndian.AppendUint16(dst, uint16(seq>>32))
}

func parseSeq(p []byte) uint64 {
	return uint64(binary.LittleEndian.Uint32(p)) | uint64(binary.LittleEndian.Uint16(p[4:]))<<32
}
