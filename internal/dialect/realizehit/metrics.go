package realizehit

import "github.com/prometheus/client_golang/prometheus"

// RedisMetrics count what goes to Redis and comes from there.
type RedisMetrics struct {
	Published prometheus.Counter
	Taken     prometheus.Counter
	Dropped   *prometheus.CounterVec // by reason
	Wants     prometheus.Gauge
	Connected prometheus.Gauge
}

// The reasons for which something is dropped.
const (
	droppedSize  = "size"  // the payload is longer than a message may be
	droppedFull  = "full"  // the log did not take what came from Redis for too long
	droppedAway  = "away"  // Redis was away for longer than what waits for it may be
	droppedLease = "lease" // another node listens now
)

// NewRedisMetrics makes the metrics and registers them (nil: nowhere).
func NewRedisMetrics(reg prometheus.Registerer) *RedisMetrics {
	m := &RedisMetrics{
		Published: prometheus.NewCounter(prometheus.CounterOpts{Name: "crier_realizehit_redis_published_total", Help: "Messages published to Redis."}),
		Taken:     prometheus.NewCounter(prometheus.CounterOpts{Name: "crier_realizehit_redis_taken_total", Help: "Messages taken in from Redis."}),
		Dropped:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "crier_realizehit_redis_dropped_total", Help: "Messages that did not get to Redis or in from there, by reason."}, []string{"reason"}),
		Wants:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "crier_realizehit_redis_subscriptions", Help: "Channels and patterns that this node is subscribed to in Redis."}),
		Connected: prometheus.NewGauge(prometheus.GaugeOpts{Name: "crier_realizehit_redis_listening", Help: "1 while this node listens to Redis, else 0."}),
	}
	for _, reason := range []string{droppedSize, droppedFull, droppedAway, droppedLease} {
		m.Dropped.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.Published, m.Taken, m.Dropped, m.Wants, m.Connected)
	}
	return m
}
