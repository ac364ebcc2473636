package pull

import (
	"context"
	"net/http"
	"time"

	"crier/internal/hub"
	"crier/internal/transport"
)

// NDJSONOptions say when lines end.
type NDJSONOptions struct {
	Limit       int  // after so many messages; 0: never
	UntilLatest bool // at the head as it was when the request came
}

// NDJSON writes a line for each message, its envelope, and for a gap a line
// {"gap":{…}}. A stream that is idle gives an empty line as a sign of life
// every 15 seconds, which readers of NDJSON pass over and proxies count. It
// returns when the stream has ended; an error means that nothing was written
// yet and the caller answers the request.
func (h *Handler) NDJSON(w http.ResponseWriter, _ *http.Request, l transport.Listen, o NDJSONOptions) error {
	sub, signal, stop, err := h.subscribe(l, o.UntilLatest)
	if err != nil {
		return err
	}
	defer stop()
	writeHeader(w, "application/x-ndjson")
	out := h.lines.streams.Open(w, l.Conn)
	defer out.Close()
	s := &lines{h: h, conn: l.Conn, sub: sub, signal: signal, out: out, limited: o.Limit > 0, left: o.Limit}
	cause := s.run()
	if cause != nil && (s.limited || o.UntilLatest) {
		out.Abort()
	}
	h.ended(&h.lines, cause)
	return nil
}

// lines is one NDJSON answer, for its handler's goroutine.
type lines struct {
	h      *Handler
	conn   *transport.Conn
	sub    *hub.Subscription
	signal hub.Signal
	out    *transport.Stream

	limited bool
	left    int  // messages, if limited
	live    bool // the peer had everything, and what comes now is news
}

// run serves until the answer should end; nil: it is whole.
func (s *lines) run() error {
	if err := s.out.Flush(); err != nil { // the header says that it listens
		return err
	}
	every := s.h.cfg.Heartbeat
	heartbeat := time.NewTimer(transport.Jitter(every/2, every))
	defer heartbeat.Stop()
	ended := s.conn.Context().Done()
	for {
		if done, err := s.deliver(); done || err != nil {
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

func (s *lines) beat() error {
	if err := s.out.Write([]byte{'\n'}); err != nil {
		return err
	}
	return s.out.Flush()
}

// deliver writes all there is; done says that no more is to come.
func (s *lines) deliver() (done bool, err error) {
	b := s.h.borrow()
	defer s.h.giveBack(b)
	ctx := s.conn.Context()
	for ctx.Err() == nil {
		if part, ok := s.replay(ctx); ok {
			if err := s.out.Write(part.Bytes()); err != nil {
				return false, err
			}
			s.h.count(&s.h.lines, s.conn, part.Len())
			continue
		}
		limit := pollMessages
		if s.limited {
			limit = min(limit, s.left)
		}
		if err := s.sub.Poll(ctx, b, limit, pollBytes(s.out)); err != nil {
			return false, transport.PollEnded(ctx, s.h.cfg.Hub, s.sub, err)
		}
		if b.Empty() {
			return false, s.out.Settle() // what was replayed is not flushed piece by piece
		}
		if err := s.write(b); err != nil {
			return false, err
		}
		if b.Done || s.limited && s.left == 0 {
			return true, nil
		}
	}
	return false, context.Cause(ctx)
}

// replay gives history that others may have asked for too, unless the peer is
// to be given little.
func (s *lines) replay(ctx context.Context) (hub.Part, bool) {
	if s.limited || s.out.Slow() {
		return hub.Part{}, false
	}
	return s.sub.Replay(ctx, s.h.line)
}

func (s *lines) write(b *hub.Batch) error {
	if b.Gap != nil {
		line := transport.AppendGap([]byte(`{"gap":`), b.Gap)
		if err := s.out.Write(append(line, "}\n"...)); err != nil {
			return err
		}
	}
	for _, e := range b.Entries {
		if err := s.out.Write(e.Frame(s.h.line)); err != nil {
			return err
		}
	}
	if err := s.out.Flush(); err != nil {
		return err
	}
	n := len(b.Entries)
	s.left -= n
	s.h.count(&s.h.lines, s.conn, n)
	if s.live && n > 0 {
		s.h.cfg.Metrics.Delivery(s.h.cfg.Now(), b.Entries[0].Time)
	}
	s.live = false
	return nil
}
