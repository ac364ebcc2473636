package record

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"crier/internal/engine"
	"crier/internal/message"
)

// The kinds of control record.
const (
	kindChange  = 1
	kindWhole   = 2
	kindDropped = 3
	kindGone    = 4
)

// Control is what the engine knows of one log beside its messages. It is the
// sum of the records about that log in the control log, which all domains
// share:
//
//	kind 1 │ log text │ change …
//	kind: 1 changes, 2 all of it (what came before counts no more), 3 dropped:
//	its files are to be removed, 4 gone: they are
//	change: 'e' epoch 4+2, first 6     an epoch begins at that sequence number
//	        't' seq 6, bytes uvarint   everything up to seq is trimmed, of which so many
//	                                   bytes (data plus topic) lie in seq's segment; and what
//	                                   'g' said before is void
//	        'f' seq 6, topic text      the topic's history up to seq is deleted
//	        'u' topic text             that is no longer needed
//	        'g' number uvarint, bytes uvarint  in that segment so many bytes above the
//	                                   trim mark are deleted
type Control struct {
	Dropped      bool
	Epochs       []EpochStart // oldest first
	Trimmed      uint64
	TrimmedBytes int64
	Forgets      map[string]uint64 // topic to the sequence number up to which it is deleted
	Forgotten    map[uint64]int64  // segment to bytes (data plus topic) deleted in it, above Trimmed
}

// EpochStart is an epoch and the first sequence number that it gave, or will.
type EpochStart struct {
	Epoch message.Epoch
	First uint64
}

// BeginChange begins a record of changes to a log; append changes to it.
func BeginChange(dst []byte, log string) []byte { return appendText(append(dst, kindChange), log) }

// AppendGone appends the record that nothing is left of a log.
func AppendGone(dst []byte, log string) []byte { return appendText(append(dst, kindGone), log) }

// AppendDropped appends the record that a log is deleted.
func AppendDropped(dst []byte, log string) []byte { return appendText(append(dst, kindDropped), log) }

// AppendEpoch appends the change that an epoch begins.
func AppendEpoch(dst []byte, e EpochStart) []byte {
	return appendSeq(appendEpoch(append(dst, 'e'), e.Epoch), e.First)
}

// AppendTrim appends the change that everything up to seq is trimmed. Append
// what is deleted above it after that.
func AppendTrim(dst []byte, seq uint64, bytes int64) []byte {
	return binary.AppendUvarint(appendSeq(append(dst, 't'), seq), uint64(bytes))
}

// AppendForget appends the change that a topic's history up to seq is deleted.
func AppendForget(dst []byte, topicName string, seq uint64) []byte {
	return appendText(appendSeq(append(dst, 'f'), seq), topicName)
}

// AppendUnforget appends the change that a topic's mark is not needed any more.
func AppendUnforget(dst []byte, topicName string) []byte {
	return appendText(append(dst, 'u'), topicName)
}

// AppendForgotten appends the change of the bytes that are deleted in a segment.
func AppendForgotten(dst []byte, segment uint64, bytes int64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(append(dst, 'g'), segment), uint64(bytes))
}

// AppendWhole appends the record that has all that is known of a log.
func (c *Control) AppendWhole(dst []byte, log string) []byte {
	if c.Dropped {
		return AppendDropped(dst, log)
	}
	dst = appendText(append(dst, kindWhole), log)
	for _, e := range c.Epochs {
		dst = AppendEpoch(dst, e)
	}
	dst = AppendTrim(dst, c.Trimmed, c.TrimmedBytes)
	for _, name := range slices.Sorted(maps.Keys(c.Forgets)) {
		dst = AppendForget(dst, name, c.Forgets[name])
	}
	for _, number := range slices.Sorted(maps.Keys(c.Forgotten)) {
		dst = AppendForgotten(dst, number, c.Forgotten[number])
	}
	return dst
}

