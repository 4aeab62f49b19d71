package ingress

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemarkio/tidemark/schemas"
)

type metrics struct {
	calls   *prometheus.CounterVec
	latency prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_ingress_calls_total",
			Help: "HTTP calls answered, by result code."}, []string{"code"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tidemark_ingress_call_seconds",
			Help: "Time from call to answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
	}
	for _, c := range schemas.Codes {
		m.calls.WithLabelValues(string(c.Code))
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.latency} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("ingress: register metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) observe(code schemas.Code, took time.Duration) {
	m.calls.WithLabelValues(string(code)).Inc()
	m.latency.Observe(took.Seconds())
}
