package embedded

import (
	"fmt"
	"slices"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/message"
	"crier/internal/seglog"
)

// openSeg opens the segmented log of a domain, or makes it in a new
// directory. The log is not ready before load.
func (e *Engine) openSeg(domain, dir string, fsync bool) (*Log, error) {
	l := &Log{engine: e, domain: domain, dir: dir, keys: newKeyTable(e.cfg.MaxKeys)}
	l.fsync.Store(fsync)
	l.ctl = e.control.get(dir)
	o := seglog.Options{
		SegmentSize: e.cfg.SegmentSize, Logger: e.cfg.Logger, Now: e.cfg.Now, OnSeal: l.sealed,
	}
	if len(l.ctl.Epochs) == 0 {
		// New, or what was known of it was lost: then the segments know.
		o.Tag = newTag(e.nextEpoch(domain, message.Epoch{}), fsync)
	} else {
		o.Tag = l.tag()
		o.First = l.beyond()
	}
	var err error
	l.seg, err = seglog.Open(e.fs, domainsDir+"/"+dir, o)
	if err != nil {
		return nil, fmt.Errorf("open the log of domain %s: %w", domain, err)
	}
	return l, nil
}

// beyond is the first sequence number above all that is known beside the
// messages, for a log whose segments are all lost.
func (l *Log) beyond() uint64 {
	first := max(l.ctl.Current().First, l.ctl.Trimmed+1)
	for _, seq := range l.ctl.Forgets {
		first = max(first, seq+1)
	}
	return first
}

// openReplayed opens the segmented log of a directory that the journal names,
// with the durability that it had. It returns nil if the domain was dropped.
func (e *Engine) openReplayed(dir string) (*Log, error) {
	domain, ok := domainOf(dir)
	if !ok || e.dirs[domain] != dir {
		return nil, nil
	}
	l, err := e.openSeg(domain, dir, true)
	if err != nil {
		return nil, err
	}
	_, fsync := parseTag(l.seg.Tag())
	l.fsync.Store(fsync)
	return l, nil
}

// load makes a log ready whose segmented log has all that it will get out of
// the journal.
func (l *Log) load(clean bool) error {
	for _, d := range l.seg.Recovery().Damage {
		l.noteDamage(d)
	}
	if r := l.seg.Recovery(); r.Cut > 0 {
		l.engine.cfg.Logger.Info("the end of a log was cut off, as a crash left it", "domain", l.domain,
			"bytes", r.Cut, "records", r.CutRecords)
	}
	l.head = l.seg.Written()
	infos := l.seg.Segments()
	if err := l.loadEpochs(infos); err != nil {
		return err
	}
	if err := l.loadSegments(infos); err != nil {
		return err
	}
	if err := l.loadMarks(infos); err != nil {
		return err
	}
	if err := l.loadKeys(); err != nil {
		return err
	}
	if l.seg.Recovery().LostEnd || !clean && l.engine.journal.damaged.Load() {
		// How many messages were there nobody knows.
		l.noteDamage(seglog.DamageError{First: l.head + 1, Last: l.head + 1})
	} else if past := l.engine.control.get(lastEpochName(l.domain)); past.Current().Epoch.Began > l.ctl.Current().Epoch.Began {
		// It had a life in memory, and what was published then is gone.
		l.damage = append(l.damage, seglog.DamageError{First: l.head + 1, Last: l.head + 1})
	} else if len(infos) == 0 {
		return nil
	} else if tag := infos[len(infos)-1].Tag; !owes(tag) {
		if _, fsync := parseTag(tag); fsync || clean {
			return nil
		}
	}
	// Messages may have been delivered that are not there any more.
	_, err := l.beginEpoch()
	return err
}

