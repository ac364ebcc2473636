package qri

import "github.com/prometheus/client_golang/prometheus"

// IngestMetrics is what the TCP side counts.
type IngestMetrics struct {
	Messages prometheus.Counter     // read and handed to the log
	Refused  *prometheus.CounterVec // connections closed for what came, by reason
}

// NewIngestMetrics makes the metrics and registers them (nil: nowhere).
func NewIngestMetrics(reg prometheus.Registerer) *IngestMetrics {
	m := &IngestMetrics{
		Messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "crier_qri_messages_total", Help: "Messages that backends sent over QRI's TCP port and the log took.",
		}),
		Refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_qri_connections_closed_total", Help: "Connections to QRI's TCP port that were closed for what came over them, by reason.",
		}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.Messages, m.Refused)
	}
	return m
}
