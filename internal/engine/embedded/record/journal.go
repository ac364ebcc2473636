package record

import (
	"encoding/binary"
	"fmt"

	"crier/internal/message"
)

// Entry is what one batch wrote into one log, as it is in the journal:
//
//	log text │ epoch 4+2 │ first sequence number 6 │ records uvarint │ record …
//	record: length×2, plus 1 if it is joined to the next, as uvarint │ payload
type Entry struct {
	Log   string
	Epoch message.Epoch
	First uint64
	Count int
	rest  []byte
}

// BeginEntry begins an entry of count records; append those to it.
func BeginEntry(dst []byte, log string, epoch message.Epoch, first uint64, count int) []byte {
	dst = appendSeq(appendEpoch(appendText(dst, log), epoch), first)
	return binary.AppendUvarint(dst, uint64(count))
}

// AppendRecord appends a record to an entry.
func AppendRecord(dst, payload []byte, joined bool) []byte {
	n := uint64(len(payload)) << 1
	if joined {
		n |= 1
	}
	return append(binary.AppendUvarint(dst, n), payload...)
}

// ParseEntry reads the head of an entry. Errors wrap [ErrMalformed].
func ParseEntry(p []byte) (Entry, error) {
	r := reader{rest: p}
	e := Entry{Log: string(r.text())}
	if head := r.bytes(12); head != nil {
		e.Epoch, e.First = parseEpoch(head), parseSeq(head[6:])
	}
	n := r.uvarint()
	if r.bad || n > uint64(len(r.rest)) {
		return Entry{}, fmt.Errorf("%w: entry of the journal", ErrMalformed)
	}
	e.Count, e.rest = int(n), r.rest
	return e, nil
}

// Last is the sequence number of the entry's last record.
func (e *Entry) Last() uint64 { return e.First + uint64(e.Count) - 1 }

// Next takes the next record off the entry. It returns false if there is none
// that can be read.
func (e *Entry) Next() (payload []byte, joined, ok bool) {
	r := reader{rest: e.rest}
	n := r.uvarint()
	payload = r.bytes(n >> 1)
	if r.bad {
		return nil, false, false
	}
	e.rest = r.rest
	return payload, n&1 != 0, true
}
