package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// maxErrors ends a load in which that many publishes failed.
const maxErrors = 1000

// topicPrefix is where all messages of a load go: crier-bench/000000 and on.
const topicPrefix = "crier-bench/"

// maxTopics is how many topics have a name of their own.
const maxTopics = 1 << 24

func topicName(i int) string { return fmt.Sprintf("%s%06x", topicPrefix, i) }

// sender publishes the messages of one connection, one after the other.
type sender struct {
	server *server
	id     uint32
	domain string
	topics int
	conn   *exchange

	request []byte // head and body; what changes is written over in place
	topicAt int    // the hex digits of the topic
	bodyAt  int

	sent   uint64          // numbers used
	failed map[uint64]bool // numbers that may or may not have been stored
}

func newSender(s *server, id uint32, domain string, topics, size int) *sender {
	head := s.head("POST", "/t/"+domain+"/"+topicName(0), "Content-Type", "text/plain; charset=utf-8", "Content-Length", strconv.Itoa(size))
	return &sender{
		server: s, id: id, domain: domain, topics: topics,
		request: append(head, newPayload(id, size)...),
		topicAt: len("POST /t/") + len(domain) + 1 + len(topicPrefix),
		bodyAt:  len(head),
		failed:  map[uint64]bool{},
	}
}

// connect opens the connection.
func (s *sender) connect(ctx context.Context) error {
	var err error
	s.conn, err = s.server.exchange(ctx)
	return err
}

// send publishes the next message, sent or due at a time of the run. An error
// that the load can live with is noted with the message's number.
func (s *sender) send(ctx context.Context, at time.Duration) error {
	number := s.sent
	s.sent++
	if s.topics > 1 {
		putHex24(s.request[s.topicAt:], uint32(number%uint64(s.topics)))
	}
	stamp(s.request[s.bodyAt:], number, at)
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			s.failed[number] = true
			return err
		}
	}
	err := s.conn.do(s.request, http.StatusCreated)
	if err == nil {
		return nil
	}
	s.failed[number] = true
	if _, ok := errors.AsType[*statusError](err); !ok {
		s.close()
	}
	return fmt.Errorf("publish: %w", err)
}

func (s *sender) close() {
	if s.conn != nil {
		_ = s.conn.Close() // all answers are read, or the connection is broken
		s.conn = nil
	}
}

func putHex24(dst []byte, v uint32) {
	const digits = "0123456789abcdef"
	for i := range 6 {
		dst[i] = digits[v>>(20-4*i)&15]
	}
}

// pace is when messages are due.
type pace struct {
	begun    time.Time
	interval time.Duration // between two messages of one sender; 0: as fast as answers come
	offset   time.Duration // of this sender's first
	until    time.Duration
}

// run sends until the time is over, the context ends, or too much fails. done
// is told of each message that was acknowledged: when it was due and when the
// answer came. Latency counts from when a message was due, so that a server
// that is late is not spared the messages that it kept from being sent.
func (s *sender) run(ctx context.Context, p pace, failures *failures, done func(due, answered time.Duration)) {
	for k := 0; ctx.Err() == nil; k++ {
		now := time.Since(p.begun)
		due := now
		if p.interval > 0 {
			due = p.offset + time.Duration(k)*p.interval
			if due > now && sleep(ctx, due-now) != nil {
				return
			}
		}
		if due >= p.until || now >= p.until {
			return
		}
		if err := s.send(ctx, due); err != nil {
			if ctx.Err() != nil || !failures.add(err) {
				return
			}
			if sleep(ctx, 10*time.Millisecond) != nil {
				return
			}
			continue
		}
		done(due, time.Since(p.begun))
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// failures counts what failed and keeps the first.
type failures struct {
	n     atomic.Int64
	first atomic.Pointer[error]
}

// add reports whether the load may go on.
func (f *failures) add(err error) bool {
	f.first.CompareAndSwap(nil, &err)
	return f.n.Add(1) < maxErrors
}

func (f *failures) count() int64 { return f.n.Load() }

func (f *failures) err() error {
	if p := f.first.Load(); p != nil {
		return *p
	}
	return nil
}
