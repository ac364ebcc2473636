// Package seglog keeps an ordered log of records in segmented, append-only
// files of one directory. A record is a sequence number and opaque bytes; what
// they mean is the caller's business. It knows checksums, recovery, and which
// bytes are known to be on disk.
//
// The invariant: what a successful [Log.Sync] covered is there, in order,
// after any crash of the process or the machine; what was written later is
// there up to some point and not beyond; and nothing is there that was not
// written. Loss is never silent: bytes that were synced and cannot be read any
// more are told as a [DamageError] with the sequence numbers that are gone.
//
// # A directory
//
//	000000000000002a.log      segment number 0x2a
//	000000000000002a.idx      the caller's side file of it, removed with it
//	000000000000002a.damaged  a segment without a readable header, put aside
//
// Numbers grow and are not used twice. Only the last segment is written to.
//
// # A segment, format version 1
//
// All numbers are little-endian.
//
//	0     header, 80 bytes
//	4096  the same header again
//	4176  records, one after the other
//	…     the end of the last segment: zeros (preallocated) or the end of the
//	      file; after a clean Close a mark
//	…     in a sealed segment: the footer, and the end of the file
//
// Header, written and synced before the first record:
//
//	0   8  magic "crierlog"
//	8   4  format version
//	12  4  CRC-32C of bytes 0 to 11 and 16 to 79
//	16  8  segment number
//	24  8  sequence number of its first record
//	32  16 tag, the caller's (the epoch)
//	48  8  Unix time of creation, seconds
//	56  8  number of the segment before; 0: none
//	64  8  where the records of the segment before end: everything before
//	       that was synced, and what lies beyond it is void
//	72  4  salt, random
//	76  4  zero
//
// Record:
//
//	0   4  CRC-32C, seeded with segment number and salt, of bytes 4 to the end
//	4   4  length of the whole record, header too; 0: the end.
//	       bit 31: joined, the next record belongs to the same group
//	       bit 30: a mark, not a record
//	8   8  sequence number XOR (salt, twice)
//	16  4  how many bytes before this record the synced part of the segment
//	       ended when it was written
//	20  …  payload
//
// The seed makes bytes of another segment, or of an attacker's payload that
// looks like a record, invalid here; the salt keeps the search for the next
// valid record after damage cheap. The distance at 16 is the proof by which
// recovery tells a torn tail from corruption: a record that says "everything
// up to X was synced when I was written" makes unreadable bytes before X
// corruption, while unreadable bytes that nothing proves to have been synced
// are the tail that a crash tore, and are cut off with all that follows.
//
// A mark is a record without payload and with the sequence number that would
// come next. Close writes it after the last sync: it proves that everything
// before it was synced, and that the log was closed cleanly. The next write
// takes its place, after it was durably removed.
//
// Footer:
//
//	spots: for about each 8 KiB of records
//	0   4  sequence number minus that of the segment's first record
//	4   4  offset of that record
//	…
//	trailer, the last 64 bytes of the file
//	0   8  magic "crierend"
//	8   4  format version
//	12  4  CRC-32C of bytes 0 to 11 and 16 to 63, seeded as records are
//	16  8  segment number
//	24  8  sequence number of the last record; first-1 if there is none
//	32  8  where the records end and the spots begin
//	40  4  number of spots
//	44  4  CRC-32C of the spots
//	48  16 zero
package seglog
