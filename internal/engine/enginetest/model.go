package enginetest

import (
	"fmt"
	"slices"

	"crier/internal/engine"
	"crier/internal/message"
	"crier/internal/topic"
)

// model is the contract at its simplest: all messages that ever were, with
// what became of them. It looks at every message for every question.
type model struct {
	clock   *Clock
	entries []fate // of sequence number i+1
	trimmed uint64 // the newest that retention looked past
}

// fate is a message and why it is gone, if it is by more than its own time to
// live.
type fate struct {
	message.Message
	gone message.Reason
	late bool // it had expired when it was taken away: a gap may be told for it, and need not
}

// appended notes a block.
func (m *model) appended(r engine.Receipt, ds []message.Draft) {
	for i := range ds {
		m.entries = append(m.entries, fate{Message: ds[i].Commit(r.ID(i), r.Time)})
	}
}

func (m *model) head() uint64 { return uint64(len(m.entries)) }

// left reports whether the message is there.
func (m *model) left(f *fate) bool { return f.gone == "" && !f.Expired(m.clock.Now()) }

// matching returns what matches in (after, upTo] and is left.
func (m *model) matching(f topic.Filter, after, upTo uint64) []message.Message {
	var found []message.Message
	for i := range m.entries {
		e := &m.entries[i]
		if seq := e.ID.Seq; after < seq && seq <= upTo && f.Match(e.Topic) && m.left(e) {
			found = append(found, e.Message)
		}
	}
	return found
}

// lost returns the newest match that is gone and must be told, and the newest
// that may be.
func (m *model) lost(f topic.Filter) (must, may uint64) {
	for i := range m.entries {
		e := &m.entries[i]
		if e.gone != "" && f.Match(e.Topic) {
			may = e.ID.Seq
			if !e.late {
				must = e.ID.Seq
			}
		}
	}
	return must, may
}

// reason says why a message is gone.
func (m *model) reason(seq uint64) message.Reason { return m.entries[seq-1].gone }

func (m *model) take(e *fate, why message.Reason) {
	if e.gone == "" {
		e.gone, e.late = why, e.Expired(m.clock.Now())
	}
}

// forget takes the history of a topic.
func (m *model) forget(name string) {
	for i := range m.entries {
		if e := &m.entries[i]; e.Topic == name {
			m.take(e, message.Deleted)
		}
	}
}

// trim takes the oldest by age and bytes.
func (m *model) trim(r engine.Retention) {
	bytes := m.bytes()
	for m.trimmed < m.head() {
		e := &m.entries[m.trimmed]
		if m.left(e) {
			old := !r.Before.IsZero() && e.Time.Before(r.Before)
			if !old && (r.Bytes <= 0 || bytes <= r.Bytes) {
				return
			}
			bytes -= int64(e.Size())
			m.take(e, message.Retention)
		} else if !r.Before.IsZero() && e.Time.Before(r.Before) {
			m.take(e, message.Retention)
		}
		m.trimmed++
	}
}

// bytes is the size of what is left.
func (m *model) bytes() int64 {
	n := int64(0)
	for i := range m.entries {
		if e := &m.entries[i]; m.left(e) {
			n += int64(e.Size())
		}
	}
	return n
}

// checkPage compares a page with what the query asks for.
func (m *model) checkPage(q engine.Query, p engine.Page) error {
	upTo := m.head()
	if q.UpTo != 0 && q.UpTo < upTo {
		upTo = q.UpTo
	}
	want := m.matching(q.Filter, q.After, upTo)
	if len(p.Messages) > len(want) {
		return fmt.Errorf("%d messages, only %d match and are left", len(p.Messages), len(want))
	}
	for i, got := range p.Messages {
		if diff := differ(got, want[i]); diff != "" {
			return fmt.Errorf("message %d of the page: %s", i, diff)
		}
	}
	if n := len(p.Messages); n < len(want) && p.Next >= want[n].ID.Seq {
		return fmt.Errorf("next is %d, but %d matches and is not in the page", p.Next, want[n].ID.Seq)
	}
	if err := m.checkPlace(q, p, upTo); err != nil {
		return err
	}
	if err := checkBounds(q, p); err != nil {
		return err
	}
	return m.checkLost(q, p)
}

// checkPlace looks at Page.Next.
func (m *model) checkPlace(q engine.Query, p engine.Page, upTo uint64) error {
	if n := len(p.Messages); n > 0 && p.Next < p.Messages[n-1].ID.Seq {
		return fmt.Errorf("next is %d, before the page's last message", p.Next)
	}
	if p.Next < min(q.After, m.head()) {
		return fmt.Errorf("next is %d, before after", p.Next)
	}
	if p.Next > max(upTo, min(q.After, m.head())) {
		return fmt.Errorf("next is %d, above what was asked for", p.Next)
	}
	if p.Next == q.After && q.After < upTo {
		return fmt.Errorf("the page leads nowhere: next is after")
	}
	return nil
}

// checkBounds looks at the limits of a page.
func checkBounds(q engine.Query, p engine.Page) error {
	limit, maxBytes := q.Limit, q.MaxBytes
	if limit == 0 {
		limit = 1000
	}
	if maxBytes == 0 {
		maxBytes = 1 << 20
	}
	if len(p.Messages) > limit {
		return fmt.Errorf("%d messages, the limit is %d", len(p.Messages), limit)
	}
	size := 0
	for i, msg := range p.Messages {
		if i > 0 && size >= maxBytes {
			return fmt.Errorf("%d bytes of data are in the page before its message %d, the limit is %d", size, i, maxBytes)
		}
		size += len(msg.Data)
	}
	return nil
}

