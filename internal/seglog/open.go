package seglog

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"slices"
)

const (
	defaultSegmentSize = 64 << 20
	defaultIdleFiles   = 2
)

// Open opens the log in a directory, or makes it. Only one Log of a directory
// may be open, in one process; the caller sees to that. If the log exists and
// cannot be written to (disk full, read-only), it opens all the same for
// readers; [Log.Err] and Write tell why.
//
// It reads header and trailer of each segment and the whole of the last one.
// To look at the records of that again, use [Log.ReadSegment].
func Open(fsys FS, dir string, o Options) (*Log, error) {
	l, err := open(fsys, dir, o)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, err)
	}
	return l, nil
}

func open(fsys FS, dir string, o Options) (*Log, error) {
	o.First = cmp.Or(o.First, 1)
	o.SegmentSize = cmp.Or(o.SegmentSize, defaultSegmentSize)
	o.IdleFiles = cmp.Or(o.IdleFiles, defaultIdleFiles)
	if o.SegmentSize < 0 || o.SegmentSize > MaxSegmentSize {
		return nil, fmt.Errorf("segment size is at most %d bytes, got %d", MaxSegmentSize, o.SegmentSize)
	}
	l := &Log{fs: fsys, dir: dir, opts: o, log: o.Logger}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	l.handles = handles{fs: fsys, most: o.IdleFiles}
	l.segments.Store(new([]*segment))

	if err := fsys.MkdirAll(dir); err != nil {
		return nil, err
	}
	onDisk, err := l.load()
	if err != nil {
		return nil, err
	}
	if len(onDisk) == 0 {
		return l, l.start()
	}
	return l, l.recover(onDisk)
}

