package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"crier/internal/engine"
	"crier/internal/engine/embedded/index"
	"crier/internal/engine/embedded/record"
	"crier/internal/seglog"
	"crier/internal/topic"
)

// scanBytes bounds what one call looks through when little of it matches: the
// page is short then, or empty, and says how far it looked.
const scanBytes = 64 << 20

// dense is when looking through a segment beats its index: from one message in
// so many on.
const dense = 12

// reading is a Read under way.
type reading struct {
	log    *Log
	filter topic.Filter
	topics []string // of a filter without wildcards
	exact  bool
	all    bool
	at     uint64 // everything that matches up to here is in the page or gone
	upTo   uint64
	page   *page
	budget int64 // bytes that may yet be looked through

	reader *seglog.Reader // for looking through
	buf    []byte         // of one record
	found  []index.Posting
	last   matched
}

// matched remembers the last topic that was matched, for rows of the same.
type matched struct {
	topic string
	ok    bool
}

// Read returns a page. A filter of topics costs what it returns; one with
// wildcards looks through the log, at most 64 MiB of it a call.
func (l *Log) Read(ctx context.Context, q engine.Query) (engine.Page, error) {
	rd, err := l.newReading(ctx, q)
	if err != nil {
		return engine.Page{}, fmt.Errorf("read domain %s: %w", l.domain, err)
	}
	defer rd.close()
	for !rd.page.full() && rd.at < rd.upTo && rd.budget > 0 {
		err := ctx.Err()
		if err == nil {
			err = rd.step()
		}
		switch {
		case err == nil:
		case errors.Is(err, seglog.ErrRemoved), errors.Is(err, seglog.ErrRolledBack):
			if err := rd.refresh(); err != nil && rd.at <= q.After {
				return engine.Page{}, failed("read domain "+l.domain, err)
			} else if err != nil {
				rd.budget = 0 // what was found is good
			}
		case errors.Is(err, seglog.ErrClosed):
			return engine.Page{}, fmt.Errorf("read domain %s: %w", l.domain, engine.ErrClosed)
		case ctx.Err() != nil:
			return engine.Page{}, fmt.Errorf("read domain %s: %w", l.domain, err)
		default:
			return engine.Page{}, failed("read domain "+l.domain, err)
		}
	}
	lost, err := l.lost(q.Filter, q.After)
	if err != nil {
		return engine.Page{}, failed("read domain "+l.domain, err)
	}
	return engine.Page{Messages: rd.page.messages, Next: rd.at, Lost: lost.seq, Reason: lost.reason}, nil
}

func (l *Log) newReading(ctx context.Context, q engine.Query) (*reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rd := &reading{log: l, filter: q.Filter, all: q.Filter.MatchesAll(), budget: scanBytes}
	rd.topics, rd.exact = q.Filter.Topics()
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.gone {
		return nil, engine.ErrClosed
	}
	rd.upTo = l.head
	if q.UpTo != 0 {
		rd.upTo = min(q.UpTo, l.head)
	}
	rd.at = min(q.After, l.head)
	if rd.at < rd.upTo {
		rd.at = min(max(rd.at, l.ctl.Trimmed), rd.upTo)
	}
	rd.page = newPage(q, l.engine.cfg.Now().UnixMicro(), l.engine.strings, l.ctl.Epochs)
	return rd, nil
}

// refresh goes on after the log changed below the reader's feet. An error says
// that there is no end to go on to before the log is mended.
func (rd *reading) refresh() error {
	l := rd.log
	l.mu.RLock()
	defer l.mu.RUnlock()
	rd.upTo = min(rd.upTo, l.head)
	rd.at = min(max(rd.at, l.ctl.Trimmed), max(rd.at, rd.upTo))
	rd.page.epochs = l.ctl.Epochs
	if rd.reader != nil {
		rd.reader.Seek(rd.at)
	}
	if end := l.seg.Written(); end < rd.upTo {
		return fmt.Errorf("messages above %d are being brought back: %w", end, engine.ErrUnavailable)
	}
	return nil
}

func (rd *reading) close() {
	if rd.reader != nil {
		rd.reader.Close()
	}
}

// step goes on by one segment, or until the page is full.
func (rd *reading) step() error {
	if !rd.exact {
		return rd.scan(rd.upTo)
	}
	l := rd.log
	l.mu.RLock()
	i, _ := slices.BinarySearchFunc(l.segs, rd.at+1, func(s *segment, seq uint64) int {
		return cmp.Compare(s.sum.Last, seq)
	})
	if i == len(l.segs) {
		return rd.stepActive() // which unlocks
	}
	s := l.segs[i]
	l.mu.RUnlock()
	end := min(s.sum.Last, rd.upTo)
	var rare bool
	err := l.withIndex(s, func(x index.Index, hold *seglog.Segment) error {
		var err error
		if rare, err = rd.postings(x, end); err != nil || !rare {
			return err
		}
		return rd.fetch(hold, end)
	})
	if err == nil && !rare {
		err = rd.scan(end)
	}
	return err
}