// loadEpochs brings the table of epochs in line with the segments, whose tags
// count: a crash may have come between an epoch and its first segment, and
// the control log may have lost something.
func (l *Log) loadEpochs(infos []seglog.SegmentInfo) error {
	var missing []record.EpochStart
	for _, info := range infos {
		e, _ := parseTag(info.Tag)
		known := func(s record.EpochStart) bool { return s.Epoch == e }
		if !slices.ContainsFunc(l.ctl.Epochs, known) && !slices.ContainsFunc(missing, known) {
			missing = append(missing, record.EpochStart{Epoch: e, First: info.First})
		}
	}
	if len(missing) == 0 && len(l.ctl.Epochs) > 0 {
		return nil
	}
	if len(l.ctl.Epochs) == 0 {
		if len(missing) == 0 {
			e, _ := parseTag(l.seg.Tag())
			missing = append(missing, record.EpochStart{Epoch: e, First: l.head + 1})
		}
	} else if last := l.ctl.Current(); last.First > missing[0].First {
		return fmt.Errorf("%w: domain %s has messages of epoch %s, which is not in the table of epochs; restore the control log from a backup",
			engine.ErrCorrupt, l.domain, missing[0].Epoch)
	}
	err := l.engine.control.change(l.dir, true, func(dst []byte) []byte {
		for _, s := range missing {
			dst = record.AppendEpoch(dst, s)
		}
		return dst
	})
	if err != nil {
		return err
	}
	for _, s := range missing {
		l.ctl.BeginEpoch(s)
	}
	return nil
}

// loadSegments reads the indexes of the sealed segments, and the segment that
// grows.
func (l *Log) loadSegments(infos []seglog.SegmentInfo) error {
	var segs []*segment
	active := index.NewActive(l.head + 1)
	for i, info := range infos {
		if info.Last < info.First {
			continue
		}
		if !info.Sealed && i == len(infos)-1 {
			a, err := l.scan(info)
			if err != nil {
				return err
			}
			active = a
			l.number = info.Number
			break
		}
		s, err := l.loadSegment(info)
		if err != nil {
			return fmt.Errorf("segment %016x of domain %s: %w", info.Number, l.domain, err)
		}
		segs = append(segs, s)
	}
	l.segs, l.active = segs, active
	return nil
}

// loadMarks brings marks in line with the messages that there are. A mark above
// the head, after messages were lost that were not on disk, must not hide what
// will get their numbers.
func (l *Log) loadMarks(infos []seglog.SegmentInfo) error {
	first := l.head + 1
	if len(infos) > 0 {
		first = infos[0].First
	}
	l.loadTable(first)
	if l.ctl.Trimmed < first-1 {
		l.ctl.Trimmed, l.ctl.TrimmedBytes = first-1, 0
	}
	return l.clampMarks()
}

// clampMarks lowers marks that lie above the head.
func (l *Log) clampMarks() error {
	above := l.ctl.Trimmed > l.head
	names := l.lowerMarks(l.head)
	if len(names) == 0 && !above {
		return nil
	}
	return l.engine.control.change(l.dir, true, func(dst []byte) []byte { return l.appendMarks(dst, names) })
}

// keysSince is the time from which on idempotency keys are remembered.
func (l *Log) keysSince() int64 {
	return l.engine.cfg.Now().UnixMicro() - engine.KeyLife.Microseconds()
}

// loadKeys remembers the idempotency keys of the last minutes. Only segments
// that have messages so young are looked at.
func (l *Log) loadKeys() error {
	since := l.keysSince()
	epochs := &page{epochs: l.ctl.Epochs}
	remember := func(k index.Key) bool {
		if k.Time > since {
			l.keys.add(k, epochs.epoch(k.First))
		}
		return true
	}
	old, err := l.table.keys(since)
	if err != nil {
		l.engine.cfg.Logger.Warn("idempotency keys of trimmed messages not read; their repeats are appended", "domain", l.domain, "error", err)
	}
	for _, k := range old {
		remember(k)
	}
	for _, s := range l.segs {
		if s.sum.Keys == 0 || s.sum.MaxTime <= since {
			continue
		}
		err := l.withIndex(s, func(x index.Index, _ *seglog.Segment) error { return x.Keys(remember) })
		if err != nil {
			return fmt.Errorf("idempotency keys of domain %s: %w", l.domain, err)
		}
	}
	return l.active.Keys(remember)
}
