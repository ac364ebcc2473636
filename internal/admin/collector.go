package admin

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSample bounds the connections whose lag is looked at for one scrape.
const maxSample = 10_000

// lagBuckets are sequence numbers.
var lagBuckets = []float64{0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000}

// collector has what is looked up when it is asked for, rather than counted
// as it happens.
type collector struct {
	a *Admin

	ready, open, domains, lag *prometheus.Desc
}

func newCollector(a *Admin) *collector {
	return &collector{
		a:       a,
		ready:   prometheus.NewDesc("crier_ready", "1 if /readyz says that the server is ready, else 0.", nil, nil),
		open:    prometheus.NewDesc("crier_access_open", "1 while everybody on this machine may publish and subscribe, else 0.", nil, nil),
		domains: prometheus.NewDesc("crier_domains", "Domains that there are.", nil, nil),
		lag:     prometheus.NewDesc("crier_subscription_lag_messages", "How many sequence numbers subscriptions are behind their log now, of 10,000 connections if there are more.", nil, nil),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.ready, c.open, c.domains, c.lag} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	_, _, ready := c.a.ready.look(context.Background())
	gauge := func(d *prometheus.Desc, v float64) { ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(c.ready, number(ready))
	gauge(c.open, number(c.a.Access.Open()))
	gauge(c.domains, float64(len(c.a.Hub.Domains())))
	ch <- c.lags()
}

// lags looks how far behind subscriptions are. The histogram is of the
// present: its count falls when connections end.
func (c *collector) lags() prometheus.Metric {
	counts := make(map[float64]uint64, len(lagBuckets))
	for _, le := range lagBuckets {
		counts[le] = 0
	}
	var n uint64
	var sum float64
	for _, conn := range c.a.Table.Sample(maxSample) {
		for _, s := range conn.Subscriptions() {
			lag := float64(s.Lag)
			n++
			sum += lag
			for _, le := range lagBuckets {
				if lag <= le {
					counts[le]++
				}
			}
		}
	}
	return prometheus.MustNewConstHistogram(c.lag, n, sum, counts)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
