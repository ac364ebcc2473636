// Package index finds the messages of a topic in one segment of a log, without
// looking at the others. While a segment grows its index is an [Active], in
// memory; once the segment is sealed it is written beside it ([Active.Build])
// and read from there ([Sealed]), so that it takes no memory any more. [Table]
// is the same kind of file for the marks of topics whose messages are gone.
//
// An index is never the truth: it can be made again from its segment. A file
// that was cut short or changed is noticed wherever it is read, because each
// page has a checksum.
//
// # Index file, format version 1
//
// The file is a row of pages of 4,096 bytes, the last one shorter: up to 4,092
// bytes of content, then their CRC-32C, seeded with the page's number. What
// follows counts in bytes of content; numbers are little-endian.
//
//	0    header, 256 bytes
//	256  names: leaves of the tree of topics, then its inner nodes up to the root
//	…    postings: for each topic, in the order of names, its messages in the
//	     order of the log: 4 sequence number minus the segment's first,
//	     4 offset in the segment, bit 31 set if the message has a time to live
//	…    keys: idempotency keys in the order of the log, 56 each:
//	     16 hash, 16 body, 8 time µs, 8 sequence number, 4 messages, 4 flags (bit 0 fsync)
//
// Header: 8 magic "crieridx", 4 version, 4 kind (1 segment, 2 marks), then
// words of 8 bytes: content bytes of the file, leaves' offset and end, root's
// offset and length, depth, entries, postings' offset, keys' offset, number of
// keys; of a segment: first and last sequence number, end of its records,
// bytes (data plus topic), lowest and highest time in µs. In a table of marks
// these are: the mark of topics that are not in it, the sequence number up to
// which messages are counted in, 0, 0, 1 if the highest mark is a delete's, the
// highest mark.
//
// A node of the tree is a row of entries in byte order of their names: the
// length of the name as uvarint, the name, a value of fixed size. Leaves have
// at least 3,500 bytes but the last, and lie one after the other. Values of a
// segment's leaves: 4 messages, bit 31 set if some have a time to live, 4 last sequence number minus the first, 8
// bytes, 4 number of its first posting. Of a table of marks: 8 sequence
// number, 1 reason. Of inner nodes: 4 offset, 4 length of the node whose first
// name it is.
package index

import (
	"errors"
	"fmt"

	"crier/internal/engine"
)

// ErrBad is wrapped by every error about a file that is no index, or a
// damaged one. Make it again from the segment.
var ErrBad = errors.New("index file is bad")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBad, fmt.Sprintf(format, args...))
}

// Posting is a message's place in the segment.
type Posting struct {
	Seq    uint64
	Offset int64
	TTL    bool // it has a time to live: whether it is still there only the message tells
}

// Topic is what an index knows of a topic.
type Topic struct {
	Name  string
	Count int    // messages
	Bytes int64  // of their data and topic
	Last  uint64 // the last one's sequence number

	TTL bool // some have a time to live

	at uint32 // Sealed: number of the first posting. Active: place in stats
}

// Key is an idempotency key and what its block became.
type Key struct {
	Key   engine.Key
	Time  int64 // µs
	First uint64
	N     int
	Fsync bool
}

// Summary is what an index knows of its segment.
type Summary struct {
	First, Last      uint64 // sequence numbers; Last is First-1 if it is empty
	End              int64  // where the segment's records end
	Bytes            int64  // data plus topic
	MinTime, MaxTime int64  // µs; 0 if it is empty
	Topics           int
	Keys             int
}

// Count is the number of messages.
func (s *Summary) Count() int { return int(s.Last + 1 - s.First) }

// Index is what both kinds of segment index can be asked.
type Index interface {
	Summary() Summary
	// Lookup finds a topic.
	Lookup(name string) (Topic, bool, error)
	// After appends to dst the topic's first limit messages with sequence
	// numbers above after and not above upTo, in order.
	After(dst []Posting, t Topic, after, upTo uint64, limit int) ([]Posting, error)
	// Before appends to dst the topic's last limit messages with sequence
	// numbers not above upTo, newest first.
	Before(dst []Posting, t Topic, upTo uint64, limit int) ([]Posting, error)
	// Above counts the topic's messages with sequence numbers above seq.
	Above(t Topic, seq uint64) (int, error)
	// Names walks the topics in byte order, from the first that is not below
	// from. It stops when yield returns false.
	Names(from string, yield func(Topic) bool) error
	// Keys walks the idempotency keys in the order of the log.
	Keys(yield func(Key) bool) error
}
