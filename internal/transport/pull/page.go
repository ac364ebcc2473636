package pull

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"crier/internal/engine"
	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// What a page holds at most.
const (
	defaultMessages = 100
	maxMessages     = 1000
	maxPageBytes    = 8 << 20 // of envelopes; one is always let in
)

// PageOptions say how large a page may be and how long it waits.
type PageOptions struct {
	Limit int           // messages; 0: 100, and never more than 1,000
	Wait  time.Duration // for the first message; 0: not at all
}

// Page writes one page:
//
//	{"messages":[envelopes],"next":CURSOR,"gap":GAP}
//
// next is the place up to which was looked, also if there are no messages;
// gap is there if there is one, and lies before the messages. It returns when
// all is written; an error means that nothing was written yet and the caller
// answers the request.
func (h *Handler) Page(w http.ResponseWriter, _ *http.Request, l transport.Listen, o PageOptions) error {
	sub, signal, stop, err := h.subscribe(l, o.Wait <= 0)
	if err != nil {
		return err
	}
	defer stop()
	if o.Limit <= 0 {
		o.Limit = defaultMessages
	}
	b := h.borrow()
	defer h.giveBack(b)
	p := &page{h: h, conn: l.Conn, sub: sub, batch: b, left: min(o.Limit, maxMessages), room: maxPageBytes}
	if err := p.first(signal, o.Wait); err != nil {
		if ctx := l.Conn.Context(); ctx.Err() != nil {
			h.ended(&h.page, context.Cause(ctx))
		}
		return err
	}
	writeHeader(w, "application/json")
	p.out = h.page.streams.Open(w, l.Conn)
	defer p.out.Close()
	err = p.write()
	if err != nil {
		p.out.Abort()
	}
	h.ended(&h.page, err)
	return nil
}

// page is one answer, for its handler's goroutine.
type page struct {
	h     *Handler
	conn  *transport.Conn
	sub   *hub.Subscription
	out   *transport.Stream
	batch *hub.Batch

	live bool       // what is in it is news
	left int        // messages that it may yet hold
	room int        // bytes of envelopes
	next message.ID // the place that was reached
	n    int        // messages in it
}

// first finds what the page begins with, and waits for it: a batch, or, if
// nothing came in time, none, and next says where the page ends.
func (p *page) first(signal hub.Signal, wait time.Duration) error {
	var late <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	ctx := p.conn.Context()
	for {
		if err := p.poll(); err != nil {
			return err
		}
		if !p.batch.Empty() {
			return nil
		}
		if late == nil { // a subscription with an end has something, or cannot read it
			return fmt.Errorf("page: %w: history cannot be read", engine.ErrUnavailable)
		}
		select {
		case <-signal:
			p.live = true
			continue
		case <-late:
		case <-ctx.Done():
			if cause := context.Cause(ctx); transport.EndLabel(cause) == "lost" {
				return cause
			}
		}
		at, ok := p.sub.Cursor()
		if !ok {
			return fmt.Errorf("page: %w: history cannot be read", engine.ErrUnavailable)
		}
		p.next = at
		return nil
	}
}

func (p *page) poll() error {
	bytes := pollFast
	if p.out != nil {
		bytes = pollBytes(p.out)
	}
	err := p.sub.Poll(p.conn.Context(), p.batch, min(p.left, pollMessages), min(bytes, p.room))
	if err != nil {
		return transport.PollEnded(p.conn.Context(), p.h.cfg.Hub, p.sub, err)
	}
	return nil
}

// write writes the page.
func (p *page) write() error {
	if err := p.out.Write([]byte(`{"messages":[`)); err != nil {
		return err
	}
	gap := p.batch.Gap
	whole, err := p.add()
	for err == nil && whole && !p.batch.Done && p.left > 0 && !p.batch.Empty() {
		if p.poll() != nil || p.batch.Empty() {
			break // the page ends where it is; what is wrong, the next request is told
		}
		if p.batch.Gap != nil {
			break // a second gap is for the next page
		}
		whole, err = p.add()
	}
	if err != nil {
		return err
	}
	tail := append([]byte(`],"next":"`), p.next.String()...)
	tail = append(tail, '"')
	if gap != nil {
		tail = append(tail, `,"gap":`...)
		tail = transport.AppendGap(tail, gap)
	}
	if err := p.out.Write(append(tail, "}\n"...)); err != nil {
		return err
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	p.h.count(&p.h.page, p.conn, p.n)
	return nil
}

// add writes the batch, or as much of it as there is room for.
func (p *page) add() (whole bool, err error) {
	for _, e := range p.batch.Entries {
		line := e.Frame(p.h.line)
		envelope := line[:len(line)-1]
		if p.n > 0 {
			if len(envelope) >= p.room {
				return false, nil
			}
			if err := p.out.Write([]byte{','}); err != nil {
				return false, err
			}
		} else if p.live {
			p.h.cfg.Metrics.Delivery(p.h.cfg.Now(), e.Time)
		}
		if err := p.out.Write(envelope); err != nil {
			return false, err
		}
		p.room -= len(envelope) + 1
		p.n++
		p.left--
		p.next = e.ID
	}
	if !p.batch.Empty() {
		p.next = p.batch.Position
	}
	return p.room > 0, nil
}
