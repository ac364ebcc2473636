package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

// sender publishes the messages of one connection, one request after the other.
type sender struct {
	server *server
	how    Publishing
	id     uint32
	domain string
	topics int
	post   *exchange       // one of the two
	socket *socketExchange // if it is connected

	request *request
	sent    uint64          // numbers used
	heard   uint64          // of these, those that nobody is to get who comes now
	failed  map[uint64]bool // numbers that may or may not have been stored
}

func newSender(s *server, how Publishing, id uint32, domain string, topics, size int) *sender {
	return &sender{
		server: s, how: how, id: id, domain: domain, topics: topics,
		request: newRequest(s, how, id, domain, size), failed: map[uint64]bool{},
	}
}

// connect opens the connection.
func (s *sender) connect(ctx context.Context) (err error) {
	if s.how.Socket {
		s.socket, err = s.server.socketExchange(ctx, s.domain)
		return err
	}
	s.post, err = s.server.exchange(ctx)
	return err
}

// send publishes the next messages, as many as the request has, sent or due at
// a time of the run. An error that the load can live with is noted with the
// messages' numbers.
func (s *sender) send(ctx context.Context, at time.Duration) error {
	first := s.sent
	s.sent += uint64(len(s.request.dataAt))
	s.request.number(first, s.topics, at)
	err := s.do(ctx)
	if err == nil {
		return nil
	}
	for n := first; n < s.sent; n++ {
		s.failed[n] = true
	}
	if _, ok := errors.AsType[*statusError](err); !ok {
		s.close()
	}
	return fmt.Errorf("publish: %w", err)
}

func (s *sender) do(ctx context.Context) error {
	if s.post == nil && s.socket == nil {
		if err := s.connect(ctx); err != nil {
			return err
		}
	}
	if s.socket != nil {
		return s.socket.do(s.request.bytes, s.request.answers)
	}
	return s.post.do(s.request.bytes, http.StatusCreated)
}

func (s *sender) close() {
	if s.post != nil {
		_ = s.post.Close() // all answers are read, or the connection is broken
		s.post = nil
	}
	if s.socket != nil {
		_ = s.socket.Close()
		s.socket = nil
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
	admit    func(ctx context.Context, n int) error // waits until n more may be sent; may be nil
}

// run sends until the time is over, the context ends, or too much fails. done
// is told of each message that was acknowledged: when it was due and when the
// answer came. Latency counts from when a message was due, so that a server
// that is late is not spared the messages that it kept from being sent.
func (s *sender) run(ctx context.Context, p pace, failures *failures, done func(n int, due, answered time.Duration)) {
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
		if p.admit != nil {
			if p.admit(ctx, len(s.request.dataAt)) != nil {
				return
			}
			due = time.Since(p.begun)
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
		done(len(s.request.dataAt), due, time.Since(p.begun))
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
