package runtime

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

// metrics of a node's tasks. Their number does not depend on the number of
// partitions, businesses or targets.
type metrics struct {
	rt      *Runtime
	outputs *prometheus.CounterVec
	tailed  *prometheus.CounterVec
	decided prometheus.Counter
	states  *prometheus.Desc
	lag     *prometheus.Desc
	flight  *prometheus.Desc
}

func newMetrics(rt *Runtime) *metrics {
	const ns = "tidemark_processor_"
	return &metrics{
		rt: rt,
		outputs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + "outputs_total",
			Help: "Records written by sync tasks, by kind."}, []string{"kind"}),
		tailed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + "tail_records_total",
			Help: "Oplog records read back while following or recovering, by the reader's verdict. An orphan is an append that came before one that failed."}, []string{"verdict"}),
		decided: prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "decided_total",
			Help: "Requests decided."}),
		states: prometheus.NewDesc(ns+"partitions", "Partitions on this node, by state.", []string{"state"}, nil),
		lag:    prometheus.NewDesc(ns+"lag_requests", "Requests not yet decided, over the partitions that run here.", nil, nil),
		flight: prometheus.NewDesc(ns+"in_flight", "Positions decided and not complete, over the partitions that run here.", nil, nil),
	}
}

func (c *Config) registerMetrics(m *metrics) error {
	if c.Metrics == nil {
		return nil
	}
	for _, col := range []prometheus.Collector{m.outputs, m.tailed, m.decided, m} {
		if err := c.Metrics.Register(col); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) tail(v chain.Verdict) { m.tailed.WithLabelValues(v.String()).Inc() }

func (m *metrics) output(outs []processor.Output) {
	var n [processor.Forward + 1]int
	for i := range outs {
		n[outs[i].Kind]++
	}
	for k, count := range n {
		if count > 0 {
			m.outputs.WithLabelValues(processor.Kind(k).String()).Add(float64(count))
		}
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.states
	ch <- m.lag
	ch <- m.flight
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	states := map[State]int{}
	var lag, flight int64
	for _, s := range m.rt.Status() {
		states[s.State]++
		if s.State == StateRunning {
			lag += max(0, s.Lag)
			flight += int64(s.InFlight)
		}
	}
	for _, s := range []State{StateOpening, StateRestoring, StateReplaying, StateStandby, StateRunning, StateDraining, StateParked} {
		ch <- prometheus.MustNewConstMetric(m.states, prometheus.GaugeValue, float64(states[s]), string(s))
	}
	ch <- prometheus.MustNewConstMetric(m.lag, prometheus.GaugeValue, float64(lag))
	ch <- prometheus.MustNewConstMetric(m.flight, prometheus.GaugeValue, float64(flight))
}
