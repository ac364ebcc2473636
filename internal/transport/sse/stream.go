package sse

import (
	"context"
	"time"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// What is asked of the subscription at a time. It bounds what a peer that
// stops reading holds in memory of messages that are not shared.
const (
	pollMessages = 500
	pollFast     = 128 << 10
	pollSlow     = 4 << 10
)

// stream is one connection, for its handler's goroutine.
type stream struct {
	h      *Handler
	conn   *transport.Conn
	sub    *hub.Subscription
	signal hub.Signal
	out    *transport.Stream
	enc    *hub.Encoding

	told message.ID // the last id that the peer was given
	live bool       // the peer had everything, and what comes now is news
}

// run serves until the stream should end, and says why.
func (s *stream) run() error {
	if err := s.begin(); err != nil {
		return err
	}
	every := s.h.cfg.Heartbeat
	heartbeat := time.NewTimer(transport.Jitter(every/2, every))
	defer heartbeat.Stop()
	ended := s.conn.Context().Done()
	for {
		if err := s.deliver(); err != nil {
			return err
		}
		select {
		case <-s.signal:
			s.live = true
		case <-heartbeat.C:
			heartbeat.Reset(every)
			if err := s.beat(); err != nil {
				return err
			}
		case <-ended:
			return context.Cause(s.conn.Context())
		}
	}
}

// begin writes the preamble: when to come back, something for proxies to pass
// on at once, and the place from which the stream listens.
func (s *stream) begin() error {
	b := make([]byte, 0, 80)
	b = appendRetry(b, s.h.retry())
	b = append(b, ": listening\n\n"...)
	b = append(s.appendPlace(b), '\n')
	if err := s.out.Write(b); err != nil {
		return err
	}
	return s.out.Flush()
}

// appendPlace appends an id field if the peer may be told of a place further
// on than it knows.
func (s *stream) appendPlace(b []byte) []byte {
	at, ok := s.sub.Cursor()
	if !ok || at == s.told {
		return b
	}
	s.told = at
	return appendID(b, at)
}

// beat is a sign of life. The block without data dispatches nothing, but its
// id counts.
func (s *stream) beat() error {
	b := make([]byte, 0, 40)
	b = append(b, ":\n"...)
	b = append(s.appendPlace(b), '\n')
	if err := s.out.Write(b); err != nil {
		return err
	}
	return s.out.Flush()
}

// deliver writes all there is.
func (s *stream) deliver() error {
	b := s.h.batches.Get().(*hub.Batch)
	defer func() {
		clear(b.Entries) // a pooled batch holds no messages
		*b = hub.Batch{Entries: b.Entries[:0]}
		s.h.batches.Put(b)
	}()
	ctx := s.conn.Context()
	for ctx.Err() == nil { // what was polled is written: see bye
		bytes := pollFast
		if s.out.Slow() {
			bytes = pollSlow
		}
		if err := s.sub.Poll(ctx, b, pollMessages, bytes); err != nil {
			return transport.PollEnded(ctx, s.h.cfg.Hub, s.sub, err)
		}
		if b.Empty() {
			return nil
		}
		if err := s.write(b); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

func (s *stream) write(b *hub.Batch) error {
	if b.Gap != nil {
		if err := s.out.Write(appendGap(nil, b.Gap)); err != nil {
			return err
		}
		s.told = b.Gap.Resumed
	}
	for _, e := range b.Entries {
		if err := s.out.Write(e.Frame(s.enc)); err != nil {
			return err
		}
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	if n := len(b.Entries); n > 0 {
		s.told = b.Entries[n-1].ID
		s.conn.Messages.Add(uint64(n))
		s.h.delivered.Add(float64(n))
		if s.live {
			s.h.cfg.Metrics.Delivery(s.h.cfg.Now(), b.Entries[0].Time)
		}
	}
	s.live = false
	return nil
}

// bye tells the peer why the stream ends, if there is one to be told. All
// that was polled has been written, or writing fails, so that the place which
// it tells is one that the peer has reached.
func (s *stream) bye(cause error) {
	var b []byte
	switch label := transport.EndLabel(cause); label {
	case "stalled", "lost":
		return
	case "credential":
		b = s.appendPlace(b)
		b = appendBye(b, eventExpired, label, cause.Error())
	default:
		b = appendRetry(b, s.h.retryAfter())
		b = s.appendPlace(b)
		b = appendBye(b, eventRestart, label, "")
	}
	if s.out.Write(b) == nil {
		_ = s.out.Flush()
	}
}
