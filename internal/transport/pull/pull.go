// Package pull serves messages to those who fetch them: application/x-ndjson,
// which is lines without end or up to one, and application/json, which is a
// page. Both carry envelopes.
//
// The invariant is that of all transports: whoever comes back with the last
// id, or with a page's next, gets everything that matches after it, or a gap.
// An answer that should have an end and is cut before it looks cut.
//
// Memory is flat: an answer of whatever length is written piece by piece as
// it is read from the log.
package pull

import (
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/hub"
	"crier/internal/message"
	"crier/internal/transport"
)

// What metrics call us.
const (
	nameLines = "ndjson"
	namePage  = "page"
)

// What is asked of a subscription at a time. It bounds what a peer that stops
// reading holds in memory of messages that are not shared.
const (
	pollMessages = 500
	pollFast     = 128 << 10
	pollSlow     = 4 << 10
)

// Config is what a Handler needs. Hub is required; all else has defaults.
type Config struct {
	Hub     *hub.Hub
	Metrics *transport.Metrics // nil: counted nowhere
	Now     func() time.Time   // for figures, not for deadlines; nil: time.Now

	Heartbeat time.Duration // how often idle NDJSON gives a sign of life; 0: 15 s
	Stall     time.Duration // how long a peer may take nothing that is written; 0: 5 min
}

// Handler serves NDJSON and pages of one hub. All methods may be called
// concurrently.
type Handler struct {
	cfg         Config
	line        *hub.Encoding // an envelope with its line feed
	lines, page kind
	batches     sync.Pool // of *hub.Batch
}

// kind is what is counted apart.
type kind struct {
	name      string
	delivered prometheus.Counter
	streams   *transport.Streams
}

// New makes a handler.
func New(cfg Config) *Handler {
	if cfg.Metrics == nil {
		cfg.Metrics = transport.NewMetrics(nil)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = 15 * time.Second
	}
	if cfg.Stall == 0 {
		cfg.Stall = 5 * time.Minute
	}
	kindOf := func(name string) kind {
		return kind{
			name:      name,
			delivered: cfg.Metrics.Delivered.WithLabelValues(name),
			streams:   transport.NewStreams(cfg.Stall, cfg.Metrics.DeliveredBytes.WithLabelValues(name)),
		}
	}
	return &Handler{
		cfg:     cfg,
		line:    cfg.Hub.NewEncoding(appendLine),
		lines:   kindOf(nameLines),
		page:    kindOf(namePage),
		batches: sync.Pool{New: func() any { return new(hub.Batch) }},
	}
}

func appendLine(dst []byte, m *message.Message) []byte {
	return append(transport.AppendEnvelope(dst, m), '\n')
}

// subscribe begins what the request asks for; the caller calls stop.
func (h *Handler) subscribe(l transport.Listen, untilHead bool) (sub *hub.Subscription, signal hub.Signal, stop func(), err error) {
	signal = hub.NewSignal()
	sub, err = l.Domain.Subscribe(l.Conn.Context(), hub.Options{
		Filter: l.Filter, Start: l.Start, Unreadable: l.Unreadable, Waker: signal, UntilHead: untilHead,
	})
	if err != nil {
		return nil, nil, nil, err
	}
	l.Conn.Track("", sub)
	return sub, signal, func() {
		l.Conn.Untrack(sub)
		sub.Close()
	}, nil
}

// borrow takes a batch out of the pool; giveBack empties it.
func (h *Handler) borrow() *hub.Batch { return h.batches.Get().(*hub.Batch) }

func (h *Handler) giveBack(b *hub.Batch) {
	clear(b.Entries)
	*b = hub.Batch{Entries: b.Entries[:0]}
	h.batches.Put(b)
}

// count notes messages that were written.
func (h *Handler) count(k *kind, c *transport.Conn, n int) {
	c.Messages.Add(uint64(n))
	k.delivered.Add(float64(n))
}

func (h *Handler) ended(k *kind, cause error) {
	h.cfg.Metrics.Ended.WithLabelValues(k.name, transport.EndLabel(cause)).Inc()
}

// pollBytes is how much a peer is given at a time.
func pollBytes(out *transport.Stream) int {
	if out.Slow() {
		return pollSlow
	}
	return pollFast
}

// writeHeader answers 200. Proxies are asked to hold nothing back and to
// leave the bytes as they are.
func writeHeader(w http.ResponseWriter, contentType string) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-cache, no-transform")
	header.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
}
