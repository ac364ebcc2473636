package memory

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"crier/internal/engine"
	"crier/internal/message"
)

// A replica is a Log that an engine elsewhere keeps up to date: it is told
// what was committed there, in order, by the Replay methods, and answers
// Read, Last, Complete, State and Topics from it. It has no data: what Read
// gives has Data of the right length, whose bytes mean nothing and which must
// be replaced, and no content type, type or app. It rings for nobody.
//
// The Replay methods are called by one goroutine at a time.

// MaxOutline is the largest Size of an Outline.
const MaxOutline = 16 << 20

// nothing stands for data that are elsewhere; it is never written or read, so
// that it takes no memory.
var nothing [MaxOutline]byte

var noMeta = &meta{}

// Outline is what a replica keeps of a message.
type Outline struct {
	Topic   string
	Size    int   // of the data
	Expires int64 // Unix microseconds; 0: never
}

// KeyUse is a key that came with messages of a block.
type KeyUse struct {
	Key    engine.Key
	Offset int // of its first message in the block
	N      int
}

// Checkpoint is what a replica is made of, besides the messages that are left.
type Checkpoint struct {
	Head    uint64
	Trimmed uint64
	Changes uint64
	Epochs  []engine.EpochRange
	Floor   Mark
	Marks   []Mark // of the topics of which something else than the floor is known
}

// Mark says up to where messages of a topic are gone, and why.
type Mark struct {
	Topic  string         `json:",omitempty"`
	Seq    uint64         `json:",omitempty"`
	Reason message.Reason `json:",omitempty"`
}

// NewReplica makes a replica that is to be given the messages that are left at
// the checkpoint, by Replay, and then Restored. A log without a past has a
// checkpoint with one epoch.
func NewReplica(cfg LogConfig, c Checkpoint) *Log {
	l := &Log{now: cfg.Now, keys: keys{max: cfg.MaxKeys}, ttl: deadlines{}, restoring: true}
	if l.now == nil {
		l.now = time.Now
	}
	if l.keys.max <= 0 {
		l.keys.max = DefaultMaxKeys
	}
	l.expiry.Store(never)
	l.trimmed, l.changes, l.epochs = c.Trimmed, c.Changes, slices.Clone(c.Epochs)
	l.index = newIndex(loss{seq: c.Floor.Seq, why: c.Floor.Reason})
	l.hist = history{first: c.Trimmed + 1, head: c.Trimmed}
	for _, m := range c.Marks {
		ts := &topicState{name: m.Topic, lost: loss{seq: m.Seq, why: m.Reason}}
		l.index.topics[ts.name] = ts
		l.index.touch(ts)
	}
	l.index.peak = len(l.index.topics)
	return l
}

// Restored ends what NewReplica began.
func (l *Log) Restored() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restoring = false
	l.index.flush()
}

// Replay adds a block. While a replica is being restored, what the checkpoint
// says is gone stays gone, and so do holes, which only trimmed messages leave.
func (l *Log) Replay(first message.ID, at int64, outlines []Outline, keys []KeyUse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	for i := range outlines {
		o := &outlines[i]
		seq := first.Seq + uint64(i)
		if seq <= l.hist.head {
			continue
		}
		if l.restoring && l.isGone(o.Topic, seq) {
			l.hist.pushGone()
			continue
		}
		size := int64(o.Size + len(o.Topic))
		ts := l.index.add(o.Topic, seq, size)
		l.hist.push(record{topic: ts, data: nothing[:o.Size:o.Size], meta: noMeta, at: at, expires: o.Expires, epoch: first.Epoch})
		if o.Expires != 0 {
			l.ttl.add(deadline{at: o.Expires, seq: seq})
		}
		l.bytes += size
		l.count++
	}
	l.expiry.Store(l.ttl.next())
	if !l.restoring {
		l.epochs[len(l.epochs)-1].Last = l.hist.head
		l.index.flush()
	}
	for _, k := range keys {
		id := first
		id.Seq += uint64(k.Offset)
		l.keys.add(k.Key, id, k.N, at)
	}
}