// stepActive goes on in the segment that grows. It gives the read lock back.
func (rd *reading) stepActive() error {
	l := rd.log
	number := l.number
	rare, err := rd.postings(l.active, rd.upTo)
	l.mu.RUnlock()
	if err != nil {
		return err
	}
	if !rare {
		return rd.scan(rd.upTo)
	}
	if len(rd.found) == 0 {
		rd.at = rd.upTo
		return nil
	}
	hold, err := l.seg.Acquire(number)
	if err != nil {
		return err
	}
	defer hold.Release()
	return rd.fetch(hold, rd.upTo)
}

// postings finds the next messages of the topics in a segment, up to end, or
// that they are so many that looking through is better: not rare.
func (rd *reading) postings(x index.Index, end uint64) (rare bool, err error) {
	rd.found = rd.found[:0]
	var topics [topic.MaxPatterns]index.Topic
	found, count := topics[:0], 0
	for _, name := range rd.topics {
		t, ok, err := x.Lookup(name)
		if err != nil {
			return false, err
		}
		if ok && t.Last > rd.at {
			found = append(found, t)
			count += t.Count
		}
	}
	sum := x.Summary()
	if count > 64 && count*dense > sum.Count() {
		return false, nil
	}
	for _, t := range found {
		// A few more than asked for, because some may have expired.
		if rd.found, err = x.After(rd.found, t, rd.at, end, rd.page.room+16); err != nil {
			return false, err
		}
	}
	if len(found) > 1 {
		slices.SortFunc(rd.found, func(a, b index.Posting) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	if most := rd.page.room + 16; len(rd.found) > most {
		rd.found = rd.found[:most]
	}
	return true, nil
}

// fetch reads the messages that postings found. If those were all up to end,
// the reading is there then.
func (rd *reading) fetch(hold *seglog.Segment, end uint64) error {
	rd.page.expect(len(rd.found))
	all := len(rd.found) < rd.page.room+16
	var m record.Message
	for _, p := range rd.found {
		rec, err := hold.ReadAt(p.Offset, rd.buf)
		if errors.Is(err, seglog.ErrDamaged) {
			if hold.Info().Last < p.Seq { // taken back, which the index does not know yet
				return seglog.ErrRolledBack
			}
			rd.log.noteDamage(seglog.DamageError{Segment: hold.Info().Number, First: p.Seq, Last: p.Seq})
			rd.at = p.Seq
			continue
		}
		if err != nil {
			return err
		}
		if cap(rec.Payload) > cap(rd.buf) {
			rd.buf = rec.Payload[:cap(rec.Payload)]
		}
		rd.budget -= int64(len(rec.Payload))
		if err := rd.take(rec, &m); err != nil {
			return err
		}
		if rd.page.full() {
			return nil
		}
	}
	if all {
		rd.at = end
	}
	return nil
}

// scan looks through the log up to end.
func (rd *reading) scan(end uint64) error {
	if rd.reader == nil {
		rd.reader = rd.log.seg.NewReader(rd.at)
	} else {
		rd.reader.Seek(rd.at)
	}
	if rd.all {
		rd.page.expect(int(end - rd.at))
	}
	var m record.Message
	for rd.at < end && !rd.page.full() && rd.budget > 0 {
		rec, err := rd.reader.Next()
		if damage, ok := errors.AsType[*seglog.DamageError](err); ok {
			rd.log.noteDamage(*damage)
			rd.at = min(max(rd.at, damage.Last), end)
			continue
		}
		if err == io.EOF {
			// The log was taken back meanwhile.
			return seglog.ErrRolledBack
		}
		if err != nil {
			return err
		}
		if rec.Seq > end {
			rd.at = end
			return nil
		}
		rd.budget -= int64(len(rec.Payload) + seglog.Overhead)
		if err := rd.take(rec, &m); err != nil {
			return err
		}
	}
	return nil
}

// take puts a record into the page if it matches and is still there.
func (rd *reading) take(rec seglog.Record, m *record.Message) error {
	l := rd.log
	if err := record.Parse(rec.Payload, m); err != nil {
		l.noteDamage(seglog.DamageError{Segment: rec.Segment, First: rec.Seq, Last: rec.Seq})
		rd.at = max(rd.at, rec.Seq)
		return nil
	}
	rd.at = max(rd.at, rec.Seq)
	if rd.matches(m.Topic) && !l.forgotten(m.Topic, rec.Seq) {
		rd.page.add(rec.Seq, m)
	}
	return nil
}

func (rd *reading) matches(name []byte) bool {
	if rd.all {
		return true
	}
	if rd.last.topic != string(name) || rd.last.topic == "" {
		s := rd.log.engine.strings.string(name)
		rd.last = matched{topic: s, ok: rd.filter.Match(s)}
	}
	return rd.last.ok
}

// forgotten reports whether a message was deleted with its topic's history.
func (l *Log) forgotten(topicName []byte, seq uint64) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.ctl.Forgets) > 0 && l.ctl.Forgets[string(topicName)] >= seq
}
