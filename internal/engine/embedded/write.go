package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
	"crier/internal/seglog"
)

// newTag is the tag of a segment: the epoch of its messages, and whether some
// may have been acknowledged before they were on disk. See owing for the rest.
func newTag(e message.Epoch, fsync bool) seglog.Tag {
	var t seglog.Tag
	binary.LittleEndian.PutUint32(t[0:], e.Began)
	binary.LittleEndian.PutUint16(t[4:], e.Rand)
	if !fsync {
		t[6] = 1
	}
	return t
}

// owing marks the tag of a segment that begins where messages were taken back
// that were seen: their numbers must not be given again in that epoch. As long
// as it is the last one the log owes an epoch, whatever came of the process.
func owing(t seglog.Tag) seglog.Tag {
	t[7] = 1
	return t
}

func owes(t seglog.Tag) bool { return t[7] != 0 }

func parseTag(t seglog.Tag) (e message.Epoch, fsync bool) {
	return message.Epoch{
		Began: binary.LittleEndian.Uint32(t[0:]),
		Rand:  binary.LittleEndian.Uint16(t[4:]),
	}, t[6] == 0
}

// write appends what is new of the requests to the segmented log, in one go,
// and makes an entry for the journal if entries are given. It fails as a whole; then
// nothing was written. The caller holds writeMu, and then either publishes
// the requests or answers them with an error.
func (l *Log) write(reqs []*request, fsync bool, n *entries) error {
	l.added = 0
	if l.closed {
		return engine.ErrClosed
	}
	now := l.engine.cfg.Now().UnixMicro()
	clear(l.pending)
	for _, r := range reqs {
		l.admit(r, now)
	}
	if l.added == 0 {
		return nil
	}
	if err := l.prepare(); err != nil {
		return err
	}
	err := l.writeRecords(reqs, now, fsync, n)
	if _, ok := errors.AsType[*seglog.RollbackError](err); ok && l.mend(err) == nil {
		err = l.writeRecords(reqs, now, fsync, n)
	}
	return err
}

// admit looks at a request's idempotency key and counts the messages of those
// that are new.
func (l *Log) admit(r *request, now int64) {
	if k := r.block.Key; !k.IsZero() {
		if first := l.pending[k.Hash]; first != nil {
			r.dup = first
			return
		}
		l.mu.Lock()
		receipt, ok, err := l.keys.find(k, now)
		l.mu.Unlock()
		if ok || err != nil {
			r.receipt, r.err = receipt, err
			r.first = 0
			r.dup = r // nothing to write
			return
		}
		if l.pending == nil {
			l.pending = map[[16]byte]*request{}
		}
		l.pending[k.Hash] = r
	}
	l.added += len(r.block.Drafts)
}

// writeRecords writes the blocks of the requests that are new.
func (l *Log) writeRecords(reqs []*request, now int64, fsync bool, n *entries) error {
	next := l.seg.Written() + 1
	if next+uint64(l.added) > message.MaxSeq {
		return fmt.Errorf("%w: domain %s has given all its sequence numbers", engine.ErrCorrupt, l.domain)
	}
	if n != nil {
		n.begin(l, next, l.added)
	}
	at, draft := -1, 0
	var block record.Block
	batch, err := l.seg.Write(l.added, func(i int, dst []byte) ([]byte, bool) {
		if at < 0 || draft == len(reqs[at].block.Drafts) {
			for at++; reqs[at].dup != nil; at++ {
			}
			r := reqs[at]
			draft, r.first = 0, next+uint64(i)
			block = record.Block{Time: now, Fsync: fsync, Key: r.block.Key, N: len(r.block.Drafts)}
			r.receipt = engine.Receipt{
				First: message.ID{Epoch: l.ctl.Current().Epoch, Seq: r.first},
				N:     block.N, Time: micros(now), Durability: durability(fsync),
			}
		}
		drafts := reqs[at].block.Drafts
		was := len(dst)
		dst = record.Append(dst, &block, draft, &drafts[draft])
		draft++
		joined := draft < len(drafts)
		if n != nil {
			n.add(dst[was:], joined)
		}
		return dst, joined
	})
	if err != nil {
		if n != nil {
			n.undo()
		}
		return err
	}
	if n != nil {
		n.end()
	}
	l.batch = batch
	return nil
}

