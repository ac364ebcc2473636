package pushcart

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// Limits of an answer.
const (
	maxWait  = 60 * time.Second
	maxLimit = 1 << 31
)

// What is asked of the log at a time. It bounds what a client that stops
// reading holds in memory.
const (
	pollMessages = 500
	pollFast     = 128 << 10
	pollSlow     = 4 << 10
)

// selection is what a client asks for.
type selection struct {
	since     message.ID
	sinceText string // as it came; empty: from the oldest
	limit     int
	wait      time.Duration
}

func readSelection(rawQuery string) (selection, error) {
	s := selection{limit: math.MaxInt}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return s, bad("the query cannot be read: " + err.Error())
	}
	if s.sinceText = query.Get("since"); s.sinceText != "" {
		if s.since, err = message.ParseID(s.sinceText); err != nil {
			return s, bad("since is the _id of a message, 24 hex digits")
		}
	}
	if text := query.Get("limit"); text != "" {
		if s.limit, err = strconv.Atoi(text); err != nil || s.limit < 1 || s.limit > maxLimit {
			return s, bad(fmt.Sprintf("limit is a number from 1 to %d", maxLimit))
		}
	}
	if text := query.Get("wait"); text != "" {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || !(n >= 0 && n <= maxWait.Seconds()) { // neither holds for NaN
			return s, bad(fmt.Sprintf("wait is a number of seconds from 0 to %d", int(maxWait.Seconds())))
		}
		s.wait = time.Duration(n * float64(time.Second))
	}
	return s, nil
}

// compareEpochs orders epochs as the bytes of their ids are.
func compareEpochs(a, b message.Epoch) int {
	x, y := message.ID{Epoch: a}.Bytes(), message.ID{Epoch: b}.Bytes()
	return bytes.Compare(x[:], y[:])
}

// after finds the sequence number above which ids are above the given one as
// bytes. known says that the id is a place in this log; one that is not may be
// of another system, or of a time that the log does not remember.
func after(s engine.State, id message.ID) (seq uint64, known bool) {
	for i := len(s.Epochs) - 1; i >= 0; i-- {
		e := s.Epochs[i]
		last := e.Last
		if i == len(s.Epochs)-1 {
			last = s.Head
		}
		switch c := compareEpochs(e.Epoch, id.Epoch); {
		case c < 0:
			return last, false
		case c == 0:
			seq = min(max(id.Seq, e.First-1), last)
			return seq, seq == id.Seq
		}
	}
	if len(s.Epochs) == 0 {
		return 0, false
	}
	return s.Epochs[0].First - 1, false
}

