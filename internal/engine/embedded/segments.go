package embedded

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
)

// sealed is told by the segmented log that a segment was sealed: its index
// stays in memory until it is written beside it. The caller of the segmented
// log holds writeMu.
func (l *Log) sealed(info seglog.SegmentInfo) {
	if l.active == nil || info.Last < info.First {
		return // the log is being opened, or the segment is empty
	}
	a := l.active
	if sum := a.Summary(); sum.First != info.First || sum.Last != info.Last {
		var err error
		if a, err = l.scan(info); err != nil {
			// Without an index it would be passed over in silence.
			l.engine.cfg.Logger.Error("sealed segment not read", "domain", l.domain, "segment", info.Number, "error", err)
			l.noteDamage(seglog.DamageError{Segment: info.Number, First: info.First, Last: info.Last})
			l.mu.Lock()
			l.active = index.NewActive(info.Last + 1)
			l.mu.Unlock()
			return
		}
	}
	s := newSegment(info, a)
	l.mu.Lock()
	l.segs = append(l.segs[:len(l.segs):len(l.segs)], s)
	l.active = index.NewActive(info.Last + 1)
	l.mu.Unlock()
	l.engine.indexer.add(l, s)
}

func newSegment(info seglog.SegmentInfo, a *index.Active) *segment {
	s := &segment{number: info.Number, sum: a.Summary()}
	s.sum.End = info.Size
	s.mem.Store(a)
	return s
}

// scan makes the index of a segment out of its records. What is damaged is
// noted.
func (l *Log) scan(info seglog.SegmentInfo) (*index.Active, error) {
	r, err := l.seg.ReadSegment(info.Number)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	a := index.NewActive(info.First)
	var m record.Message
	for {
		rec, err := r.Next()
		if damage, ok := errors.AsType[*seglog.DamageError](err); ok {
			l.noteDamage(*damage)
			continue
		}
		if err == io.EOF {
			a.Skip(info.Last)
			return a, nil
		}
		if err != nil {
			return nil, err
		}
		if rec.Seq > info.Last {
			return a, nil
		}
		a.Skip(rec.Seq - 1)
		if err := record.Parse(rec.Payload, &m); err != nil {
			l.noteDamage(seglog.DamageError{Segment: rec.Segment, First: rec.Seq, Last: rec.Seq})
			continue
		}
		a.Add(m.Topic, rec.Offset, m.Size(), m.Time, m.TTL > 0)
		if !m.Key.IsZero() {
			a.AddKey(index.Key{Key: m.Key, Time: m.Time, First: rec.Seq, N: m.N, Fsync: m.Fsync})
		}
	}
}

// noteDamage remembers, and says once, that messages cannot be read. Readers
// are told of a gap.
func (l *Log) noteDamage(d seglog.DamageError) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, known := range l.damage {
		if known.First <= d.First && d.Last <= known.Last {
			return
		}
	}
	l.changes++
	l.engine.cfg.Logger.Error("messages cannot be read, their subscribers are told of a gap; restore the segment from a backup, or leave it to retention",
		"domain", l.domain, "directory", domainsDir+"/"+l.dir, "damage", &d)
	if len(l.damage) < maxDamage {
		l.damage = append(l.damage, d)
		return
	}
	last := &l.damage[len(l.damage)-1]
	last.First, last.Last = min(last.First, d.First), max(last.Last, d.Last)
}

// maxDamage bounds the places of damage that are told apart.
const maxDamage = 1000

// loadSegment reads what the index file of a sealed segment says of it, or
// makes the file anew.
func (l *Log) loadSegment(info seglog.SegmentInfo) (*segment, error) {
	s := &segment{number: info.Number}
	x, err := l.openSide(info)
	if err == nil {
		s.sum = x.Summary()
		s.file.Store(x)
		return s, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		l.engine.cfg.Logger.Warn("index file is made again", "domain", l.domain, "segment", info.Number, "error", err)
	}
	a, err := l.scan(info)
	if err != nil {
		return nil, err
	}
	s = newSegment(info, a)
	l.writeIndex(s)
	return s, nil
}

// openSide reads the header of a segment's index file.
func (l *Log) openSide(info seglog.SegmentInfo) (*index.Sealed, error) {
	hold, err := l.seg.Acquire(info.Number)
	if err != nil {
		return nil, err
	}
	defer hold.Release()
	f, err := hold.Side()
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	x, err := index.OpenSealed(f, size)
	if err != nil {
		return nil, err
	}
	if s := x.Summary(); s.First != info.First || s.Last != info.Last || s.End != info.Size {
		return nil, fmt.Errorf("%w: it is of messages %d to %d, the segment has %d to %d", index.ErrBad, s.First, s.Last, info.First, info.Last)
	}
	return x.Detached(), nil
}

// writeIndex writes a segment's index file, after which its index takes no
// memory any more. It reports whether that is done.
func (l *Log) writeIndex(s *segment) bool {
	a := s.mem.Load()
	if a == nil {
		return true
	}
	err := l.seg.WriteSide(s.number, a.Build(s.sum.End))
	switch {
	case errors.Is(err, seglog.ErrRemoved), errors.Is(err, seglog.ErrClosed):
		return true
	case err != nil:
		l.engine.cfg.Logger.Warn("index file not written, the index stays in memory for now", "domain", l.domain, "segment", s.number, "error", err)
		return false
	}
	s.mem.Store(nil)
	return true
}

// withIndex calls fn with the index of a sealed segment and a hold on it. A
// bad index file is made again, once.
func (l *Log) withIndex(s *segment, fn func(x index.Index, hold *seglog.Segment) error) error {
	for again := false; ; again = true {
		err := l.tryIndex(s, fn)
		if again || !errors.Is(err, index.ErrBad) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := l.remake(s, err); err != nil {
			return err
		}
	}
}

func (l *Log) tryIndex(s *segment, fn func(x index.Index, hold *seglog.Segment) error) error {
	hold, err := l.seg.Acquire(s.number)
	if err != nil {
		return err
	}
	defer hold.Release()
	if a := s.mem.Load(); a != nil {
		return fn(a, hold)
	}
	f, err := hold.Side()
	if err != nil {
		return err
	}
	if x := s.file.Load(); x != nil {
		return fn(x.On(f), hold)
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	x, err := index.OpenSealed(f, size)
	if err != nil {
		return err
	}
	s.file.Store(x.Detached())
	return fn(x, hold)
}

// remake makes a segment's index again after its file turned out to be bad.
func (l *Log) remake(s *segment, cause error) error {
	l.engine.cfg.Logger.Warn("index file is made again", "domain", l.domain, "segment", s.number, "error", cause)
	a, err := l.scan(seglog.SegmentInfo{Number: s.number, First: s.sum.First, Last: s.sum.Last, Size: s.sum.End})
	if err != nil {
		return err
	}
	s.file.Store(nil)
	s.mem.Store(a)
	l.engine.indexer.add(l, s)
	return nil
}
