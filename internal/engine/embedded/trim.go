package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	"crier/internal/engine"
	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
)

// left is what there is of a segment beyond the trim mark.
type left struct {
	seg    *segment // nil: the segment that grows
	number uint64
	first  uint64 // of the segment
	last   uint64
	bytes  int64  // data plus topic, without what is deleted
	max    int64  // its newest message's time
	falls  uint64 // how often the log had fallen back
}

// leftOf looks at a sealed segment. The caller holds mu.
func (l *Log) leftOf(s *segment) left {
	n := left{seg: s, number: s.number, first: s.sum.First, last: s.sum.Last, max: s.sum.MaxTime, falls: l.falls}
	if n.last > l.ctl.Trimmed {
		n.bytes = l.bytesOf(s.number, s.sum.First, s.sum.Bytes)
	}
	return n
}

// leftOfActive looks at the segment that grows. The caller holds mu.
func (l *Log) leftOfActive() left {
	sum := l.active.Summary()
	return left{
		number: l.number, first: sum.First, last: sum.Last, max: sum.MaxTime,
		bytes: l.bytesOf(l.number, sum.First, sum.Bytes), falls: l.falls,
	}
}

func (l *Log) bytesOf(number, first uint64, bytes int64) int64 {
	bytes -= l.ctl.Forgotten[number]
	if first <= l.ctl.Trimmed {
		bytes -= l.ctl.TrimmedBytes
	}
	return max(bytes, 0) // a segment that fell back has less than was taken
}

// bytes is what retention by bytes counts. The caller holds mu.
func (l *Log) bytes() int64 {
	sum := int64(0)
	if !l.empty() {
		sum = l.leftOfActive().bytes
	}
	for _, s := range l.segs {
		sum += l.leftOf(s).bytes
	}
	return sum
}

// empty reports whether the segment that grows has no messages, so that its
// number is not known. The caller holds mu.
func (l *Log) empty() bool {
	sum := l.active.Summary()
	return sum.Last < sum.First
}

// Trim moves the trim mark, message by message, and gives the space of whole
// segments back. What has expired by its own time to live counts as bytes
// until the mark passes it.
func (l *Log) Trim(ctx context.Context, r engine.Retention) error {
	l.history.Lock()
	defer l.history.Unlock()
	now := l.engine.cfg.Now().UnixMicro()
	before := l.readTrimmed()
	err := l.trim(ctx, r, now)
	after := l.readTrimmed()
	if after != before {
		l.mu.Lock()
		l.passes.add(placeTime{after, now})
		l.mu.Unlock()
		l.noteTrim(nil)
		err = errors.Join(err, l.giveBack())
		l.ringChanged()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return failed("trim domain "+l.domain, err)
	}
	return err
}

func (l *Log) readTrimmed() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.ctl.Trimmed
}

// ringChanged tells the listeners that something is gone.
func (l *Log) ringChanged() {
	if l.bell.silent() {
		return
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if !l.closed {
		l.bell.ring(engine.News{Head: l.readHead(), Changed: true})
	}
}

// trim moves the trim mark. The caller holds history.
func (l *Log) trim(ctx context.Context, r engine.Retention, now int64) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, total, done, err := l.oldest()
		if done || err != nil {
			return err
		}
		old := !r.Before.IsZero() && n.max < r.Before.UnixMicro()
		large := r.Bytes > 0 && total > r.Bytes
		switch {
		case old, large && total-n.bytes >= r.Bytes:
			l.trimWhole(n)
			continue
		case !large && (r.Before.IsZero() || l.oldestTime.seq == l.readTrimmed()+1 && l.oldestTime.micros >= r.Before.UnixMicro()):
			return nil
		}
		if more, err := l.trimSome(ctx, r, now, n, total); !more || err != nil {
			return err
		}
	}
}

// oldest looks at the oldest segment that has messages beyond the trim mark,
// and at the bytes of all.
func (l *Log) oldest() (n left, total int64, done bool, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case l.gone:
		return n, 0, true, engine.ErrClosed
	case l.ctl.Trimmed >= l.head:
		return n, 0, true, nil
	}
	total = l.bytes()
	for _, s := range l.segs {
		if s.sum.Last > l.ctl.Trimmed {
			return l.leftOf(s), total, false, nil
		}
	}
	return l.leftOfActive(), total, false, nil
}

// trimWhole moves the mark behind all that was seen of a segment.
func (l *Log) trimWhole(n left) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.falls != n.falls {
		return // its numbers may be others' by now
	}
	if l.ctl.Trimmed < n.first {
		l.ctl.TrimmedBytes = 0
	}
	l.ctl.TrimmedBytes += n.bytes + l.ctl.Forgotten[n.number]
	l.ctl.Trimmed = n.last
	l.ctl.SetForgotten(n.number, 0)
}

// placeTime is a sequence number and the time of its message.
type placeTime struct {
	seq    uint64
	micros int64
}