// publish makes what write wrote visible, answers the requests and rings.
func (l *Log) publish(reqs []*request) {
	if l.added > 0 {
		l.show(reqs)
	}
	silent := l.bell.silent()
	var news engine.News
	if l.added > 0 && !silent {
		news = l.news(reqs)
	}
	l.answer(reqs, nil)
	if l.added > 0 && !silent {
		l.bell.ring(news)
	}
}

// show puts the messages of the requests into the index and moves the head.
func (l *Log) show(reqs []*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.number = l.batch.Segment
	offsets := l.batch.Offsets
	for _, r := range reqs {
		if r.dup != nil {
			continue
		}
		at := r.receipt.Time.UnixMicro()
		for i := range r.block.Drafts {
			d := &r.block.Drafts[i]
			l.active.AddString(d.Topic, offsets[i], len(d.Topic)+len(d.Data), at, d.TTL > 0)
		}
		offsets = offsets[len(r.block.Drafts):]
		if !r.block.Key.IsZero() {
			k := index.Key{Key: r.block.Key, Time: at, First: r.first, N: r.receipt.N, Fsync: r.receipt.Durability == engine.Fsync}
			l.active.AddKey(k)
			l.keys.add(k, r.receipt.First.Epoch)
		}
	}
	l.head = l.batch.First + uint64(l.added) - 1
}

// maxCarried bounds the messages that a ring carries.
const maxCarried = 4096

// news makes the ring for what was added. The messages have the drafts' bytes.
func (l *Log) news(reqs []*request) engine.News {
	n := engine.News{Head: l.batch.First + uint64(l.added) - 1}
	if l.added > maxCarried {
		return n
	}
	n.Messages = make([]message.Message, 0, l.added)
	for _, r := range reqs {
		if r.dup != nil {
			continue
		}
		for i := range r.block.Drafts {
			n.Messages = append(n.Messages, r.block.Drafts[i].Commit(r.receipt.ID(i), r.receipt.Time))
		}
	}
	return n
}

// answer ends the requests. With an error that is what those get that were to
// be written.
func (l *Log) answer(reqs []*request, err error) {
	for _, r := range reqs {
		switch {
		case r.dup == r: // answered by its key
		case r.dup != nil:
			r.receipt, r.err = r.dup.receipt, err
			r.receipt.Repeated = true
			if err == nil && r.block.Key.Body != r.dup.block.Key.Body {
				r.err = engine.ErrKeyReused
			}
		default:
			r.err = err
		}
	}
	for _, r := range reqs { // not before: a duplicate looks at the first one's
		r.finish()
	}
}

// syncWritten makes everything that was written durable, by the segmented
// log's own file.
func (l *Log) syncWritten() error {
	j := l.engine.journal
	upTo := j.log.Synced()
	err := l.seg.Sync()
	if err == nil {
		j.settle(l, upTo)
		return nil
	}
	if merr := l.mend(err); merr != nil {
		l.engine.cfg.Logger.Error("log not mended after a failed sync; the next publish tries again", "domain", l.domain, "error", merr)
	}
	return err
}

// ready mends the log if that has to be.
func (l *Log) ready() error {
	if l.mended() {
		return nil
	}
	return l.mend(l.seg.Err())
}

// prepare makes the log ready to be written to: it goes on after a failure,
// and begins another segment when the one it has is large for such a log.
func (l *Log) prepare() error {
	if err := l.ready(); err != nil {
		return err
	}
	if err := l.engine.control.certain(l.dir); err != nil {
		return err
	}
	if l.seg.Tag() != l.tag() || l.large() {
		return l.roll()
	}
	return nil
}

// Segments begin small, so that a small log gives space back early, and grow
// with the log.
const (
	smallSegment   = 1 << 20
	segmentsOfALog = 8
)

func (l *Log) large() bool {
	if len(l.batch.Offsets) == 0 {
		return false
	}
	end := l.batch.Offsets[len(l.batch.Offsets)-1]
	if end < smallSegment {
		return false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.batch.Segment == l.number && end >= l.bytes()/segmentsOfALog
}
