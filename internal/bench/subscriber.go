package bench

import (
	"context"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// subscriber is one connection that listens to one topic, and what came.
type subscriber struct {
	domain   string
	topic    int
	topics   int
	listener *listener

	got     atomic.Uint64       // different ones
	again   atomic.Uint64       // doubled ones
	senders map[uint32]*tracker // those whose messages it gets
	broken  error               // set before the reading goroutine ends
}

// subscribers are all of a load, with the goroutines that read.
type subscribers struct {
	all     []*subscriber
	reading sync.WaitGroup
	broken  atomic.Int64
}

// subscribe opens n subscriptions, spread over domains and topics, and begins
// to read. came is told of each message.
func subscribe(ctx context.Context, srv *server, via Transport, domains []string, topics, n, buffer int, senders []*sender, came func(s stamped)) (*subscribers, error) {
	all := &subscribers{all: make([]*subscriber, n)}
	for i := range all.all {
		s := &subscriber{domain: domains[i%len(domains)], topic: i / len(domains) % topics, topics: topics, senders: map[uint32]*tracker{}}
		for _, from := range senders {
			if from.domain == s.domain {
				s.senders[from.id] = new(tracker)
			}
		}
		all.all[i] = s
	}
	err := inParallel(ctx, n, func(ctx context.Context, i int) (err error) {
		s := all.all[i]
		s.listener, err = srv.listen(ctx, via, "/t/"+s.domain+"/"+topicName(s.topic), url.Values{}, buffer)
		return err
	})
	if err != nil {
		all.close()
		return nil, fmt.Errorf("connect %d subscribers: %w", n, err)
	}
	for _, s := range all.all {
		all.reading.Go(func() {
			if s.broken = s.read(came); s.broken != nil {
				all.broken.Add(1)
			}
		})
	}
	return all, nil
}

// read reads until the connection ends, which is always an error.
func (s *subscriber) read(came func(stamped)) error {
	return s.listener.each(func(payload []byte) error {
		m, ok := readPayload(payload)
		if !ok {
			return fmt.Errorf("%w: a message that is not of this load: %.60q", errAnswer, payload)
		}
		t := s.senders[m.sender]
		if t == nil || m.number%uint64(s.topics) != uint64(s.topic) {
			return fmt.Errorf("%w: message %d of sender %d on topic %d of domain %s", errAnswer, m.number, m.sender, s.topic, s.domain)
		}
		if t.see(m.number / uint64(s.topics)) {
			s.got.Add(1)
		} else {
			s.again.Add(1)
		}
		came(m)
		return nil
	})
}

// owed is how many messages the subscriber should have got of a sender that
// used the numbers below sent.
func (s *subscriber) owed(sent uint64) uint64 {
	return (sent + uint64(s.topics) - 1 - uint64(s.topic)) / uint64(s.topics)
}

// settle waits until all have what was sent and nothing more comes, or for a
// while nothing of what is missing does.
func (s *subscribers) settle(ctx context.Context, senders []*sender) {
	var want uint64
	for _, sub := range s.all {
		for _, from := range senders {
			if from.domain == sub.domain {
				want += sub.owed(from.sent)
			}
		}
	}
	const patience, enough, step = 5 * time.Second, 200 * time.Millisecond, 20 * time.Millisecond
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
		if still >= patience || got >= want && still >= enough {
			return
		}
		_ = sleep(ctx, step) // the loop's condition sees to it
	}
}

// close ends all connections and waits for the readers.
func (s *subscribers) close() {
	for _, sub := range s.all {
		if sub.listener != nil {
			_ = sub.listener.Close() // ends the reader
		}
	}
	s.reading.Wait()
}

// count sums up the faults, after close.
func (s *subscribers) count(senders []*sender) (f Faults) {
	for _, sub := range s.all {
		for _, from := range senders {
			t := sub.senders[from.id]
			if t == nil {
				continue
			}
			excused := map[uint64]bool{}
			for n := range from.failed {
				if n%uint64(sub.topics) == uint64(sub.topic) {
					excused[n/uint64(sub.topics)] = true
				}
			}
			f.add(t, sub.owed(from.sent), excused)
		}
	}
	return f
}
