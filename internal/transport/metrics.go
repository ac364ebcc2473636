package transport

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics that all transports count in.
type Metrics struct {
	Open           *prometheus.GaugeVec   // by transport
	Refused        *prometheus.CounterVec // by reason
	Ended          *prometheus.CounterVec // by transport, reason
	Delivered      *prometheus.CounterVec // messages, by transport
	DeliveredBytes *prometheus.CounterVec // by transport
	// DeliverySeconds is from a message's time in the log to its being
	// written to a subscriber that was not behind.
	DeliverySeconds prometheus.Histogram
}

// NewMetrics makes the metrics and registers them (nil: nowhere).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Open:           prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "crier_connections", Help: "Connections that are open, by transport."}, []string{"transport"}),
		Refused:        counter("crier_connections_refused_total", "Connections that were refused, by reason.", "reason"),
		Ended:          counter("crier_connections_ended_total", "Connections that ended, by transport and reason.", "transport", "reason"),
		Delivered:      counter("crier_messages_delivered_total", "Messages written to subscribers, by transport.", "transport"),
		DeliveredBytes: counter("crier_delivered_bytes_total", "Bytes written to subscribers, by transport.", "transport"),
		DeliverySeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "crier_delivery_seconds", Help: "From a message being in the log to its being written to a subscriber that keeps up.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.Open, m.Refused, m.Ended, m.Delivered, m.DeliveredBytes, m.DeliverySeconds)
	}
	return m
}

// Delivery observes the latency of a message written just now, unless it is
// history.
func (m *Metrics) Delivery(now, sent time.Time) {
	if d := now.Sub(sent); d < time.Minute {
		m.DeliverySeconds.Observe(d.Seconds())
	}
}
