package httpapi

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the public API.
type Metrics struct {
	Refusals  *prometheus.CounterVec // by method and status
	Refused   *prometheus.CounterVec // by reason
	Publishes *prometheus.CounterVec // requests by way
	Returned  *prometheus.CounterVec // connections by reason
	Adopted   prometheus.Gauge
}

// NewMetrics makes the metrics and registers them (nil: nowhere).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		Refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_requests_refused_total", Help: "Requests to the public API that were refused, by method and status.",
		}, []string{"method", "status"}),
		Refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_refused_total", Help: "What the public API refused for a reason of its own: rate, busy, away (the engine), and those of access.",
		}, []string{"reason"}),
	}
	m.Publishes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "crier_publish_requests_total", Help: "Publishes of one message by HTTP that were answered 201, by way: loop (a loop of sockets) or http (net/http).",
	}, []string{"way"})
	m.Returned = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "crier_publishers_returned_total", Help: "Publishers' connections that a loop gave back to net/http, by reason: what came next was of another shape, had a header that is not known, was large, slow, only a part, had another credential, was to be refused, or was one too many at once (busy).",
	}, []string{"reason"})
	m.Adopted = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "crier_publishers", Help: "Publishers' connections that are served by a loop of sockets.",
	})
	if reg != nil {
		reg.MustRegister(m.Refusals, m.Refused, m.Publishes, m.Returned, m.Adopted)
	}
	return m
}
