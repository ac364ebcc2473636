package transport

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/wire"
)

const (
	// What is taken from the tail at a time, and how often before others have
	// their turn.
	flowMessages = 2048
	flowBytes    = 128 << 10
	flowTurns    = 4
	// What is polled at a time of history that has no piece, and how many
	// pieces or polls are written before others have their turn.
	replayMessages = 500
	replayBytes    = 128 << 10
	replayTurns    = 4
	// keptWhole is the size from which the rest of a frame that was begun is
	// kept where it is, with what it is a part of, instead of copied.
	keptWhole = 16 << 10
)

// Flows is what the flows of a transport have in common.
type Flows struct {
	kind      wire.Kind
	metrics   *Metrics
	now       func() time.Time
	delivered prometheus.Counter
	bytes     prometheus.Counter
	cutOff    atomic.Int64 // when a connection that was cut off was last logged
}

// NewFlows makes what the flows of a transport share. now nil: time.Now.
func NewFlows(e *wire.Engine, m *Metrics, transportName string, now func() time.Time) *Flows {
	if now == nil {
		now = time.Now
	}
	f := &Flows{
		metrics: m, now: now,
		delivered: m.Delivered.WithLabelValues(transportName), bytes: m.DeliveredBytes.WithLabelValues(transportName),
	}
	f.kind = e.NewKind(func() wire.Local { return &round{flows: f} })
	return f
}

// Flow moves a subscription's messages to a socket of the wire, a frame each.
// It has no queue: what the socket does not take is left to the log, but for
// the rest of a frame that was begun. It belongs to its socket's handler, and
// to work that the handler has put away; Wake is everybody's.
type Flow struct {
	flows *Flows
	conn  *Conn
	sub   *hub.Subscription
	enc   *hub.Encoding
	rest  []byte       // of a frame that was begun
	gap   *message.Gap // to be told before anything else
	told  message.ID   // of the last message that was written, or begun

	woken atomic.Bool
	first bool // rest is what the connection begins with: it goes out with what comes next
	stuck bool // the store has nothing to give now: Wake ends that
	live  bool // the peer had everything: what comes is news
	moved bool // something was written since Moved was asked
}

// Flowed is how a flow came to a halt.
type Flowed int

// How a flow halts.
const (
	FlowIdle   Flowed = iota // all is written: Wake comes with more
	FlowFull                 // the socket takes no more for now
	FlowMore                 // there is more, after others had their turn
	FlowBehind               // what comes next has to be read: Replay, away from the loop
	FlowGap                  // TakeGap is to be told first
)

// Begin begins a flow of what the subscription has, in an encoding.
func (f *Flow) Begin(flows *Flows, c *Conn, s *hub.Subscription, enc *hub.Encoding) {
	f.flows, f.conn, f.sub, f.enc = flows, c, s, enc
}

// Conn is the connection that the flow belongs to.
func (f *Flow) Conn() *Conn { return f.conn }

// Subscription is what the flow moves.
func (f *Flow) Subscription() *hub.Subscription { return f.sub }

// Told is the id of the last message that the peer was given, or of the place
// set with Tell.
func (f *Flow) Told() message.ID { return f.told }

// Tell notes that the peer was told of a place.
func (f *Flow) Tell(at message.ID) { f.told = at }

// Woken notes that the subscription may have something.
func (f *Flow) Woken() { f.woken.Store(true) }

// Moved reports whether the socket took anything since it was last asked.
func (f *Flow) Moved() bool {
	moved := f.moved
	f.moved = false
	return moved
}

// TakeGap takes the gap that is to be told.
func (f *Flow) TakeGap() *message.Gap {
	g := f.gap
	f.gap = nil
	return g
}

// Rest reports whether a frame was begun that is not written wholly.
func (f *Flow) Rest() bool { return len(f.rest) > 0 }

// WriteRest goes on with a frame that was begun, and reports whether it is
// written now. An error means that the peer is gone.
func (f *Flow) WriteRest(s *wire.Socket) (bool, error) {
	f.first = false
	if len(f.rest) == 0 {
		return true, nil
	}
	n, err := f.write(s, f.rest)
	if f.rest = f.rest[n:]; len(f.rest) == 0 {
		f.rest = nil
	}
	return f.rest == nil, err
}

// First gives what the connection begins with, before anything is written: it
// goes out with the first Move, in one write with what that finds in memory.
func (f *Flow) First(frame []byte) { f.rest, f.first = frame, true }