// isGone says whether a mark covers a message. Above what was trimmed, marks
// are of deletes, which took all that was there; and what was appended to a
// topic later lies above the mark that it was given.
func (l *Log) isGone(name string, seq uint64) bool {
	if ts := l.index.topics[name]; ts != nil {
		return seq <= ts.lost.seq
	}
	return seq <= l.index.floor.seq
}

// pushGone adds the record of head+1, whose message is gone.
func (h *history) pushGone() {
	h.push(record{topic: goneTopic})
	h.clear(h.head)
}

var goneTopic = &topicState{}

// ReplayTrim takes away what lay up to a sequence number at a time (Unix
// microseconds). What had expired by then leaves no gap; what had not does,
// whenever this is told.
func (l *Log) ReplayTrim(upTo uint64, at int64) {
	l.expireBy(at)
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.trimmed < min(upTo, l.hist.head) {
		if rec := l.hist.at(l.trimmed + 1); rec != nil {
			l.take(rec, l.trimmed+1, message.Retention)
		}
		l.trimmed++
	}
	l.index.flush()
	l.hist.cut(l.trimmed)
}

// ReplayForget deletes the history that a topic had at a time (Unix
// microseconds).
func (l *Log) ReplayForget(topicName string, at int64) {
	l.expireBy(at)
	l.mu.RLock()
	before := l.changes
	l.mu.RUnlock()
	gone, err := l.forget(topicName)
	if err != nil {
		return // closed
	}
	l.clear(gone)
	l.mu.Lock()
	l.changes = before + 1 // also if all had expired here
	l.mu.Unlock()
}

// ReplayEpoch begins an epoch.
func (l *Log) ReplayEpoch(e message.Epoch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beginEpoch(e)
	l.changes++
}

// Outside tells up to where retention would trim.
func (l *Log) Outside(r engine.Retention) uint64 {
	l.expire()
	l.mu.RLock()
	defer l.mu.RUnlock()
	at, bytes := l.trimmed, l.bytes
	for at < l.hist.head {
		if rec := l.hist.at(at + 1); rec != nil {
			if !outside(rec, r, bytes) {
				break
			}
			bytes -= rec.size()
		}
		at++
	}
	return at
}

// HasTopic reports whether a topic has messages.
func (l *Log) HasTopic(name string) bool {
	l.expire()
	l.mu.RLock()
	defer l.mu.RUnlock()
	ts := l.index.topics[name]
	return ts != nil && ts.live > 0
}

// Numbers returns the sequence numbers of a topic's messages, and perhaps of
// some that are gone.
func (l *Log) Numbers(name string) []uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if ts := l.index.topics[name]; ts != nil {
		return slices.Clone(ts.seqs)
	}
	return nil
}

// FindKey returns the receipt of a key that is remembered.
func (l *Log) FindKey(k engine.Key, now time.Time) (engine.Receipt, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return engine.Receipt{}, false, engine.ErrClosed
	}
	return l.keys.find(k, now.UnixMicro())
}

// Checkpoint returns what a replica of this state is made of.
func (l *Log) Checkpoint(context.Context) Checkpoint {
	l.mu.RLock()
	defer l.mu.RUnlock()
	floor := l.index.floor
	c := Checkpoint{
		Head: l.hist.head, Trimmed: l.trimmed, Changes: l.changes, Epochs: slices.Clone(l.epochs),
		Floor: Mark{Seq: floor.seq, Reason: floor.why},
	}
	for _, ts := range l.index.topics {
		if ts.lost != floor {
			c.Marks = append(c.Marks, Mark{Topic: ts.name, Seq: ts.lost.seq, Reason: ts.lost.why})
		}
	}
	slices.SortFunc(c.Marks, func(a, b Mark) int { return strings.Compare(a.Topic, b.Topic) })
	return c
}

// NextEpoch draws an epoch above prev.
func NextEpoch(prev message.Epoch, now time.Time) message.Epoch {
	if prev.Began == math.MaxUint32 {
		return message.Epoch{Began: prev.Began, Rand: prev.Rand + 1}
	}
	return nextEpoch(prev, now, nil)
}
