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
	format Format
	enc    *hub.Encoding

	beats *time.Timer // when the next beat is due
	told  message.ID  // the last id that the peer was given, or came with
	live  bool        // the peer had everything, and what comes now is news
}

// run serves until the stream should end, and says why.
func (s *stream) run() error {
	if err := s.begin(); err != nil {
		return err
	}
	every := s.format.Every()
	s.beats = time.NewTimer(transport.Jitter(every/2, every))
	defer s.beats.Stop()
	ended := s.conn.Context().Done()
	for {
		if err := s.deliver(); err != nil {
			return err
		}
		select {
		case <-s.signal:
			s.live = true
		case <-s.beats.C:
			if err := s.beat(); err != nil {
				return err
			}
		case <-ended:
			return context.Cause(s.conn.Context())
		}
	}
}

// begin writes the preamble, with the place from which the stream listens.
func (s *stream) begin() error {
	at := s.place()
	at.New = at.Good
	if err := s.out.Write(s.format.AppendBegin(make([]byte, 0, 80), at)); err != nil {
		return err
	}
	return s.out.Flush()
}

// place is the place that the peer may be told of now.
func (s *stream) place() Place {
	at, ok := s.sub.Cursor()
	if !ok {
		return Place{ID: s.told}
	}
	p := Place{ID: at, Good: true, New: at != s.told}
	s.told = at
	return p
}

// beat is a sign of life.
func (s *stream) beat() error {
	s.beats.Reset(s.format.Every())
	if err := s.out.Write(s.format.AppendBeat(make([]byte, 0, 40), s.place())); err != nil {
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
		if !s.out.Slow() {
			if part, ok := s.sub.Replay(ctx, s.enc); ok {
				if err := s.replayed(part); err != nil {
					return err
				}
				continue
			}
		}
		bytes := pollFast
		if s.out.Slow() {
			bytes = pollSlow
		}
		if err := s.sub.Poll(ctx, b, pollMessages, bytes); err != nil {
			return transport.PollEnded(ctx, s.h.cfg.Hub, s.sub, err)
		}
		if b.Empty() {
			return s.out.Settle() // what was replayed is not flushed piece by piece
		}
		if err := s.write(b); err != nil {
			return err
		}
		select { // also while much is to be delivered
		case <-s.beats.C:
			if err := s.beat(); err != nil {
				return err
			}
		default:
		}
	}
	return context.Cause(ctx)
}

// replayed writes history that others may have asked for too.
func (s *stream) replayed(p hub.Part) error {
	if err := s.out.Write(p.Bytes()); err != nil {
		return err
	}
	s.told = p.Newest()
	s.conn.Messages.Add(uint64(p.Len()))
	s.h.delivered.Add(float64(p.Len()))
	return nil
}

func (s *stream) write(b *hub.Batch) error {
	if b.Gap != nil {
		if err := s.out.Write(s.format.AppendGap(nil, b.Gap)); err != nil {
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
	switch transport.EndLabel(cause) {
	case "stalled", "lost":
		return
	}
	if s.out.Write(s.format.AppendBye(nil, s.place(), cause)) == nil {
		_ = s.out.Flush()
	}
}
