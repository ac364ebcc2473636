package pushcart

import "github.com/prometheus/client_golang/prometheus"

// RelayMetrics count what goes to Redis.
type RelayMetrics struct {
	Published prometheus.Counter
	Failed    prometheus.Counter
	Gaps      prometheus.Counter
	Active    prometheus.Gauge
}

// NewRelayMetrics makes the metrics and registers them (nil: nowhere).
func NewRelayMetrics(reg prometheus.Registerer) *RelayMetrics {
	m := &RelayMetrics{
		Published: prometheus.NewCounter(prometheus.CounterOpts{Name: "crier_pushcart_redis_published_total", Help: "Messages published to Redis, those that were published again too."}),
		Failed:    prometheus.NewCounter(prometheus.CounterOpts{Name: "crier_pushcart_redis_failed_total", Help: "Tries to publish to Redis that failed; each is repeated."}),
		Gaps:      prometheus.NewCounter(prometheus.CounterOpts{Name: "crier_pushcart_redis_gaps_total", Help: "Times that history no longer held what Redis was yet to get."}),
		Active:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "crier_pushcart_redis_active", Help: "1 while this node is the one that publishes to Redis, else 0."}),
	}
	if reg != nil {
		reg.MustRegister(m.Published, m.Failed, m.Gaps, m.Active)
	}
	return m
}