// ApplyControl takes a control record into what is known of all logs. Errors
// wrap [ErrMalformed]; then the log is known as far as it was understood.
func ApplyControl(all map[string]*Control, p []byte) error {
	r := reader{rest: p}
	kind, log := r.byte(), string(r.text())
	if r.bad {
		return fmt.Errorf("%w: control record", ErrMalformed)
	}
	c := all[log]
	if c == nil || kind == kindWhole {
		c = &Control{}
		all[log] = c
	}
	switch kind {
	case kindChange, kindWhole:
	case kindDropped:
		*c = Control{Dropped: true}
		return nil
	case kindGone:
		delete(all, log)
		return nil
	default:
		return fmt.Errorf("%w: control record of kind %d", ErrMalformed, kind)
	}
	for len(r.rest) > 0 && !r.bad {
		c.apply(&r)
	}
	if r.bad {
		return fmt.Errorf("%w: control record of %s", ErrMalformed, log)
	}
	return nil
}

func (c *Control) apply(r *reader) {
	switch r.byte() {
	case 'e':
		if p := r.bytes(12); p != nil {
			c.BeginEpoch(EpochStart{Epoch: parseEpoch(p), First: parseSeq(p[6:])})
		}
	case 't':
		if p := r.bytes(6); p != nil {
			c.Trimmed, c.TrimmedBytes = parseSeq(p), int64(r.uvarint())
			c.Forgotten = nil
		}
	case 'f':
		if p := r.bytes(6); p != nil {
			if name := r.text(); !r.bad {
				c.Forget(string(name), parseSeq(p))
			}
		}
	case 'u':
		delete(c.Forgets, string(r.text()))
	case 'g':
		if number, bytes := r.uvarint(), r.uvarint(); !r.bad {
			c.SetForgotten(number, int64(bytes))
		}
	default:
		r.fail()
	}
}

// BeginEpoch puts an epoch at the end of the table, which is a new slice then;
// of more than [engine.MaxEpochs] the oldest is forgotten. An epoch in which
// nothing was appended stays: somebody may hold its position.
func (c *Control) BeginEpoch(e EpochStart) {
	keep := c.Epochs[max(0, len(c.Epochs)+1-engine.MaxEpochs):]
	c.Epochs = append(slices.Clone(keep), e)
}

// Forget notes that a topic is deleted up to seq.
func (c *Control) Forget(topicName string, seq uint64) {
	if c.Forgets == nil {
		c.Forgets = map[string]uint64{}
	}
	c.Forgets[topicName] = max(c.Forgets[topicName], seq)
}

// SetForgotten notes how many bytes are deleted in a segment.
func (c *Control) SetForgotten(segment uint64, bytes int64) {
	if bytes <= 0 {
		delete(c.Forgotten, segment)
		return
	}
	if c.Forgotten == nil {
		c.Forgotten = map[uint64]int64{}
	}
	c.Forgotten[segment] = bytes
}

// Current is the epoch in which messages are appended now; the zero value
// before the first.
func (c *Control) Current() EpochStart {
	if len(c.Epochs) == 0 {
		return EpochStart{}
	}
	return c.Epochs[len(c.Epochs)-1]
}

// Ranges is the table of epochs as [engine.State] has it, for a log that ends
// at head.
func (c *Control) Ranges(head uint64) []engine.EpochRange {
	ranges := make([]engine.EpochRange, len(c.Epochs))
	for i, e := range c.Epochs {
		last := head
		if i+1 < len(c.Epochs) {
			last = c.Epochs[i+1].First - 1
		}
		ranges[i] = engine.EpochRange{Epoch: e.Epoch, First: e.First, Last: max(last, e.First-1)}
	}
	return ranges
}

// Clone copies the state.
func (c *Control) Clone() Control {
	d := *c
	d.Epochs, d.Forgets, d.Forgotten = slices.Clone(c.Epochs), maps.Clone(c.Forgets), maps.Clone(c.Forgotten)
	return d
}
