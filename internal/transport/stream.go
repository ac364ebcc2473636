package transport

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/hub"
)

// Why a connection ends, when it is the peer's doing.
var (
	ErrStalled = errors.New("peer takes nothing")
	ErrGone    = errors.New("peer is gone")
	ErrBabble  = errors.New("peer says what nobody asked for")
)

// EndLabel is what metrics call the end of a connection. nil is the end that
// was agreed on.
func EndLabel(cause error) string {
	switch {
	case cause == nil:
		return "done"
	case errors.Is(cause, ErrDraining):
		return "draining"
	case errors.Is(cause, ErrKicked):
		return "kicked"
	case errors.Is(cause, ErrCredential):
		return "credential"
	case errors.Is(cause, ErrDomainEnded):
		return "domain"
	case errors.Is(cause, ErrStalled):
		return "stalled"
	case errors.Is(cause, ErrBabble):
		return "protocol"
	}
	return "lost"
}

// PollEnded says what it means that a subscription's Poll returned an error:
// the cause with which the connection ends.
func PollEnded(ctx context.Context, h *hub.Hub, s *hub.Subscription, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.Is(err, hub.ErrClosed):
		return err
	}
	d := s.Domain()
	if now, err := h.Domain(d.Name()); errors.Is(err, hub.ErrNoDomain) || err == nil && now != d {
		return ErrDomainEnded
	}
	return ErrDraining
}

const (
	// pieceFast and pieceSlow are what is written at a time. A write has as
	// long as a peer may stall, so a slow peer, which is to be told from one
	// that takes nothing, gets small ones. They also bound what a peer that
	// does not read holds in memory.
	pieceFast = 64 << 10
	pieceSlow = 4 << 10
	// slowAfter is how long a write to a slow peer takes, and slowFor how many
	// pieces it gets small from then on.
	slowAfter = time.Second
	slowFor   = 64
	// hurry is what is left for writing once a connection should end.
	hurry = 500 * time.Millisecond
)

// Streams makes the writers of responses that may go on for ever. Its methods
// may be called concurrently.
type Streams struct {
	stall   time.Duration
	bytes   prometheus.Counter
	buffers sync.Pool // of *[]byte, each with room for pieceFast
}

// NewStreams makes writers that give a peer up which took nothing for the
// time that it may stall, and that count what they write in bytes.
func NewStreams(stall time.Duration, bytes prometheus.Counter) *Streams {
	return &Streams{stall: stall, bytes: bytes, buffers: sync.Pool{New: func() any {
		b := make([]byte, 0, pieceFast)
		return &b
	}}}
}

// Stream writes one response for the handler's goroutine. What is written is
// gathered and goes out joined; between a Flush and the next Write a stream
// holds no buffer. Every write to the peer has a deadline; once the
// connection's context ends all that is left together has half a second, so
// that a peer that takes nothing cannot keep its connection.
type Stream struct {
	from   *Streams
	conn   *Conn
	w      http.ResponseWriter
	rc     *http.ResponseController
	buf    *[]byte
	owed   bool  // something was taken in since the last Flush
	slow   int   // pieces that are yet to be small
	failed error // of the first write that failed
	unhook func() bool

	mu      sync.Mutex // guards the fields below, and the deadline
	hurried bool       // the deadline is the last one
	closed  bool
}

// Open begins to write a response. The caller closes the stream before its
// handler returns.
func (f *Streams) Open(w http.ResponseWriter, c *Conn) *Stream {
	s := &Stream{from: f, conn: c, w: w, rc: http.NewResponseController(w)}
	// A deadline for reading the request would end the stream.
	_ = s.rc.SetReadDeadline(time.Time{})
	s.unhook = context.AfterFunc(c.Context(), s.hurryUp)
	return s
}

func (s *Stream) hurryUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.hurried { // after Abort a time to write would end the response well
		return
	}
	s.hurried = true
	_ = s.rc.SetWriteDeadline(time.Now().Add(hurry))
}

// Slow reports that the peer takes data slowly: one is given little at a
// time, so that little waits for it in memory.
func (s *Stream) Slow() bool { return s.slow > 0 }

// Write takes p in. An error stays; it is [ErrStalled], [ErrGone], or the
// cause with which the connection's context ended before p was written.
func (s *Stream) Write(p []byte) error {
	s.owed = true
	large := len(p) > pieceFast/2 // goes out as it is, after what is gathered
	if s.buf != nil && (large || len(*s.buf)+len(p) > cap(*s.buf)) {
		if err := s.out(); err != nil {
			return err
		}
	}
	if large {
		return s.send(p)
	}
	if s.buf == nil {
		s.buf = s.from.buffers.Get().(*[]byte)
	}
	*s.buf = append(*s.buf, p...)
	return s.failed
}

// Flush sees to it that all that was taken in is on its way to the peer.
func (s *Stream) Flush() error {
	if err := s.out(); err != nil {
		return err
	}
	s.arm()
	began := time.Now()
	if err := s.rc.Flush(); err != nil {
		return s.fail(began)
	}
	s.took(time.Since(began))
	s.disarm()
	s.owed = false
	return nil
}

// Settle is Flush if something was taken in since the last one: before a wait.
func (s *Stream) Settle() error {
	if !s.owed {
		return s.failed
	}
	return s.Flush()
}

// out writes the buffer and gives it back.
func (s *Stream) out() error {
	if s.buf == nil {
		return s.failed
	}
	err := s.send(*s.buf)
	if err == nil { // else HTTP/2 may still be reading it
		*s.buf = (*s.buf)[:0]
		s.from.buffers.Put(s.buf)
	}
	s.buf = nil
	return err
}

func (s *Stream) send(p []byte) error {
	for len(p) > 0 && s.failed == nil {
		n := min(len(p), pieceFast)
		if s.slow > 0 {
			n = min(n, pieceSlow)
			s.slow--
		}
		s.arm()
		began := time.Now()
		if _, err := s.w.Write(p[:n]); err != nil {
			return s.fail(began)
		}
		s.took(time.Since(began))
		s.conn.Bytes.Add(uint64(n))
		s.from.bytes.Add(float64(n))
		p = p[n:]
	}
	return s.failed
}

// took learns from how long a write took.
func (s *Stream) took(d time.Duration) {
	if d >= slowAfter {
		s.slow = slowFor
	}
}

func (s *Stream) fail(began time.Time) error {
	switch ctx := s.conn.Context(); {
	case s.failed != nil:
	case time.Since(began) >= s.from.stall:
		s.failed = ErrStalled
	case ctx.Err() != nil:
		s.failed = context.Cause(ctx)
	default:
		s.failed = ErrGone
	}
	return s.failed
}

// arm gives the write that comes its deadline.
func (s *Stream) arm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hurried {
		_ = s.rc.SetWriteDeadline(time.Now().Add(s.from.stall))
	}
}

// disarm takes it away: over HTTP/2 a deadline ends a stream that is idle.
func (s *Stream) disarm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hurried {
		_ = s.rc.SetWriteDeadline(time.Time{})
	}
}

// Abort cuts the response off in such a way that the peer does not take what
// it got for the whole.
func (s *Stream) Abort() {
	if s.failed == nil {
		s.failed = ErrGone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurried = true
	_ = s.rc.SetWriteDeadline(time.Unix(1, 0))
}

// Close ends the writing; what was not flushed is thrown away. After it
// nothing of the stream touches the response any more.
func (s *Stream) Close() {
	s.unhook()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.failed == nil {
		_ = s.rc.SetWriteDeadline(time.Time{}) // the connection may serve another request
	}
	s.buf = nil
}
