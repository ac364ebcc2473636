package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"crier/internal/engine/embedded/index"
	"crier/internal/message"
	"crier/internal/seglog"
)

// marksPrefix begins the name of a table of marks; how far it covers, in 16
// hex digits, ends it.
const marksPrefix = "marks-"

// errTableReplaced: the table was replaced by a newer one; ask that.
var errTableReplaced = errors.New("table of marks was replaced")

// markTable is the file with the marks of the topics that lost messages with
// segments that were removed. A markTable does not change: when segments are
// removed, a new one takes its place. There may be no file: then only the low
// mark counts.
type markTable struct {
	log    *Log
	low    uint64 // the mark of topics that are not in the file
	covers uint64 // segments up to here are counted in
	file   bool
}

func (t *markTable) path() string {
	return path.Join(domainsDir, t.log.dir, fmt.Sprintf("%s%016x", marksPrefix, t.covers))
}

// open opens the file; the caller closes it.
func (t *markTable) open() (*index.Table, seglog.File, error) {
	f, err := t.log.engine.fs.Open(t.path())
	if err != nil {
		return nil, nil, err
	}
	size, err := f.Size()
	if err == nil {
		var x *index.Table
		if x, err = index.OpenTable(f, size); err == nil {
			return x, f, nil
		}
	}
	return nil, nil, errors.Join(err, f.Close())
}

// lost finds the newest mark of what matches.
func (t *markTable) lost(g *gone) (loss, error) {
	var low loss
	if t.low > 0 {
		low = loss{t.low, message.Retention}
	}
	if !t.file {
		return low, nil
	}
	x, f, err := t.open()
	if errors.Is(err, fs.ErrNotExist) && t.replaced() {
		return loss{}, errTableReplaced
	}
	if err != nil {
		return t.unreadable(err), nil
	}
	defer f.Close()
	newest := loss{}
	switch {
	case g.exact:
		for _, name := range g.topics {
			m, ok, lerr := x.Lookup(name)
			err = errors.Join(err, lerr)
			if !ok {
				newest = newest.newer(low)
			}
			newest = newest.newer(lossOf(m))
		}
	case g.filter.MatchesAll():
		newest = low.newer(lossOf(x.Marks().Newest))
	default:
		newest = low
		from := g.from()
		err = x.Walk(from, func(m index.Mark) bool {
			if m.Seq > newest.seq && g.filter.Match(m.Topic) {
				newest = lossOf(m)
			}
			return strings.HasPrefix(m.Topic, from)
		})
	}
	if err != nil {
		return t.unreadable(err), nil
	}
	return newest, nil
}

func (t *markTable) replaced() bool {
	t.log.mu.RLock()
	defer t.log.mu.RUnlock()
	return t.log.table != t
}

// unreadable is what is told when the file cannot be read: everything up to
// where it covers may be gone.
func (t *markTable) unreadable(err error) loss {
	t.log.engine.cfg.Logger.Warn("marks of trimmed topics not read, gaps may be told needlessly",
		"domain", t.log.domain, "file", t.path(), "error", err)
	return loss{t.covers, message.Retention}
}

// all walks the marks of the file.
func (t *markTable) all() ([]index.Mark, error) {
	if !t.file {
		return nil, nil
	}
	x, f, err := t.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	marks := make([]index.Mark, 0, x.Marks().Count)
	err = x.Walk("", func(m index.Mark) bool {
		marks = append(marks, m)
		return true
	})
	return marks, err
}

// keys gives the idempotency keys of the file that are younger than since.
func (t *markTable) keys(since int64) (keys []index.Key, err error) {
	if !t.file {
		return nil, nil
	}
	x, f, err := t.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	err = x.Keys(func(k index.Key) bool {
		if k.Time > since {
			keys = append(keys, k)
		}
		return true
	})
	return keys, err
}