// checkLost looks at the gap that a page tells.
func (m *model) checkLost(q engine.Query, p engine.Page) error {
	must, may := m.lost(q.Filter)
	if p.Lost <= q.After {
		if must > q.After {
			return fmt.Errorf("no gap is told, although %d matched and is gone", must)
		}
		return nil
	}
	if may <= q.After {
		return fmt.Errorf("a gap up to %d is told, although nothing that matched is gone", p.Lost)
	}
	if p.Lost < must || p.Lost > may {
		return fmt.Errorf("lost is %d, the newest match that is gone is %d", p.Lost, must)
	}
	if why := m.reason(p.Lost); p.Reason != why {
		return fmt.Errorf("the reason of the gap up to %d is %q, want %q", p.Lost, p.Reason, why)
	}
	return nil
}

// checkLast compares what Last found.
func (m *model) checkLast(f topic.Filter, n int, after, head uint64) error {
	if head != m.head() {
		return fmt.Errorf("head %d, want %d", head, m.head())
	}
	all := m.matching(f, 0, head)
	want := all[len(all)-min(n, len(all)):]
	got := m.matching(f, after, head)
	if !slices.Equal(seqsOf(got), seqsOf(want)) {
		return fmt.Errorf("after %d lie %v, the newest %d are %v", after, seqsOf(got), n, seqsOf(want))
	}
	return nil
}

// checkComplete compares what Complete found.
func (m *model) checkComplete(f topic.Filter, got uint64) error {
	if must, may := m.lost(f); got < must || got > may {
		return fmt.Errorf("complete after %d, the newest match that is gone is %d", got, must)
	}
	return nil
}

// checkTopics compares a page of topics. What has expired may be counted.
func (m *model) checkTopics(f topic.Filter, after string, limit int, got []engine.TopicInfo) error {
	sure, perhaps := m.infos(f, after)
	for i, info := range got {
		if i > 0 && got[i-1].Topic >= info.Topic {
			return fmt.Errorf("topic %q comes after %q", info.Topic, got[i-1].Topic)
		}
		low, high := sure[info.Topic], perhaps[info.Topic]
		if high.Count == 0 || info.Count < low.Count || info.Count > high.Count {
			return fmt.Errorf("topic %q has %d messages, want %d", info.Topic, info.Count, low.Count)
		}
		if info.Last != low.Last && info.Last != high.Last {
			return fmt.Errorf("the last message of topic %q is %s, want %s", info.Topic, info.Last, low.Last)
		}
	}
	for name := range sure {
		if slices.ContainsFunc(got, func(i engine.TopicInfo) bool { return i.Topic == name }) {
			continue
		}
		if len(got) < limit || name < got[len(got)-1].Topic {
			return fmt.Errorf("topic %q has messages and is not listed", name)
		}
	}
	if len(got) > limit {
		return fmt.Errorf("%d topics, the limit is %d", len(got), limit)
	}
	return nil
}

// infos lists the topics with what is left, and with what expired unless it
// was taken away.
func (m *model) infos(f topic.Filter, after string) (sure, perhaps map[string]engine.TopicInfo) {
	sure, perhaps = map[string]engine.TopicInfo{}, map[string]engine.TopicInfo{}
	for i := range m.entries {
		e := &m.entries[i]
		if e.Topic <= after || !f.Match(e.Topic) || e.gone != "" {
			continue
		}
		perhaps[e.Topic] = engine.TopicInfo{Count: perhaps[e.Topic].Count + 1, Last: e.ID}
		if m.left(e) {
			sure[e.Topic] = engine.TopicInfo{Count: sure[e.Topic].Count + 1, Last: e.ID}
		}
	}
	return sure, perhaps
}

// checkState compares the counts of a state. What has expired may be counted
// until retention looks past it, and so may what was forgotten be in Count.
func (m *model) checkState(s engine.State) error {
	if s.Head != m.head() {
		return fmt.Errorf("head %d, want %d", s.Head, m.head())
	}
	count, countMost, bytesMost := int64(0), int64(0), int64(0)
	newest, oldest := uint64(0), m.head()+1
	for i := range m.entries {
		e := &m.entries[i]
		switch {
		case m.left(e):
			count++
			oldest = min(oldest, e.ID.Seq)
		case e.gone == message.Retention && !e.late:
			newest = e.ID.Seq
		}
		if e.gone != message.Retention {
			countMost++
		}
		if e.gone == "" {
			bytesMost += int64(e.Size())
		}
	}
	switch {
	case s.Count < count || s.Count > countMost:
		return fmt.Errorf("count %d, want %d to %d", s.Count, count, countMost)
	case s.Bytes < m.bytes() || s.Bytes > bytesMost:
		return fmt.Errorf("bytes %d, want %d to %d", s.Bytes, m.bytes(), bytesMost)
	case s.Trimmed < newest || s.Trimmed >= oldest:
		return fmt.Errorf("trimmed %d; the newest that was is %d, the oldest that is left %d", s.Trimmed, newest, oldest)
	}
	return nil
}
