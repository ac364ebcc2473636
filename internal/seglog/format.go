package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// The format that doc.go draws, as pure functions on bytes.
const (
	formatVersion = 1
	headerSize    = 80
	headerCopy    = 4096
	recordsStart  = headerCopy + headerSize
	trailerSize   = 64
	spotSize      = 8

	headerMagic  = "crierlog"
	trailerMagic = "crierend"

	flagJoined = 1 << 31
	flagMark   = 1 << 30
	lengthMask = flagMark - 1
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errNoHeader  = errors.New("no valid segment header")
	errNoTrailer = errors.New("no valid segment trailer")
)

// header is what a segment says of itself.
type header struct {
	number     uint64
	first      uint64
	tag        Tag
	created    time.Time
	prevNumber uint64
	prevEnd    int64
	salt       uint32
}

// encode gives everything before the first record: the header twice.
func (h *header) encode() []byte {
	b := make([]byte, recordsStart)
	copy(b, headerMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], h.number)
	binary.LittleEndian.PutUint64(b[24:], h.first)
	copy(b[32:48], h.tag[:])
	binary.LittleEndian.PutUint64(b[48:], uint64(h.created.Unix()))
	binary.LittleEndian.PutUint64(b[56:], h.prevNumber)
	binary.LittleEndian.PutUint64(b[64:], uint64(h.prevEnd))
	binary.LittleEndian.PutUint32(b[72:], h.salt)
	binary.LittleEndian.PutUint32(b[12:], blockSum(0, b[:headerSize]))
	copy(b[headerCopy:], b[:headerSize])
	return b
}

// decodeHeader reads one copy of a header. Errors are errNoHeader, or
// [ErrVersion] for one that is valid and of another version.
func decodeHeader(b []byte) (header, error) {
	if len(b) < headerSize || string(b[:8]) != headerMagic ||
		binary.LittleEndian.Uint32(b[12:]) != blockSum(0, b[:headerSize]) {
		return header{}, errNoHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return header{}, fmt.Errorf("%w: %d, this program knows %d", ErrVersion, v, formatVersion)
	}
	h := header{
		number:     binary.LittleEndian.Uint64(b[16:]),
		first:      binary.LittleEndian.Uint64(b[24:]),
		tag:        Tag(b[32:48]),
		created:    time.Unix(int64(binary.LittleEndian.Uint64(b[48:])), 0).UTC(),
		prevNumber: binary.LittleEndian.Uint64(b[56:]),
		prevEnd:    int64(binary.LittleEndian.Uint64(b[64:])),
		salt:       binary.LittleEndian.Uint32(b[72:]),
	}
	return h, nil
}

// blockSum is the checksum of a header or trailer, without the four bytes
// that hold it.
func blockSum(seed uint32, b []byte) uint32 {
	return crc32.Update(crc32.Update(seed, castagnoli, b[:12]), castagnoli, b[16:])
}

// trailer is what a sealed segment says of its content.
type trailer struct {
	number  uint64
	last    uint64
	dataEnd int64
	spots   uint32
	spotSum uint32
}

// encode appends the trailer to dst.
func (t *trailer) encode(dst []byte, seed uint32) []byte {
	var b [trailerSize]byte
	copy(b[:], trailerMagic)
	binary.LittleEndian.PutUint32(b[8:], formatVersion)
	binary.LittleEndian.PutUint64(b[16:], t.number)
	binary.LittleEndian.PutUint64(b[24:], t.last)
	binary.LittleEndian.PutUint64(b[32:], uint64(t.dataEnd))
	binary.LittleEndian.PutUint32(b[40:], t.spots)
	binary.LittleEndian.PutUint32(b[44:], t.spotSum)
	binary.LittleEndian.PutUint32(b[12:], blockSum(seed, b[:]))
	return append(dst, b[:]...)
}

