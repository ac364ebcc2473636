package seglog

import "encoding/binary"

// RecordsStart is where the records of a segment begin.
const RecordsStart = recordsStart

// WithSalt gives all segments the same salt, so that files can be compared.
func (o Options) WithSalt(salt uint32) Options {
	o.salt = salt
	return o
}

// SetVersion makes the header of a segment say another format version.
func SetVersion(b []byte, version uint32) {
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], blockSum(0, b[:headerSize]))
}