// newSalt draws the salt of a segment.
func (o *Options) newSalt() uint32 {
	if o.salt != 0 {
		return o.salt
	}
	var b [4]byte
	rand.Read(b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// start makes the first segment of a new log.
func (l *Log) start() error {
	l.found.Clean = !l.found.LostEnd
	l.written.Store(l.opts.First - 1)
	l.synced.Store(l.opts.First - 1)
	return l.begin(l.opts.Tag)
}

// stored is a segment as its header and trailer describe it.
type stored struct {
	*segment
	size    int64
	trailer *trailer
}

// load reads the directory: headers and trailers of all segments, oldest
// first. It clears away what an earlier life left over.
func (l *Log) load() ([]stored, error) {
	names, err := l.fs.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	logs := make(map[uint64]bool)
	var numbers []uint64
	for _, name := range names {
		number, end, ok := parseName(name)
		if !ok {
			continue
		}
		l.number = max(l.number, number)
		if end == logEnd {
			logs[number] = true
			numbers = append(numbers, number)
		}
	}
	for _, name := range names {
		number, end, ok := parseName(name)
		if ok && (end == sideEnd+tempEnd || end == sideEnd && !logs[number]) {
			l.clear(path.Join(l.dir, name))
		}
	}
	var found []stored
	for i, number := range numbers {
		st, err := l.describe(number)
		switch {
		case errors.Is(err, errNoHeader):
			if err := l.putAside(number, i == len(numbers)-1); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			found = append(found, st)
		}
	}
	return found, nil
}

// clear removes a file that nobody needs.
func (l *Log) clear(name string) {
	if err := l.fs.Remove(name); err != nil {
		l.log.Warn("leftover file not removed", "file", name, "err", err)
	}
}

// describe reads header and trailer of a segment.
func (l *Log) describe(number uint64) (stored, error) {
	name := logName(l.dir, number)
	f, err := l.fs.Open(name)
	if err != nil {
		return stored{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return stored{}, err
	}
	b := make([]byte, recordsStart)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return stored{}, err
	}
	h, err := decodeHeader(b[:min(n, headerSize)])
	if errors.Is(err, errNoHeader) {
		h, err = decodeHeader(b[min(n, headerCopy):n])
	}
	if err != nil {
		return stored{}, fmt.Errorf("%s: %w", name, err)
	}
	if h.number != number || h.first == 0 {
		return stored{}, fmt.Errorf("%s: %w", name, errNoHeader)
	}
	st := stored{segment: newSegment(l.dir, h), size: size}
	if size < recordsStart+trailerSize {
		return st, nil
	}
	b = b[:trailerSize]
	if _, err := f.ReadAt(b, size-trailerSize); err != nil && !errors.Is(err, errnoIO) {
		return stored{}, err
	}
	if t, err := decodeTrailer(b, size, &st.key); err == nil {
		st.trailer = &t
	}
	return st, nil
}

// putAside deals with a file without a valid header. The newest may be one
// that was just being made when a crash came: then it never held a record and
// goes. Any other is kept under another name.
func (l *Log) putAside(number uint64, newest bool) error {
	name := logName(l.dir, number)
	if newest {
		blank, err := l.blank(name)
		if err != nil {
			return err
		}
		if blank {
			l.clear(name)
			return nil
		}
		l.found.LostEnd = true
	}
	l.log.Error("segment without a valid header, put aside", "file", name)
	if err := l.fs.Rename(name, fileName(l.dir, number, damagedEnd)); err != nil {
		l.log.Error("damaged segment not renamed", "file", name, "err", err)
	}
	return nil
}

// blank reports whether there is nothing in a file where records would be.
func (l *Log) blank(name string) (bool, error) {
	f, err := l.fs.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	w := window{pool: &l.buffers}
	defer w.close()
	w.open(f, size)
	for off := int64(recordsStart); off < w.limit; off += windowStart {
		b, err := w.at(off, windowStart)
		if err != nil {
			return false, err
		}
		if len(bytes.Trim(b, "\x00")) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// recover finds out what of the segments is good, from the newest back.
func (l *Log) recover(found []stored) error {
	var view []*segment // newest first
	var next *segment
	for _, st := range slices.Backward(found) {
		if err := l.examine(&st, next); err != nil {
			return err
		}
		s := st.segment
		if next != nil && s.last < s.first && next.prevNumber != s.number {
			// Made by an attempt that failed afterwards and could not take it
			// away; the log went on without it.
			l.strays = append(l.strays, s.path)
			continue
		}
		view, next = append(view, s), s
	}
	slices.Reverse(view)
	l.segments.Store(&view)
	l.tellHoles(view)

	s := l.newest()
	l.active, l.tag = s, s.tag
	l.found.Clean = l.repair.clean && !l.found.LostEnd
	l.written.Store(s.last)
	l.synced.Store(l.repair.sure)
	if l.repair.cut > 0 {
		l.found.Cut, l.found.CutAt, l.found.CutRecords = l.repair.cut, s.end, l.repair.lost
		l.log.Warn("torn tail cut off", "dir", l.dir, "segment", s.number, "at", s.end,
			"bytes", l.repair.cut, "good_records", l.repair.lost)
	}
	for _, d := range l.found.Damage {
		l.log.Error("log damaged", "dir", l.dir, "segment", d.Segment, "first_lost", d.First, "last_lost", d.Last)
	}
	// What a crash left written may not be on disk yet. If it cannot be put
	// there now, it stays unsynced, and the next Write or Sync tries again.
	if l.repair.clean {
		l.clearStrays()
	} else if err := l.note(l.prepare()); err != nil {
		l.log.Error("log cannot be written to", "dir", l.dir, "err", err)
	}
	return nil
}

// clearStrays removes segments that are not part of the log, once it is sure
// that the newest one, which says so, is on disk.
func (l *Log) clearStrays() {
	for _, name := range l.strays {
		l.clear(name)
	}
	l.strays = nil
}

// examine finds out where the good records of one segment end. next is the
// segment that follows; before that was made, this one was synced up to where
// the header of next says.
func (l *Log) examine(st *stored, next *segment) error {
	s, t := st.segment, st.trailer
	if next == nil {
		limit := st.size
		if t != nil {
			// It was sealed, but nothing proves that the seal reached the
			// disk: it is as good as not sealed, and will be written on.
			limit = t.dataEnd
		}
		got, err := l.scan(s, limit, recordsStart, 0)
		if err != nil {
			return err
		}
		s.end, s.last, s.spots, l.repair = got.end, got.last, got.spots, got
		l.repair.behind = got.behind || t != nil // the footer has to go
		l.found.Damage = append(l.found.Damage, got.damage...)
		return nil
	}
	s.sealed = true
	bounded := next.prevNumber == s.number
	if t != nil && t.last < next.first && (!bounded || t.dataEnd == next.prevEnd && t.last == next.first-1) {
		s.end, s.last, s.trail = t.dataEnd, t.last, t
		return nil
	}
	limit, known := st.size, int64(recordsStart)
	if bounded {
		limit, known = min(limit, next.prevEnd), next.prevEnd
	}
	got, err := l.scan(s, limit, known, next.first)
	if err != nil {
		return err
	}
	s.end, s.last, s.spots = got.end, got.last, got.spots
	l.found.Damage = append(l.found.Damage, got.damage...)
	if bounded && s.last < next.first-1 {
		l.found.Damage = append(l.found.Damage, DamageError{Segment: s.number, First: s.last + 1, Last: next.first - 1})
		s.end, s.last = limit, next.first-1
	}
	return nil
}

// scan scans a segment's file; see the function of that name.
func (l *Log) scan(s *segment, limit, known int64, below uint64) (scanned, error) {
	f, err := l.fs.Open(s.path)
	if err != nil {
		return scanned{}, err
	}
	defer f.Close()
	w := walker{window: window{pool: &l.buffers}, key: s.key, below: below}
	defer w.close()
	w.open(f, limit)
	return scan(&w, s.first, known)
}

// tellHoles reports records that lie in no segment.
func (l *Log) tellHoles(view []*segment) {
	for i := 1; i < len(view); i++ {
		if first := view[i-1].last + 1; first < view[i].first {
			l.found.Damage = append(l.found.Damage,
				DamageError{Segment: view[i].number, First: first, Last: view[i].first - 1})
		}
	}
	slices.SortFunc(l.found.Damage, func(a, b DamageError) int { return cmp.Compare(a.First, b.First) })
}
