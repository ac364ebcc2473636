package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Roll seals the last segment and begins a new one, which has the given tag
// and is durable when Roll returns. What was written before is synced; if
// that fails, a [RollbackError], and Roll again decides how to go on. With the
// tag that the log has already, an empty last segment stays as it is.
func (l *Log) Roll(tag Tag) error {
	defer l.tellSealed()
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.tail.Lock()
	defer l.tail.Unlock()
	if l.closed {
		return ErrClosed
	}
	if l.active != nil {
		if !l.ready {
			if err := l.prepare(); err != nil {
				return l.note(err)
			}
		}
		if _, last := l.active.mark(); last < l.active.first && tag == l.Tag() {
			return l.note(nil)
		}
		if err := l.seal(); err != nil {
			return l.note(err)
		}
	}
	if err := l.begin(tag); err != nil {
		return l.note(err)
	}
	l.rolled = nil
	return l.note(nil)
}

// ended notes a segment for OnSeal.
func (l *Log) ended(s *segment) {
	if info := s.info(); l.opts.OnSeal != nil && info.Last >= info.First {
		l.finished = append(l.finished, info)
	}
}

// tellSealed calls OnSeal for what was sealed. The caller holds no lock but
// perhaps batch.
func (l *Log) tellSealed() {
	if l.opts.OnSeal == nil {
		return
	}
	l.tail.Lock()
	infos := l.finished
	l.finished = nil
	l.tail.Unlock()
	for _, info := range infos {
		l.opts.OnSeal(info)
	}
}

// seal writes the footer of the active segment, cuts the file behind it and
// syncs it, all with one sync. The caller holds both locks. The next segment
// must not exist before, or a crash could leave a hole in the middle of the
// log. An error is a [RollbackError]; without one there is no active segment.
func (l *Log) seal() error {
	s := l.active
	end, last := s.mark()
	s.mu.Lock()
	spots := s.spots
	s.mu.Unlock()
	footer := encodeFooter(&s.key, last, end, spots)
	_, werr := l.file.WriteAt(footer, end)
	size := end + int64(len(footer))
	if werr != nil {
		// It is only needed to find things quickly. Without it the segment is
		// scanned at the next Open.
		l.log.Warn("segment sealed without footer", "dir", l.dir, "segment", s.number, "err", werr)
		size = end
	}
	if err := l.file.Truncate(size); err != nil {
		l.log.Warn("space behind the segment not given back", "dir", l.dir, "segment", s.number, "err", err)
		werr = errors.Join(werr, err)
	}
	if err := l.file.Datasync(); err != nil {
		return l.giveUp(err)
	}
	l.setSynced(end, last)
	if err := l.file.Close(); err != nil {
		l.log.Debug("segment not closed", "dir", l.dir, "segment", s.number, "err", err)
	}
	l.active, l.file, l.ready = nil, nil, false
	s.mu.Lock()
	s.sealed = true
	if werr == nil {
		t, _ := decodeTrailer(footer[len(footer)-trailerSize:], size, &s.key)
		s.trail = &t
	}
	s.mu.Unlock()
	l.ended(s)
	return nil
}

// begin makes a new active segment, durable with its name before anything is
// written to it. The caller holds both locks, and there is no active one.
func (l *Log) begin(tag Tag) error {
	h := header{
		first: l.written.Load() + 1, tag: tag,
		created: l.opts.now().Truncate(time.Second).UTC(), prevEnd: recordsStart, salt: l.opts.newSalt(),
	}
	prev, empty := l.before(tag)
	if prev != nil {
		h.prevNumber = prev.number
		h.prevEnd, _ = prev.mark()
	}
	var f File
	for {
		l.number++
		var err error
		f, err = l.fs.Create(logName(l.dir, l.number))
		if errors.Is(err, fs.ErrExist) {
			continue // left over from an attempt that could not clean up
		}
		if err != nil {
			return fmt.Errorf("make segment: %w", err)
		}
		break
	}
	h.number = l.number
	s := newSegment(l.dir, h)
	if err := l.makeDurable(f, &h); err != nil {
		f.Close()
		if rerr := l.fs.Remove(s.path); rerr != nil {
			l.log.Warn("unfinished segment not removed", "dir", l.dir, "segment", s.number, "err", rerr)
		}
		return fmt.Errorf("make segment: %w", err)
	}
	l.replace(func(view []*segment) []*segment {
		if empty != nil && view[len(view)-1] == empty {
			view = view[:len(view)-1]
		}
		return append(view, s)
	})
	if empty != nil {
		l.handles.remove(empty, true)
		l.clear(empty.path)
	}
	l.active, l.file, l.ready = s, f, true
	l.state.Lock()
	l.tag, l.syncedEnd = tag, recordsStart
	l.state.Unlock()
	return nil
}

// before finds the segment that a new one follows. An empty one with the same
// tag is replaced by it, so that a disk that fails again and again does not
// fill with empty files. Until the new one is durable it has to stay: its
// header says where the one before ends.
func (l *Log) before(tag Tag) (prev, empty *segment) {
	view := *l.segments.Load()
	n := len(view)
	if n == 0 {
		return nil, nil
	}
	prev = view[n-1]
	if _, last := prev.mark(); last >= prev.first || prev.tag != tag {
		return prev, nil
	}
	empty, prev = prev, nil
	if n > 1 {
		prev = view[n-2]
	}
	return prev, empty
}

func (l *Log) makeDurable(f File, h *header) error {
	size := min(int64(firstStep), max(l.opts.SegmentSize, recordsStart))
	if err := f.Allocate(0, size); err != nil {
		return err
	}
	if _, err := f.WriteAt(h.encode(), 0); err != nil {
		return err
	}
	if err := f.Datasync(); err != nil {
		return err
	}
	l.allocated = size
	return l.fs.SyncDir(l.dir)
}

// prepare makes the segment that Open found fit for writing, and durable what
// Open found in it. The caller holds both locks. It can be tried again: all
// that is not proven to have been synced is written anew each time, because a
// sync that failed before (in another life of the process, too) says nothing
// of pages that were not written since.
func (l *Log) prepare() error {
	s := l.active
	f, err := l.fs.OpenWrite(s.path)
	if err != nil {
		return fmt.Errorf("prepare segment %016x: %w", s.number, err)
	}
	size, err := l.mend(f, s)
	if err != nil {
		f.Close()
		return fmt.Errorf("prepare segment %016x: %w", s.number, err)
	}
	l.file, l.ready, l.allocated = f, true, size
	l.setSynced(s.mark())
	l.clearStrays()
	return nil
}

// mend does prepare's work on the file and returns its size.
func (l *Log) mend(f File, s *segment) (int64, error) {
	size, err := f.Size()
	if err != nil {
		return 0, err
	}
	end, _ := s.mark()
	if !l.repair.clean {
		// As far as is proven, not even the header may be there, or only half
		// of it.
		if _, err := f.WriteAt(s.encode(), 0); err != nil {
			return 0, err
		}
		size = max(size, recordsStart)
		if err := rewrite(f, l.repair.proven, end); err != nil {
			return 0, err
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return 0, err
		}
	}
	// Behind the end lies the mark, or what a crash tore: away with it,
	// durably, before something new comes to lie there.
	if l.repair.behind {
		if err := f.Truncate(end); err != nil {
			return 0, err
		}
		size = end
	}
	return size, f.Datasync()
}

// rewrite writes a part of a file over itself.
func rewrite(f File, from, end int64) error {
	buf := make([]byte, min(end-from, 1<<20))
	for from < end {
		b := buf[:min(end-from, int64(len(buf)))]
		if _, err := f.ReadAt(b, from); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}