// WriteOwn writes a frame that is not a message, such as a heartbeat. There is
// no rest when it is called.
func (f *Flow) WriteOwn(s *wire.Socket, frame []byte) error {
	n, err := f.write(s, frame)
	if err == nil && n < len(frame) {
		f.rest = slices.Clone(frame[n:])
	}
	return err
}

func (f *Flow) write(s *wire.Socket, p []byte) (int, error) {
	n, err := s.Write(p)
	if n > 0 {
		f.moved = true
		f.conn.Bytes.Add(uint64(n))
	}
	if err != nil {
		return n, ErrGone
	}
	return n, nil
}

// Move writes what comes next, as far as it is in memory. An error is
// [ErrGone], or what the subscription ended with.
func (f *Flow) Move(w *wire.Worker, s *wire.Socket) (Flowed, error) {
	if !f.first {
		if done, err := f.WriteRest(s); err != nil || !done {
			return FlowFull, err
		}
	}
	if f.gap != nil {
		return FlowGap, nil
	}
	if f.stuck {
		if !f.woken.Swap(false) {
			return FlowIdle, nil
		}
		f.stuck = false
	}
	r := w.Local(f.flows.kind).(*round)
	for range flowTurns {
		behind, err := f.sub.PollTail(&r.batch, flowMessages, flowBytes)
		if err != nil {
			return FlowIdle, err
		}
		halted, halt := f.tookGap(&r.batch)
		if f.first && (behind || halted || len(r.batch.Entries) == 0) {
			if done, err := f.WriteRest(s); err != nil || !done {
				return FlowFull, err
			}
		}
		if behind {
			f.live = false
			return FlowBehind, nil
		}
		if halted {
			return halt, nil
		}
		if len(r.batch.Entries) == 0 {
			f.live = true
			return FlowIdle, nil
		}
		if all, err := f.pass(r, s); err != nil || !all {
			return FlowFull, err
		}
	}
	f.live = false
	return FlowMore, nil
}

// tookGap keeps a gap that a poll found, and leaves the rest to a later one.
func (f *Flow) tookGap(b *hub.Batch) (bool, Flowed) {
	if b.Gap == nil {
		return false, FlowIdle
	}
	f.gap, f.live = b.Gap, false
	if len(b.Entries) > 0 {
		f.sub.Rewind(b.Entries[0].ID.Seq - 1)
	}
	return true, FlowGap
}

// pass writes what was polled, and reports whether that was taken wholly.
func (f *Flow) pass(r *round, s *wire.Socket) (all bool, err error) {
	entries := r.batch.Entries
	bytes := r.assemble(entries, f.enc)
	n, err := f.writeNext(r, s, bytes)
	if err != nil {
		return false, err
	}
	written := len(entries)
	if n < len(bytes) {
		written = r.cut(n)
		if written == 0 {
			f.sub.Rewind(entries[0].ID.Seq - 1)
			f.live = false
			return false, nil
		}
		f.keep(bytes[n:r.ends[written-1]], len(entries) == 1)
		f.sub.Rewind(entries[written-1].ID.Seq)
	}
	f.told = entries[written-1].ID
	f.conn.Messages.Add(uint64(written))
	r.messages += written
	r.bytes += n
	if f.live {
		r.observe(entries[0].Time)
	}
	f.live = false
	return n == len(bytes), nil
}

// writeNext writes frames behind what the connection begins with, if that is
// still to be written, and returns how many bytes of the frames were taken.
func (f *Flow) writeNext(r *round, s *wire.Socket, frames []byte) (int, error) {
	if !f.first {
		return f.write(s, frames)
	}
	if len(f.rest)+len(frames) > keptWhole { // two writes cost less than copying that
		if done, err := f.WriteRest(s); err != nil || !done {
			return 0, err
		}
		return f.write(s, frames)
	}
	f.first = false
	r.joined = append(append(r.joined[:0], f.rest...), frames...)
	n, err := f.write(s, r.joined)
	begun := min(n, len(f.rest))
	if f.rest = f.rest[begun:]; len(f.rest) == 0 {
		f.rest = nil
	}
	return n - begun, err
}

// keep keeps the rest of a frame; shared says that nobody will change it.
func (f *Flow) keep(rest []byte, shared bool) {
	switch {
	case len(rest) == 0:
	case shared && len(rest) >= keptWhole:
		f.rest = rest
	default:
		f.rest = slices.Clone(rest)
	}
}