// decodeTrailer reads the last bytes of a file of the given size.
func decodeTrailer(b []byte, size int64, k *key) (trailer, error) {
	if len(b) != trailerSize || string(b[:8]) != trailerMagic ||
		binary.LittleEndian.Uint32(b[8:]) != formatVersion ||
		binary.LittleEndian.Uint32(b[12:]) != blockSum(k.seed, b) {
		return trailer{}, errNoTrailer
	}
	t := trailer{
		number:  binary.LittleEndian.Uint64(b[16:]),
		last:    binary.LittleEndian.Uint64(b[24:]),
		dataEnd: int64(binary.LittleEndian.Uint64(b[32:])),
		spots:   binary.LittleEndian.Uint32(b[40:]),
		spotSum: binary.LittleEndian.Uint32(b[44:]),
	}
	if t.number != k.number || t.dataEnd < recordsStart ||
		t.dataEnd != size-trailerSize-int64(t.spots)*spotSize {
		return trailer{}, errNoTrailer
	}
	return t, nil
}

// key makes the records of one segment readable: without it nothing in the
// file looks like a record.
type key struct {
	number uint64
	seed   uint32 // of the checksums
	mask   uint64 // of the sequence numbers
}

func (h *header) key() key {
	var b [12]byte
	binary.LittleEndian.PutUint64(b[:], h.number)
	binary.LittleEndian.PutUint32(b[8:], h.salt)
	return key{
		number: h.number,
		seed:   crc32.Checksum(b[:], castagnoli),
		mask:   uint64(h.salt)<<32 | uint64(h.salt),
	}
}

// recordHead is the fixed part of a record.
type recordHead struct {
	sum    uint32
	length int // of the whole record
	joined bool
	mark   bool
	seq    uint64
	back   uint32
}

// seal fills in the head of the record b, whose payload is there already. back
// is how far before the record the synced part of the segment ends.
func (k *key) seal(b []byte, seq uint64, back int64, flags uint32) {
	_ = b[:Overhead]
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b))|flags)
	binary.LittleEndian.PutUint64(b[8:], seq^k.mask)
	binary.LittleEndian.PutUint32(b[16:], uint32(min(back, math.MaxUint32)))
	binary.LittleEndian.PutUint32(b, crc32.Update(k.seed, castagnoli, b[4:]))
}

// head reads the head of a record from its first [Overhead] bytes. Nothing of
// it is to be believed before intact.
func (k *key) head(b []byte) recordHead {
	_ = b[:Overhead]
	n := binary.LittleEndian.Uint32(b[4:])
	return recordHead{
		sum:    binary.LittleEndian.Uint32(b),
		length: int(n & lengthMask),
		joined: n&flagJoined != 0,
		mark:   n&flagMark != 0,
		seq:    binary.LittleEndian.Uint64(b[8:]) ^ k.mask,
		back:   binary.LittleEndian.Uint32(b[16:]),
	}
}

// possible reports whether a record of this length can be.
func (h *recordHead) possible() bool {
	return h.length >= Overhead && h.length <= Overhead+MaxPayload
}

// intact reports whether the bytes of a whole record are what was written.
func (k *key) intact(h *recordHead, b []byte) bool {
	return crc32.Update(k.seed, castagnoli, b[4:h.length]) == h.sum
}

// spot says where in a segment a record begins.
type spot struct {
	delta  uint32 // sequence number minus that of the segment's first record
	offset uint32
}

// spotEvery is about how many bytes of records lie between two spots.
const spotEvery = 8 << 10

// encodeFooter gives what follows the records of a sealed segment.
func encodeFooter(k *key, last uint64, dataEnd int64, spots []spot) []byte {
	b := make([]byte, 0, len(spots)*spotSize+trailerSize)
	for _, s := range spots {
		b = binary.LittleEndian.AppendUint32(b, s.delta)
		b = binary.LittleEndian.AppendUint32(b, s.offset)
	}
	t := trailer{
		number: k.number, last: last, dataEnd: dataEnd,
		spots: uint32(len(spots)), spotSum: crc32.Checksum(b, castagnoli),
	}
	return t.encode(b, k.seed)
}

// decodeSpots reads the spots of a footer; nil if they are damaged.
func decodeSpots(b []byte, t *trailer) []spot {
	if len(b) != int(t.spots)*spotSize || crc32.Checksum(b, castagnoli) != t.spotSum {
		return nil
	}
	spots := make([]spot, t.spots)
	for i := range spots {
		spots[i] = spot{
			delta:  binary.LittleEndian.Uint32(b[i*spotSize:]),
			offset: binary.LittleEndian.Uint32(b[i*spotSize+4:]),
		}
	}
	return spots
}
