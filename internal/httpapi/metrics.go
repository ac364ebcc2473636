package httpapi

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the public API.
type Metrics struct {
	Refusals *prometheus.CounterVec // by method and status
	Refused  *prometheus.CounterVec // by reason
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
	if reg != nil {
		reg.MustRegister(m.Refusals, m.Refused)
	}
	return m
}
