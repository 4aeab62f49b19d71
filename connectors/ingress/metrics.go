package ingress

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemarkio/tidemark/schemas"
)

type metrics struct {
	calls   *prometheus.CounterVec
	refused *prometheus.CounterVec
	latency prometheus.Histogram
	calling prometheus.GaugeFunc // calls under way
	bodies  prometheus.GaugeFunc // bytes of their bodies
}

func newMetrics(p *places) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_ingress_calls_total",
			Help: "HTTP calls answered, by result code."}, []string{"code"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_ingress_refused_total",
			Help: "HTTP calls that never became a request, by reason."}, []string{"reason"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "tidemark_ingress_call_seconds",
			Help: "Time from call to answer.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
		calling: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidemark_ingress_in_flight", Help: "HTTP calls under way, from their headers on."},
			func() float64 { calls, _ := p.used(); return float64(calls) }),
		bodies: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidemark_ingress_body_bytes", Help: "Bytes kept for the bodies of HTTP calls under way."},
			func() float64 { _, bytes := p.used(); return float64(bytes) }),
	}
	for _, c := range schemas.Codes {
		m.calls.WithLabelValues(string(c.Code))
	}
	for _, r := range refusals {
		m.refused.WithLabelValues(r.label)
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.refused, m.latency, m.calling, m.bodies} {
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
