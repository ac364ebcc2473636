package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// RemoveBefore removes the segments all of whose records have sequence
// numbers up to and including seq, with their side files. The last segment
// always stays (Roll first to get rid of it). Readers inside keep it until
// they leave.
func (l *Log) RemoveBefore(seq uint64) error {
	l.removing.Lock()
	defer l.removing.Unlock()
	for {
		if l.gone.Load() {
			return ErrClosed
		}
		var s *segment
		l.replace(func(view []*segment) []*segment {
			if len(view) < 2 {
				return view
			}
			if _, last := view[0].mark(); last > seq {
				return view
			}
			s = view[0]
			return view[1:]
		})
		if s == nil {
			return nil
		}
		err := l.settle()
		if err != nil {
			l.replace(func(view []*segment) []*segment { return slices.Insert(view, 0, s) })
		} else {
			err = l.remove(s)
		}
		if err != nil {
			return fmt.Errorf("remove segment %016x: %w", s.number, err)
		}
	}
}

// settle sees to it that the removals before are on disk: if a crash took the
// removal of an older segment back and not that of a newer, there would seem
// to be a hole.
func (l *Log) settle() error {
	if l.settled {
		return nil
	}
	err := l.fs.SyncDir(l.dir)
	l.settled = err == nil
	return err
}

// remove removes the file of the oldest segment, which is out of the list
// already, and syncs the directory.
func (l *Log) remove(s *segment) error {
	l.handles.remove(s, true)
	if err := l.fs.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.handles.remove(s, false)
		l.replace(func(view []*segment) []*segment { return slices.Insert(view, 0, s) })
		return err
	}
	if err := l.fs.Remove(s.side); err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.log.Warn("side file not removed", "file", s.side, "err", err)
	}
	l.settled = false
	return l.settle()
}

// WriteSide writes the side file of a segment, whole or not at all. It may be
// lost or stale after a crash, so that its content needs its own check.
// [ErrRemoved] if the segment is gone.
func (l *Log) WriteSide(number uint64, data []byte) error {
	// A segment that is removed meanwhile would leave its side file behind.
	l.removing.Lock()
	defer l.removing.Unlock()
	if l.gone.Load() {
		return ErrClosed
	}
	s, err := l.segment(number)
	if err != nil {
		return err
	}
	if err := l.writeSide(s, data); err != nil {
		return fmt.Errorf("write side file of segment %016x: %w", number, err)
	}
	l.handles.dropSide(s)
	return nil
}

func (l *Log) writeSide(s *segment, data []byte) error {
	temp := s.side + tempEnd
	if err := l.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := l.fs.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Datasync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = l.fs.Rename(temp, s.side)
	}
	if err != nil {
		l.clear(temp)
	}
	return err
}

// Unindexed lists the sealed segments that have records and no side file,
// oldest first.
func (l *Log) Unindexed() ([]SegmentInfo, error) {
	names, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return nil, fmt.Errorf("read log directory: %w", err)
	}
	var missing []SegmentInfo
	for _, s := range *l.segments.Load() {
		if info := s.info(); info.Sealed && info.Last >= info.First && !slices.Contains(names, path.Base(s.side)) {
			missing = append(missing, info)
		}
	}
	return missing, nil
}

// Destroy removes a log that is not open, with its directory if nothing else
// is in it. A log that is not there is no error.
func Destroy(fsys FS, dir string) error {
	names, err := fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("destroy log %s: %w", dir, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if _, _, ok := parseName(name); !ok {
			continue
		}
		if err := fsys.Remove(path.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("destroy log %s: %w", dir, err)
		}
	}
	if err := fsys.Remove(dir); err != nil {
		return fmt.Errorf("destroy log %s: %w", dir, err)
	}
	return fsys.SyncDir(path.Dir(dir))
}