// write writes a file with the given marks, which are in order.
func (t *markTable) write(marks iter.Seq[index.Mark], keys []index.Key) error {
	fsys, temp := t.log.engine.fs, path.Join(domainsDir, t.log.dir, marksPrefix+"new")
	if err := fsys.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(temp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(index.BuildTable(t.low, t.covers, marks, keys), 0)
	if err == nil {
		err = f.Datasync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(temp, t.path())
	}
	if err == nil {
		err = fsys.SyncDir(path.Dir(temp))
	}
	return err
}

func (t *markTable) remove() {
	if !t.file {
		return
	}
	if err := t.log.engine.fs.Remove(t.path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.log.engine.cfg.Logger.Warn("old table of marks not removed", "domain", t.log.domain, "file", t.path(), "error", err)
	}
}

// loadTable finds the newest table, for a log whose first message is at first.
// What was removed beyond it decides for all topics.
func (l *Log) loadTable(first uint64) {
	t := &markTable{log: l}
	names, err := l.engine.fs.ReadDir(domainsDir + "/" + l.dir)
	if err != nil {
		t.unreadable(err)
	}
	for _, name := range names {
		digits, ok := strings.CutPrefix(name, marksPrefix)
		covers, err := strconv.ParseUint(digits, 16, 64)
		if !ok || err != nil {
			continue
		}
		found := &markTable{log: l, covers: covers, file: true}
		if covers < t.covers {
			found.remove()
			continue
		}
		t.remove()
		t = found
	}
	if t.file {
		x, f, err := t.open()
		if err != nil {
			t.low = t.unreadable(err).seq
			t.file = false
		} else {
			t.low = x.Marks().Low
			f.Close()
		}
	}
	if t.covers+1 < first {
		// Segments went without marks: nobody knows which topics were in them.
		t = &markTable{log: l, low: first - 1, covers: first - 1}
	}
	l.table = t
}

// removeSegments removes the segments that are trimmed wholly, after the marks
// of their topics were put into a new table. The caller holds history.
func (l *Log) removeSegments() error {
	l.mu.RLock()
	n := 0
	for n < len(l.segs) && l.segs[n].sum.Last <= l.ctl.Trimmed {
		n++
	}
	going, staying, old := l.segs[:n], l.segs[n:], l.table
	l.mu.RUnlock()
	if n == 0 {
		return nil
	}
	last := going[n-1].sum.Last
	table, err := l.nextTable(old, going, staying)
	if err != nil {
		l.engine.cfg.Logger.Warn("marks of trimmed topics not written, gaps may be told needlessly", "domain", l.domain, "error", err)
		table = &markTable{log: l, low: last, covers: last}
	}
	l.mu.Lock()
	var settled []string
	for name, seq := range l.ctl.Forgets {
		if seq <= last {
			settled = append(settled, name)
			delete(l.ctl.Forgets, name)
		}
	}
	for _, s := range going {
		delete(l.ctl.Forgotten, s.number)
	}
	l.segs = slices.Clone(l.segs[n:])
	l.table = table
	l.mu.Unlock()
	old.remove()
	l.noteTrim(settled)
	return l.seg.RemoveBefore(last)
}

// nextTable makes the table that counts in the segments that go.
func (l *Log) nextTable(old *markTable, going, staying []*segment) (*markTable, error) {
	last := going[len(going)-1].sum.Last
	fresh, err := l.marksOf(going, last)
	if err != nil {
		return nil, err
	}
	known, err := old.all()
	if err != nil {
		known, old = nil, &markTable{log: l, low: old.covers}
	}
	marks := mergeMarks(known, fresh)
	t := &markTable{log: l, low: old.low, covers: last, file: true}
	if most := l.engine.cfg.MaxMarks; len(marks) > most+most/4 {
		if marks, t.low, err = l.evict(marks, t.low, staying); err != nil {
			return nil, err
		}
	}
	keys, err := l.keysOf(old, going)
	if err != nil {
		return nil, err
	}
	return t, t.write(slices.Values(marks), keys)
}

// keysOf gives the idempotency keys that are to be remembered although their
// segments go.
func (l *Log) keysOf(old *markTable, going []*segment) ([]index.Key, error) {
	since := l.keysSince()
	keys, err := old.keys(since)
	if err != nil {
		keys = nil // said already
	}
	for _, s := range going {
		if s.sum.Keys == 0 || s.sum.MaxTime <= since {
			continue
		}
		err := l.withIndex(s, func(x index.Index, _ *seglog.Segment) error {
			return x.Keys(func(k index.Key) bool {
				if k.Time > since {
					keys = append(keys, k)
				}
				return true
			})
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// marksOf gives the marks of the topics of segments, in order.
func (l *Log) marksOf(segs []*segment, last uint64) ([]index.Mark, error) {
	byTopic := map[string]index.Mark{}
	g := gone{log: l, trimmed: last, passes: slices.Clone(l.passes)} // they change under history only
	for _, s := range segs {
		err := l.withIndex(s, func(x index.Index, hold *seglog.Segment) error {
			var broken error
			err := x.Names("", func(t index.Topic) bool {
				var found loss
				if found, broken = g.ofTopic(x, hold, t); broken != nil {
					return false
				}
				m := index.Mark{Topic: t.Name, Seq: found.seq}
				if seq := l.forgetMark(t.Name); seq > 0 && seq <= last && seq >= m.Seq {
					m.Seq, m.Deleted = seq, true
				}
				if m.Seq > byTopic[t.Name].Seq {
					byTopic[t.Name] = m
				}
				return true
			})
			return errors.Join(err, broken)
		})
		if err != nil {
			return nil, err
		}
	}
	marks := make([]index.Mark, 0, len(byTopic))
	for _, m := range byTopic {
		marks = append(marks, m)
	}
	slices.SortFunc(marks, func(a, b index.Mark) int { return cmp.Compare(a.Topic, b.Topic) })
	return marks, nil
}

func (l *Log) forgetMark(name string) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.ctl.Forgets[name]
}

// mergeMarks merges two rows of marks; of one topic the newer stays.
func mergeMarks(a, b []index.Mark) []index.Mark {
	merged := make([]index.Mark, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := cmp.Compare(a[0].Topic, b[0].Topic); {
		case c < 0:
			merged, a = append(merged, a[0]), a[1:]
		case c > 0:
			merged, b = append(merged, b[0]), b[1:]
		default:
			if a[0].Seq > b[0].Seq {
				b[0] = a[0]
			}
			a = a[1:]
		}
	}
	return append(append(merged, a...), b...)
}

// evict leaves the marks of the topics that were trimmed last, and of those
// that have messages, and raises the low mark to the highest that goes.
func (l *Log) evict(marks []index.Mark, low uint64, staying []*segment) ([]index.Mark, uint64, error) {
	seqs := make([]uint64, len(marks))
	for i, m := range marks {
		seqs[i] = m.Seq
	}
	slices.Sort(seqs)
	least := seqs[len(seqs)-l.engine.cfg.MaxMarks]
	live := map[string]bool{}
	for _, m := range marks {
		if m.Seq < least {
			live[m.Topic] = false
		}
	}
	note := func(t index.Topic) bool {
		if _, ok := live[t.Name]; ok {
			live[t.Name] = true
		}
		return true
	}
	for _, s := range staying {
		err := l.withIndex(s, func(x index.Index, _ *seglog.Segment) error { return x.Names("", note) })
		if err != nil {
			return nil, 0, err
		}
	}
	l.mu.RLock()
	for name := range live {
		if _, ok, _ := l.active.Lookup(name); ok { // which does not fail
			live[name] = true
		}
	}
	l.mu.RUnlock()
	marks = slices.DeleteFunc(marks, func(m index.Mark) bool {
		goes := m.Seq < least && !live[m.Topic]
		if goes {
			low = max(low, m.Seq)
		}
		return goes
	})
	return marks, low, nil
}
