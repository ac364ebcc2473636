package hub

import (
	"github.com/prometheus/client_golang/prometheus"

	"crier/internal/message"
)

// Metrics of the hub.
type Metrics struct {
	Published      prometheus.Counter
	PublishedBytes prometheus.Counter
	PublishFailed  prometheus.Counter
	Repeated       prometheus.Counter
	PublishSeconds prometheus.Histogram
	Subscriptions  prometheus.Gauge
	FromStore      prometheus.Counter
	StoreErrors    prometheus.Counter
	Gaps           *prometheus.CounterVec
}

// NewMetrics makes the hub's metrics and registers them (nil: nowhere).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &Metrics{
		Published:      counter("crier_messages_published_total", "Messages appended to a log."),
		PublishedBytes: counter("crier_message_bytes_published_total", "Data bytes of messages appended to a log."),
		PublishFailed:  counter("crier_publishes_failed_total", "Publishes that the engine did not take."),
		Repeated:       counter("crier_publishes_repeated_total", "Publishes answered from their idempotency key."),
		PublishSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "crier_publish_seconds", Help: "From a publish being accepted to its being as durable as its domain says.",
			Buckets: prometheus.ExponentialBuckets(0.00005, 2, 16),
		}),
		Subscriptions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "crier_subscriptions", Help: "Subscriptions that are open."}),
		FromStore:     counter("crier_messages_from_store_total", "Messages handed to subscriptions out of the store instead of the tail in memory."),
		StoreErrors:   counter("crier_store_read_errors_total", "Reads of history that failed and were tried again."),
		Gaps:          prometheus.NewCounterVec(prometheus.CounterOpts{Name: "crier_gaps_total", Help: "Gaps told to subscriptions, by reason."}, []string{"reason"}),
	}
	for _, r := range []message.Reason{message.Retention, message.Deleted, message.NewEpoch} {
		m.Gaps.WithLabelValues(string(r))
	}
	if reg != nil {
		reg.MustRegister(m.Published, m.PublishedBytes, m.PublishFailed, m.Repeated, m.PublishSeconds,
			m.Subscriptions, m.FromStore, m.StoreErrors, m.Gaps)
	}
	return m
}

func (m *Metrics) gap(r message.Reason) { m.Gaps.WithLabelValues(string(r)).Inc() }
