package bench

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// subscriber is one connection that listens to one topic, and what came.
type subscriber struct {
	*member
	domain  int // which of the load's
	topic   int
	fellows int // that get the same messages, itself among them

	got      atomic.Uint64 // different ones
	again    atomic.Uint64 // doubled ones
	trackers []tracker     // of the senders of its domain
	back     bool          // it has what it missed
}

// subscribers are all of a load.
type subscribers struct {
	all     []*subscriber
	crowd   *crowd
	domains int
	topics  int
}

// audience says who listens to a load, and who is told of what comes.
type audience struct {
	via         Transport
	subscribers int
	since       string                         // a cursor; empty: only what is new
	times       int                            // of the limit: how often each gets its block
	came        func(s *subscriber, m stamped) // told of each message
	gathering   gathering
}

// subscribe opens subscriptions, spread over domains and topics, and begins to
// read.
func subscribe(ctx context.Context, srv *server, domains []string, topics int, senders []*sender, a audience) (*subscribers, error) {
	all := &subscribers{all: make([]*subscriber, a.subscribers), domains: len(domains), topics: topics}
	members := make([]*member, a.subscribers)
	query := url.Values{}
	if a.since != "" {
		query.Set("since", a.since)
	}
	if a.times > 0 {
		query.Set("times", strconv.Itoa(a.times))
	}
	groups := len(domains) * topics
	for i := range all.all {
		s := &subscriber{domain: i % len(domains), topic: i / len(domains) % topics, fellows: a.subscribers / groups}
		if i%groups < a.subscribers%groups {
			s.fellows++
		}
		s.member = newMember(srv, a.via, "/t/"+domains[s.domain]+"/"+topicName(s.topic), query)
		s.trackers = make([]tracker, (len(senders)-s.domain+len(domains)-1)/len(domains))
		for j := range s.trackers {
			s.trackers[j].next = owed(senders[j*len(domains)+s.domain].heard, s.topic, topics)
		}
		s.take = func(payload []byte) error { return s.read(payload, all, a.came) }
		all.all[i], members[i] = s, s.member
	}
	var err error
	all.crowd, err = gather(ctx, srv, members, a.gathering)
	return all, err
}

// read takes a message.
func (s *subscriber) read(payload []byte, all *subscribers, came func(*subscriber, stamped)) error {
	m, ok := readPayload(payload)
	if !ok {
		return errForeign(payload)
	}
	topics, domains := uint64(all.topics), uint32(all.domains)
	if m.sender%domains != uint32(s.domain) || int(m.sender/domains) >= len(s.trackers) || m.number%topics != uint64(s.topic) {
		return fmt.Errorf("%w: message %d of sender %d on topic %d of domain %d", errAnswer, m.number, m.sender, s.topic, s.domain)
	}
	if s.trackers[m.sender/domains].see(m.number / topics) {
		s.got.Add(1)
	} else {
		s.again.Add(1)
	}
	came(s, m)
	return nil
}

// owed is how many of the numbers below sent are of a topic.
func owed(sent uint64, topic, topics int) uint64 {
	return (sent + uint64(topics) - 1 - uint64(topic)) / uint64(topics)
}

// owed is how many messages the subscriber should have got by now.
func (s *subscribers) owed(sub *subscriber, senders []*sender) (n uint64) {
	for i := sub.domain; i < len(senders); i += s.domains {
		n += owed(senders[i].sent, sub.topic, s.topics) - owed(senders[i].heard, sub.topic, s.topics)
	}
	return n
}

// settle waits until all have what was sent and nothing more comes, for a
// while nothing of what is missing does, or nobody listens any more.
func (s *subscribers) settle(ctx context.Context, senders []*sender) {
	var want uint64
	for _, sub := range s.all {
		want += s.owed(sub, senders)
	}
	const enough, step = 200 * time.Millisecond, 20 * time.Millisecond
	last, still := uint64(0), time.Duration(0)
	for ctx.Err() == nil {
		var got, came uint64
		for _, sub := range s.all {
			n := sub.got.Load()
			got += n
			came += n + sub.again.Load()
		}
		if still += step; came > last {
			last, still = came, 0
		}
		if still >= patience || got >= want && still >= enough || s.crowd.open.Load() == 0 {
			return
		}
		_ = sleep(ctx, step) // the loop's condition sees to it
	}
}

// count sums up the faults, after the crowd is closed.
func (s *subscribers) count(senders []*sender) (f Faults) {
	for _, sub := range s.all {
		for j := range sub.trackers {
			from := senders[j*s.domains+sub.domain]
			excused := map[uint64]bool{}
			for n := range from.failed {
				if n%uint64(s.topics) == uint64(sub.topic) {
					excused[n/uint64(s.topics)] = true
				}
			}
			f.add(&sub.trackers[j], owed(from.sent, sub.topic, s.topics), excused)
		}
	}
	return f
}

// brokenError is why a subscriber broke, if some did.
func (s *subscribers) brokenError(broken int64) string {
	if broken == 0 {
		return ""
	}
	for _, sub := range s.all {
		if sub.err != nil && !isEnd(sub.err) {
			return "subscriber: " + sub.err.Error()
		}
	}
	return "subscriber: the server ended the stream"
}