// list is GET /messages.
func (d *Dialect) list(w http.ResponseWriter, r *http.Request) error {
	client, err := enter(r, d.cfg.Clients, "X-Client-Token")
	if err != nil {
		return err
	}
	sel, err := readSelection(r.URL.RawQuery)
	if err != nil {
		return err
	}
	domain, err := d.cfg.Hub.Domain(hub.Main)
	if err != nil {
		return err
	}
	conn, err := d.cfg.Table.Open(r.Context(), transport.Info{
		Transport: transportName, Domain: hub.Main, Name: "client " + client.ID, Remote: d.cfg.Access.Proxies().ClientAddr(r),
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	l := &listing{d: d, w: w, domain: domain, conn: conn, sel: sel}
	defer l.close()
	l.allowed = func() error {
		_, err := enter(r, d.cfg.Clients, "X-Client-Token")
		return err
	}
	err = l.run()
	d.cfg.Table.Metrics().Ended.WithLabelValues(transportName, transport.EndLabel(endOf(conn, err))).Inc()
	if l.out != nil { // the answer has begun: an error can only cut it off
		return nil
	}
	return err
}

// endOf is why a listing ended; nil: it is whole.
func endOf(conn *transport.Conn, err error) error {
	if err != nil && conn.Context().Err() != nil {
		return context.Cause(conn.Context())
	}
	return err
}

// listing is one answer, for its handler's goroutine.
type listing struct {
	d       *Dialect
	w       http.ResponseWriter
	domain  *hub.Domain
	conn    *transport.Conn
	sel     selection
	allowed func() error // asks again, after a while, whether the client may

	out   *transport.Stream // nil: nothing was written yet
	batch hub.Batch
	gap   *message.Gap
	n     int // messages written
}

func (l *listing) close() {
	if l.out != nil {
		l.out.Close()
	}
}

// run writes the answer. If it fails after it has begun, it is cut.
func (l *listing) run() error {
	err := l.history()
	if err == nil && l.n == 0 && l.out == nil && l.sel.wait > 0 {
		err = l.news()
	}
	if err == nil {
		err = l.finish()
	}
	if err != nil && l.out != nil {
		l.out.Abort()
	}
	return err
}

// start finds where the answer begins.
func (l *listing) start(ctx context.Context) (message.Start, error) {
	if l.sel.sinceText == "" {
		return message.Earliest(), nil
	}
	state, err := l.domain.State(ctx)
	if err != nil {
		return message.Start{}, err
	}
	seq, known := after(state, l.sel.since)
	at := state.Position(seq)
	if !known {
		l.gap = &message.Gap{Resumed: at, Reason: message.NewEpoch}
	}
	return message.After(at), nil
}

func (l *listing) subscribe(start message.Start, untilHead bool) (*hub.Subscription, hub.Signal, error) {
	signal := hub.NewSignal()
	sub, err := l.domain.Subscribe(l.conn.Context(), hub.Options{Filter: l.d.all, Start: start, Waker: signal, UntilHead: untilHead})
	if err == nil {
		l.conn.Track("", sub)
	}
	return sub, signal, err
}

func (l *listing) leave(sub *hub.Subscription) {
	l.conn.Untrack(sub)
	sub.Close()
}

// history writes what there is.
func (l *listing) history() error {
	ctx := l.conn.Context()
	start, err := l.start(ctx)
	if err != nil {
		return err
	}
	sub, _, err := l.subscribe(start, true)
	if err != nil {
		return err
	}
	defer l.leave(sub)
	for {
		if err := l.poll(sub); err != nil {
			return err
		}
		if l.batch.Empty() {
			return fmt.Errorf("list messages: %w: history cannot be read", engine.ErrUnavailable)
		}
		if l.batch.Gap != nil {
			if l.out != nil {
				return nil // the header is gone; the next request is told
			}
			l.gap = l.batch.Gap
		}
		if err := l.write(); err != nil {
			return err
		}
		if l.batch.Done || l.n == l.sel.limit {
			return nil
		}
	}
}

// news waits for the first message after what there was.
func (l *listing) news() error {
	sub, signal, err := l.subscribe(message.After(l.batch.Position), false)
	if err != nil {
		return err
	}
	defer l.leave(sub)
	late := time.NewTimer(l.sel.wait)
	defer late.Stop()
	ctx := l.conn.Context()
	for {
		if err := l.poll(sub); err != nil {
			if ctx.Err() == nil {
				return err
			}
		}
		if l.batch.Gap != nil && l.gap == nil {
			l.gap = l.batch.Gap
		}
		if len(l.batch.Entries) > 0 {
			if err := l.allowed(); err != nil {
				return err
			}
			l.d.cfg.Table.Metrics().Delivery(l.d.cfg.Now(), l.batch.Entries[0].Time)
			if err := l.write(); err != nil || l.n > 0 {
				return err
			}
			continue
		}
		select {
		case <-signal:
		case <-late.C:
			return nil
		case <-ctx.Done():
			if cause := context.Cause(ctx); transport.EndLabel(cause) == "lost" {
				return cause
			}
			return nil // the server wants it to end: there is nothing yet
		}
	}
}

func (l *listing) poll(sub *hub.Subscription) error {
	size := pollFast
	if l.out != nil && l.out.Slow() {
		size = pollSlow
	}
	ctx := l.conn.Context()
	if err := sub.Poll(ctx, &l.batch, min(l.sel.limit-l.n, pollMessages), size); err != nil {
		return transport.PollEnded(ctx, l.d.cfg.Hub, sub, err)
	}
	return nil
}

// begin writes the header. A gap lies before all that follows.
func (l *listing) begin() error {
	h := l.w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("X-Accel-Buffering", "no")
	if l.gap != nil {
		if l.sel.sinceText != "" {
			l.gap.After = l.sel.sinceText
		}
		h.Set("Crier-Gap", string(transport.AppendGap(nil, l.gap)))
	}
	l.w.WriteHeader(http.StatusOK)
	l.out = l.d.streams.Open(l.w, l.conn)
	return l.out.Write([]byte{'['})
}

// write writes the batch's messages, but for those whose ids are not above
// since as bytes.
func (l *listing) write() error {
	before := l.n
	for _, e := range l.batch.Entries {
		if l.sel.sinceText != "" && !above(e.ID, l.sel.since) {
			continue
		}
		if l.out == nil {
			if err := l.begin(); err != nil {
				return err
			}
		}
		if l.n > 0 {
			if err := l.out.Write([]byte{','}); err != nil {
				return err
			}
		}
		if err := l.out.Write(e.Frame(l.d.message)); err != nil {
			return err
		}
		l.n++
	}
	n := l.n - before
	l.conn.Messages.Add(uint64(n))
	l.d.cfg.Table.Metrics().Delivered.WithLabelValues(transportName).Add(float64(n))
	return nil
}

func above(id, since message.ID) bool {
	a, b := id.Bytes(), since.Bytes()
	return bytes.Compare(a[:], b[:]) > 0
}

// finish writes the end.
func (l *listing) finish() error {
	if l.out == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	if err := l.out.Write([]byte{']'}); err != nil {
		return err
	}
	return l.out.Flush()
}