// trimPasses remember up to where the trim mark was moved when, because a
// message that had expired by then is no loss. They are few: of passes that are
// taken together the earlier time counts, and of those that are forgotten none,
// so that a gap may be told needlessly, and is never left out.
type trimPasses []placeTime

const maxPasses = 128

func (p *trimPasses) add(pass placeTime) {
	*p = append(*p, pass)
	if len(*p) <= maxPasses {
		return
	}
	kept := (*p)[:0]
	for i := 0; i < len(*p); i += 2 {
		pass := (*p)[i]
		if i+1 < len(*p) {
			pass.seq = (*p)[i+1].seq
		}
		kept = append(kept, pass)
	}
	*p = kept
}

// at is the time at which a message was trimmed, or an earlier one.
func (p trimPasses) at(seq uint64) int64 {
	for _, pass := range p {
		if seq <= pass.seq {
			return pass.micros
		}
	}
	return 0
}

// trimSome moves the mark within a segment, message by message. It reports
// whether there is more to do.
func (l *Log) trimSome(ctx context.Context, r engine.Retention, now int64, n left, total int64) (more bool, err error) {
	start := l.readTrimmed()
	rd := l.seg.NewReader(start)
	defer rd.Close()
	var m record.Message
	at, taken, forgotten := start, int64(0), int64(0)
	for steps := 0; at < n.last; steps++ {
		if steps&0xfff == 0xfff && ctx.Err() != nil {
			break
		}
		rec, err := rd.Next()
		if damage, ok := errors.AsType[*seglog.DamageError](err); ok {
			l.noteDamage(*damage)
			at = min(max(at, damage.Last), n.last)
			continue
		}
		if err == io.EOF || errors.Is(err, seglog.ErrRolledBack) {
			break
		}
		if err != nil {
			return false, err
		}
		if rec.Seq > n.last {
			at = n.last
			break
		}
		if record.Parse(rec.Payload, &m) == nil {
			size := int64(m.Size())
			switch {
			case l.forgotten(m.Topic, rec.Seq):
				forgotten += size
			case m.Expired(now), !r.Before.IsZero() && m.Time < r.Before.UnixMicro(), r.Bytes > 0 && total > r.Bytes:
				taken += size
				total -= size
			default:
				l.oldestTime = placeTime{rec.Seq, m.Time}
				l.trimTo(n, at, taken, forgotten)
				return false, nil
			}
		}
		at = rec.Seq
	}
	l.trimTo(n, at, taken, forgotten)
	return at > start, ctx.Err()
}

// trimTo moves the mark within a segment; so many bytes of those that were
// left and those that were deleted lie before it now.
func (l *Log) trimTo(n left, at uint64, taken, forgotten int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at <= l.ctl.Trimmed || l.falls != n.falls {
		return
	}
	if l.ctl.Trimmed < n.first {
		l.ctl.TrimmedBytes = 0
	}
	l.ctl.TrimmedBytes += taken + forgotten
	l.ctl.Trimmed = at
	l.ctl.SetForgotten(n.number, l.ctl.Forgotten[n.number]-forgotten)
}

// noteTrim writes where the trim mark is, and which deletes are of no interest
// any more. It need not be on disk: what comes back after a crash
// is trimmed again.
func (l *Log) noteTrim(settled []string) {
	l.mu.RLock()
	seq, bytes, forgotten := l.ctl.Trimmed, l.ctl.TrimmedBytes, maps.Clone(l.ctl.Forgotten)
	l.mu.RUnlock()
	err := l.engine.control.change(l.dir, false, func(dst []byte) []byte {
		dst = record.AppendTrim(dst, seq, bytes)
		for _, name := range settled {
			dst = record.AppendUnforget(dst, name)
		}
		for number, n := range forgotten {
			dst = record.AppendForgotten(dst, number, n)
		}
		return dst
	})
	if err != nil {
		l.engine.cfg.Logger.Warn("trim mark not written, after a crash what was trimmed may come back for a second", "domain", l.domain, "error", err)
	}
}

// smallRest is the size of a growing segment that is not worth a new one when
// all of it was trimmed.
const smallRest = 256 << 10

// giveBack removes the segments that are trimmed wholly.
func (l *Log) giveBack() error {
	l.mu.RLock()
	sum := l.active.Summary()
	whole := l.ctl.Trimmed >= sum.Last && sum.Bytes > smallRest
	l.mu.RUnlock()
	if whole {
		if err := l.rollTrimmed(); err != nil {
			return err
		}
	}
	return l.removeSegments()
}

// rollTrimmed begins a new segment, so that the one that is trimmed wholly can
// be removed.
func (l *Log) rollTrimmed() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if l.closed {
		return engine.ErrClosed
	}
	err := l.ready()
	if err == nil {
		err = l.roll()
	}
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	return nil
}