// Replay writes what comes next out of the store: away from the loop, since it
// waits. FlowBehind means that there is more.
func (f *Flow) Replay(ctx context.Context, w *wire.Worker, s *wire.Socket) (Flowed, error) {
	if done, err := f.WriteRest(s); err != nil || !done {
		return FlowFull, err
	}
	r := w.Local(f.flows.kind).(*round)
	for range replayTurns {
		part, ok := f.sub.Replay(ctx, f.enc)
		if ok {
			if all, err := f.passPart(r, s, part); err != nil || !all {
				return FlowFull, err
			}
			continue
		}
		f.woken.Store(false)
		if err := f.sub.Poll(ctx, &r.batch, replayMessages, replayBytes); err != nil {
			return FlowIdle, err
		}
		if halted, h := f.tookGap(&r.batch); halted {
			return h, nil
		}
		if len(r.batch.Entries) == 0 {
			f.stuck = true
			return FlowIdle, nil
		}
		if all, err := f.pass(r, s); err != nil || !all {
			return FlowFull, err
		}
	}
	return FlowBehind, nil
}

// passPart writes a part of a piece of history, and reports whether that was
// taken wholly.
func (f *Flow) passPart(r *round, s *wire.Socket, p hub.Part) (all bool, err error) {
	bytes := p.Bytes()
	n, err := f.write(s, bytes)
	if err != nil {
		return false, err
	}
	messages, newest := p.Len(), p.Newest()
	if n < len(bytes) {
		if n == 0 {
			f.sub.Rewind(p.After)
			return false, nil
		}
		var end int
		messages, newest, end = p.Cut(n)
		f.keep(bytes[n:end], true)
		f.sub.Rewind(newest.Seq)
	}
	f.told = newest
	f.conn.Messages.Add(uint64(messages))
	r.messages += messages
	r.bytes += n
	return n == len(bytes), nil
}

// sampleEvery is of how many deliveries one is timed: reading the clock and
// the histogram would cost more than the rest of a delivery.
const sampleEvery = 16

// round is what a worker's flows share while it goes from one socket to the
// next: many get the same messages, whose frames are put together once.
type round struct {
	flows *Flows
	batch hub.Batch

	entries []*hub.Entry // whose frames are in buf
	enc     *hub.Encoding
	buf     []byte
	ends    []int  // of the frames
	joined  []byte // frames behind what a connection begins with; at most keptWhole

	messages, bytes int
	observed        int
}

// assemble returns the frames of entries side by side; they stay as they are
// until the next call.
func (r *round) assemble(entries []*hub.Entry, enc *hub.Encoding) []byte {
	if len(entries) == 1 {
		frame := entries[0].Frame(enc)
		r.entries = r.entries[:0]
		r.ends = append(r.ends[:0], len(frame))
		return frame
	}
	if r.enc == enc && slices.Equal(r.entries, entries) {
		return r.buf
	}
	r.enc = enc
	r.entries = append(r.entries[:0], entries...)
	r.buf, r.ends = r.buf[:0], r.ends[:0]
	for _, e := range entries {
		r.buf = append(r.buf, e.Frame(enc)...)
		r.ends = append(r.ends, len(r.buf))
	}
	return r.buf
}

// cut returns how many of the frames were written, wholly or in part, with n
// bytes.
func (r *round) cut(n int) int {
	if n == 0 {
		return 0
	}
	i, _ := slices.BinarySearch(r.ends, n)
	return i + 1
}

func (r *round) observe(sent time.Time) {
	if r.observed%sampleEvery == 0 {
		r.flows.metrics.Delivery(r.flows.now(), sent)
	}
	r.observed++
}

// keptBuffer is how much of a buffer a worker keeps between rounds.
const keptBuffer = 512 << 10

// Over implements [wire.Local].
func (r *round) Over() {
	if r.messages > 0 {
		r.flows.delivered.Add(float64(r.messages))
	}
	if r.bytes > 0 {
		r.flows.bytes.Add(float64(r.bytes))
	}
	r.messages, r.bytes = 0, 0
	clear(r.entries[:cap(r.entries)])
	clear(r.batch.Entries[:cap(r.batch.Entries)])
	r.entries = r.entries[:0]
	r.batch = hub.Batch{Entries: r.batch.Entries[:0]}
	if cap(r.buf) > keptBuffer {
		r.buf = nil
	}
}
