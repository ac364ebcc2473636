// Package sse serves text/event-stream (WHATWG HTML 9.2) to browsers'
// EventSource, curl and everybody else who reads lines.
//
// The invariant: whoever comes back with the last id that it was given gets
// everything that matches after it, or a gap. So a stream begins with the id
// of the place from which it listens, a heartbeat tells the place that was
// reached past what did not match, and no id past a gap goes out before the
// gap. What a browser must be told comes in the stream, since an EventSource
// sees neither status nor body of anything but a 200.
//
// A stream is a socket on the wire (socket.go), or else its handler's
// goroutine (stream.go), with a subscription and a timer. It holds neither
// buffer nor messages while it waits; what it writes are frames that all
// streams share, joined.
package sse

import (
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/hub"
	"crier/internal/transport"
	"crier/internal/wire"
)

// transportName is what metrics call us.
const transportName = "sse"

// Config is what a Handler needs. Hub is required; all else has defaults.
type Config struct {
	Hub     *hub.Hub
	Wire    *wire.Engine       // for connections that can be on it; nil: all are served in the portable way
	Metrics *transport.Metrics // nil: counted nowhere
	Logger  *slog.Logger       // nil: none
	Now     func() time.Time   // for figures, not for deadlines; nil: time.Now

	Heartbeat  time.Duration // how often an idle stream gives a sign of life; 0: 15 s
	Retry      time.Duration // after a cut a client comes back after this, up to three times as long; 0: 2 s
	RetryAfter time.Duration // and this when it was asked to come back later, up to three times as long; 0: 5 s
	Stall      time.Duration // how long a peer may take nothing that is written; 0: 5 min
}

// Handler serves the streams of one hub. All methods may be called
// concurrently.
type Handler struct {
	cfg       Config
	plain     Format
	whole     Format
	flows     *transport.Flows // nil: there is no wire
	delivered prometheus.Counter
	streams   *transport.Streams
	batches   sync.Pool // of *hub.Batch
}

// New makes a handler.
func New(cfg Config) *Handler {
	if cfg.Metrics == nil {
		cfg.Metrics = transport.NewMetrics(nil)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&cfg.Heartbeat, 15 * time.Second}, {&cfg.Retry, 2 * time.Second},
		{&cfg.RetryAfter, 5 * time.Second}, {&cfg.Stall, 5 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		cfg:       cfg,
		plain:     &native{&cfg, cfg.Hub.NewEncoding(appendMessage)},
		whole:     &native{&cfg, cfg.Hub.NewEncoding(appendWhole)},
		delivered: cfg.Metrics.Delivered.WithLabelValues(transportName),
		streams:   transport.NewStreams(cfg.Stall, cfg.Metrics.DeliveredBytes.WithLabelValues(transportName)),
		batches:   sync.Pool{New: func() any { return new(hub.Batch) }},
	}
	if cfg.Wire != nil {
		h.flows = transport.NewFlows(cfg.Wire, cfg.Metrics, transportName, cfg.Now)
	}
	return h
}

// Serve listens, and returns when the stream has ended or belongs to the wire.
// An error means that nothing was written yet and the caller answers the
// request, perhaps with [Handler.Restart].
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, l transport.Listen) error {
	if l.Envelope {
		return h.ServeAs(w, r, l, h.whole)
	}
	return h.ServeAs(w, r, l, h.plain)
}

// ServeAs is Serve with the bytes of another format; l.Envelope says nothing
// to it. Headers that the caller has set stay as they are.
func (h *Handler) ServeAs(w http.ResponseWriter, r *http.Request, l transport.Listen, f Format) error {
	if taken, err := h.serveSocket(w, r, l, f); taken {
		return err
	}
	signal := hub.NewSignal()
	sub, err := l.Domain.Subscribe(l.Conn.Context(), hub.Options{
		Filter: l.Filter, Start: l.Start, Unreadable: l.Unreadable, Waker: signal,
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	l.Conn.Track("", sub)
	defer l.Conn.Untrack(sub)
	writeHeader(w)
	out := h.streams.Open(w, l.Conn)
	defer out.Close()
	s := &stream{h: h, conn: l.Conn, sub: sub, signal: signal, out: out, format: f, enc: f.Messages(), told: l.Start.After}
	cause := s.run()
	s.bye(cause)
	h.cfg.Metrics.Ended.WithLabelValues(transportName, transport.EndLabel(cause)).Inc()
	return nil
}

// Restart answers a request that cannot be served now in the only way that an
// EventSource understands: a stream that asks it to come back, and ends.
func (h *Handler) Restart(w http.ResponseWriter, _ *http.Request) {
	writeHeader(w)
	b := AppendRetry(nil, h.cfg.retryAfter())
	_, _ = w.Write(appendBye(b, eventRestart, "unavailable", ""))
}

// writeHeader answers 200. Proxies are asked to hold nothing back and to
// leave the bytes as they are.
func writeHeader(w http.ResponseWriter) {
	setHeader(w.Header())
	w.WriteHeader(http.StatusOK)
}

func setHeader(header http.Header) {
	header.Set("Content-Type", "text/event-stream")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-cache, no-transform")
	}
	header.Set("X-Accel-Buffering", "no")
}
