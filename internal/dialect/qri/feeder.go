package qri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
	"unicode/utf8"

	"crier/internal/dialect/qri/ber"
	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// Sizes of what is read at a time: a connection that has little to say holds
// little.
const (
	readLeast = 4 << 10
	readMost  = 64 << 10
)

// maxBlockBytes bounds the data of one block.
const maxBlockBytes = 4 << 20

// When the server stops, what has come already is read: for so long at most,
// and until nothing comes for a moment.
const (
	lastWords = 500 * time.Millisecond
	silence   = 20 * time.Millisecond
)

// While the log is away a block is tried again, less and less often.
const (
	retryFirst = 50 * time.Millisecond
	retrySlow  = 2 * time.Second
)

func validText(b []byte) bool { return utf8.Valid(b) }

// feeder is one connection of a backend: the goroutine that runs it reads, a
// second one publishes.
type feeder struct {
	in      *Ingest
	nc      net.Conn
	conn    *transport.Conn
	remote  netip.Addr
	decoder *ber.Decoder
	backlog *backlog

	frames int             // decoded so far
	batch  []message.Draft // of one read
}

// run serves until the connection ends, and says why; nil: the backend closed
// it between two frames. Everything that was decoded has been published when it
// returns, unless the server had to give up.
func (f *feeder) run() error {
	secure, err := f.in.handshake(f.conn.Context(), f.nc)
	if err != nil {
		return err
	}
	f.nc = secure
	unhook := context.AfterFunc(f.conn.Context(), func() {
		_ = f.nc.SetReadDeadline(time.Now()) // the reader looks up
	})
	defer unhook()
	published := make(chan struct{})
	go func() {
		defer close(published)
		f.publish()
	}()
	cause := f.read()
	f.backlog.close()
	<-published
	if n := f.backlog.left(); n > 0 {
		f.in.cfg.Logger.Error("qri: messages that were read could not be stored before the server stopped", "client", f.remote, "messages", n)
	}
	return cause
}

// read decodes what comes until the connection ends.
func (f *feeder) read() error {
	buf := make([]byte, readLeast)
	clock := frameClock{}
	for {
		if f.conn.Context().Err() != nil {
			return f.finish(buf)
		}
		began := f.arm(clock)
		n, err := f.nc.Read(buf)
		clock.spent(time.Since(began))
		if fault := f.take(buf[:n]); fault != nil {
			return fault
		}
		clock.see(f.decoder.Begun(), f.frames, f.in.cfg.FrameTimeout)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && !f.decoder.Begun():
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && f.conn.Context().Err() != nil:
			continue
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &faultError{"timeout", fmt.Errorf("a frame that was begun before byte %d did not end within %v", f.decoder.Offset(), f.in.cfg.FrameTimeout)}
		default:
			return transport.ErrGone // also in the middle of a frame: the backend sends it again
		}
		if n == len(buf) && n < readMost {
			buf = make([]byte, readMost)
		}
	}
}

// arm gives the next read its deadline: what is left for the frame that was
// begun, or none.
func (f *feeder) arm(clock frameClock) time.Time {
	now := time.Now()
	deadline := time.Time{}
	if f.decoder.Begun() {
		deadline = now.Add(clock.left)
	}
	_ = f.nc.SetReadDeadline(deadline)
	if f.conn.Context().Err() != nil { // it ended before the deadline was set
		_ = f.nc.SetReadDeadline(now)
	}
	return now
}

// frameClock is what is left of the time for the frame under way. Time in which
// we did not read is not the backend's.
type frameClock struct {
	begun bool
	frame int // its number
	left  time.Duration
}

func (c *frameClock) spent(d time.Duration) { c.left -= d }

// see gives a frame that is new all of the time.
func (c *frameClock) see(begun bool, frame int, all time.Duration) {
	if !begun || !c.begun || c.frame != frame {
		*c = frameClock{begun: begun, frame: frame, left: all}
	}
}

// take decodes bytes and hands their messages on, waiting for room.
func (f *feeder) take(p []byte) error {
	f.batch = f.batch[:0]
	var fault error
	for len(p) > 0 {
		m, n, ok, err := f.decoder.Next(p)
		if err != nil {
			fault = f.broken(err)
			break
		}
		if ok {
			f.batch = append(f.batch, draft(m))
			f.frames++
		}
		p = p[n:]
	}
	f.backlog.put(f.in.life, f.batch)
	clear(f.batch)
	return fault
}

func (f *feeder) broken(err error) error {
	label := "broken"
	if e, ok := errors.AsType[*ber.Error](err); ok && e.TooBig {
		label = "too_big"
	}
	return &faultError{label, fmt.Errorf("broken frame: %w", err)}
}

// finish reads what has come already when the server wants the connection to
// end.
func (f *feeder) finish(buf []byte) error {
	cause := context.Cause(f.conn.Context())
	for began := time.Now(); time.Since(began) < lastWords; {
		_ = f.nc.SetReadDeadline(time.Now().Add(silence))
		n, err := f.nc.Read(buf)
		if fault := f.take(buf[:n]); fault != nil {
			return fault
		}
		if err != nil {
			break
		}
	}
	return cause
}

// publish appends what was read, in order, until there is nothing more to come
// or the server gives up.
func (f *feeder) publish() {
	for {
		block := f.backlog.take(f.in.life, engine.MaxBlock, maxBlockBytes)
		if block == nil {
			return
		}
		if !f.store(block) {
			return
		}
		f.conn.Received.Add(uint64(len(block)))
		f.in.cfg.Metrics.Messages.Add(float64(len(block)))
	}
}

// store appends one block, however long that takes. false: it was not, and
// never will be.
func (f *feeder) store(block []message.Draft) bool {
	said := false
	for wait := retryFirst; ; wait = min(2*wait, retrySlow) {
		_, err := f.in.cfg.Domain.Publish(f.in.life, engine.Block{Drafts: block})
		switch {
		case err == nil:
			return true
		case errors.Is(err, hub.ErrClosed), errors.Is(err, engine.ErrClosed), f.in.life.Err() != nil, !errors.Is(err, engine.ErrUnavailable):
			f.in.cfg.Logger.Error("qri: messages were not stored", "client", f.remote, "messages", len(block), "error", err)
			f.conn.End(err)
			f.drop()
			return false
		}
		if !said {
			f.in.cfg.Logger.Warn("qri: the log cannot take messages; the backend waits", "client", f.remote, "error", err)
			said = true
		}
		pause(f.in.life, wait)
	}
}

// drop throws away what is still put, so that the reader comes to its end.
func (f *feeder) drop() {
	for f.backlog.take(f.in.life, engine.MaxBlock, maxBlockBytes) != nil {
	}
}
