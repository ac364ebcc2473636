package seglog

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Limits and fixed sizes.
const (
	Overhead       = 20       // bytes that a record takes beside its payload
	MaxPayload     = 32 << 20 // bytes of one record's payload
	MaxBatch       = 1 << 30  // bytes of one Write, overhead included
	MaxSegmentSize = 1 << 30
)

// Errors that callers decide on.
var (
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrTooLarge: a payload above MaxPayload, or a batch above MaxBatch.
	ErrTooLarge = errors.New("record or batch too large")
	// ErrRemoved: the segment is not there (any more).
	ErrRemoved = errors.New("segment was removed")
	// ErrRolledBack: a reader was beyond the place to which the log was
	// rolled back. Seek again.
	ErrRolledBack = errors.New("log was rolled back before the reader's place")
	// ErrDamaged: bytes that were there once cannot be read any more.
	// A [DamageError] is one.
	ErrDamaged = errors.New("record damaged")
	// ErrVersion: a segment was written by a format that this version does
	// not know.
	ErrVersion = errors.New("unknown format version")
)

// RollbackError says that a sync failed and that records which had been
// written are gone: everything above To. Their numbers will be given again,
// so that Write is refused with this error until the caller has decided under
// which tag it goes on, by [Log.Roll].
type RollbackError struct {
	To  uint64 // the last sequence number that is left
	Err error
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("log rolled back to sequence number %d: %v", e.To, e.Err)
}

func (e *RollbackError) Unwrap() error { return e.Err }

// DamageError says that the records First to Last were there once and cannot
// be read any more.
type DamageError struct {
	Segment     uint64 // in which it was found; for a missing segment, the one that follows
	First, Last uint64
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("segment %016x: records %d to %d cannot be read", e.Segment, e.First, e.Last)
}

// Unwrap makes it [ErrDamaged].
func (e *DamageError) Unwrap() error { return ErrDamaged }

// Tag is the caller's mark in the header of each segment (the epoch).
type Tag [16]byte

// Options of a log. The zero value is good.
type Options struct {
	First uint64 // sequence number of the first record of a new log; 0: 1
	Tag   Tag    // of the first segment of a new log
	// SegmentSize is what a segment is filled up to, at most
	// [MaxSegmentSize]; 0: 64 MiB. A batch is never split, so that one which
	// is larger makes a larger segment.
	SegmentSize int64
	// IdleFiles is how many segments stay open, with their spots in memory,
	// after their last reader left; 0: 2.
	IdleFiles int
	Logger    *slog.Logger     // nil: none
	Now       func() time.Time // nil: time.Now
	// OnSeal is called for each segment that has records and to which nothing
	// will be added any more, from the goroutine of Write or Roll, before that returns. It may
	// call anything but Write, Roll, Sync and Close.
	OnSeal func(SegmentInfo)

	salt uint32 // not 0: of each segment, for tests of the format
}

// Recovery says what Open found.
type Recovery struct {
	// Clean: the log is new, or was closed by Close. Otherwise records that
	// were written and not synced may have been lost.
	Clean bool
	// Cut is how many bytes after the last good record of the last segment
	// were thrown away (the preallocated zeros do not count), CutAt where
	// and CutRecords how many of them were good records after a torn one.
	// Nothing of them was ever synced as far as anything in the log tells.
	Cut, CutAt int64
	CutRecords int
	// LostEnd: the newest segment is unreadable as a whole and was put aside.
	// Numbers above Written may have been given: go on under another tag.
	LostEnd bool
	// Damage lists synced records that cannot be read: in segments that had
	// to be scanned, and missing segments. Damage inside sealed segments is
	// found when they are read.
	Damage []DamageError
}

// SegmentInfo describes a segment at one moment.
type SegmentInfo struct {
	Number      uint64
	First, Last uint64 // sequence numbers; Last is First-1 while there are none
	Tag         Tag
	Created     time.Time
	Size        int64 // bytes to the end of its records
	Sealed      bool  // nothing will be added
}

// Encoder appends the payload of the i-th record of a batch to dst and
// returns it. With joined it belongs to a group with the next record: after a
// crash both are there or neither is. The last record of a batch ends its
// group.
type Encoder func(i int, dst []byte) (out []byte, joined bool)

// Batch says where a Write put its records.
type Batch struct {
	First   uint64  // sequence number of the first; the others follow without holes
	Segment uint64  // a batch lies in one segment
	Offsets []int64 // of each record; valid until the next Write
}
