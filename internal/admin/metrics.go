package admin

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics of the operator's listener.
type Metrics struct {
	Requests *prometheus.CounterVec   // by route, method, status
	Seconds  *prometheus.HistogramVec // by route
	Refused  *prometheus.CounterVec   // by reason
}

// NewMetrics makes the metrics and registers them (nil: nowhere).
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_admin_requests_total", Help: "Requests to the operator's listener, by route, method and status.",
		}, []string{"route", "method", "status"}),
		Seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "crier_admin_request_seconds", Help: "Time to answer a request to the operator's listener, by route.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}, []string{"route"}),
		Refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "crier_admin_refused_total", Help: "Requests to the operator's listener whose credential was refused, by reason.",
		}, []string{"reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.Requests, m.Seconds, m.Refused)
	}
	return m
}

// knownMethods bounds a label that clients choose.
var knownMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

// request counts one. route is a pattern, never a URL.
func (m *Metrics) request(route, method string, status int, took time.Duration) {
	if !slices.Contains(knownMethods, method) {
		method = "other"
	}
	if status == 0 { // a handler that wrote nothing
		status = http.StatusOK
	}
	m.Requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.Seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *Metrics) refused(reason string) { m.Refused.WithLabelValues(reason).Inc() }

// RegisterProcess registers what is true of the process and not of a part of
// it: the collectors of the Go runtime and of the operating system, and
// crier_build_info.
func RegisterProcess(reg prometheus.Registerer, version string) {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "crier_build_info", Help: "Always 1; its labels say which build this is.",
	}, []string{"version", "go"})
	build.WithLabelValues(version, runtime.Version()).Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// promLog takes what the exposition of metrics has to complain about.
type promLog struct{ *slog.Logger }

// Println implements promhttp.Logger.
func (l promLog) Println(v ...any) { l.Warn("metrics", "error", fmt.Sprint(v...)) }
