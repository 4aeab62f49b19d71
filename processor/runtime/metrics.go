package runtime

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

// metrics of a node's tasks. Their number depends on the number of partitions,
// which is fixed, and on nothing that comes in requests.
type metrics struct {
	rt            *Runtime
	outputs       *prometheus.CounterVec
	tailed        *prometheus.CounterVec
	requests      *prometheus.CounterVec
	decided       prometheus.Counter
	appendSeconds prometheus.Histogram

	accepted, duplicate prometheus.Counter // of requests, at hand

	states     *prometheus.Desc
	flight     *prometheus.Desc
	lag        *prometheus.Desc
	remaining  *prometheus.Desc
	eta        *prometheus.Desc
	checkpoint *prometheus.Desc
}

// states are all label values of the metric of that name.
var states = []State{StateOpening, StateRestoring, StateReplaying, StateStandby, StateRunning, StateDraining, StateParked}

func newMetrics(rt *Runtime) *metrics {
	const ns = "tidemark_processor_"
	m := &metrics{
		rt: rt,
		outputs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + "outputs_total",
			Help: "Records written by sync tasks, by kind."}, []string{"kind"}),
		tailed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + "tail_records_total",
			Help: "Oplog records read back while following or recovering, by the reader's verdict. An orphan is an append that came before one that failed."}, []string{"verdict"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: ns + "requests_total",
			Help: "Requests decided, by result code. Who is offline (NOT_ONLINE) counts as SUCCESS here. Refusals that are answered again after a take-over count again."}, []string{"code"}),
		decided: prometheus.NewCounter(prometheus.CounterOpts{Name: ns + "decided_total",
			Help: "Records of the requests topic decided: requests, and control records."}),
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: ns + "append_seconds",
			Help: "Seconds from handing an entry to the producer to the brokers' acknowledgement. One append at a time is measured for each partition.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}),
		states:     prometheus.NewDesc(ns+"partitions", "Partitions on this node, by state.", []string{"state"}, nil),
		flight:     prometheus.NewDesc(ns+"in_flight", "Positions decided and not complete, over the partitions that run here.", nil, nil),
		lag:        prometheus.NewDesc(ns+"lag_requests", "Requests not yet decided, by partition that runs here.", []string{"partition"}, nil),
		remaining:  prometheus.NewDesc(ns+"restore_remaining_records", "Records still to be read before the partition can run or stand by; 0: none.", []string{"partition"}, nil),
		eta:        prometheus.NewDesc(ns+"restore_remaining_seconds", "Estimated seconds until they are read; 0: none, or not known yet.", []string{"partition"}, nil),
		checkpoint: prometheus.NewDesc(ns+"checkpoint_timestamp_seconds", "When the changelog last had all that the partition's store has, seconds since 1970, by partition that runs here.", []string{"partition"}, nil),
	}
	m.preset()
	return m
}

// preset makes all series that there will be, so that they begin at 0.
func (m *metrics) preset() {
	for k := processor.Append; k <= processor.Forward; k++ {
		m.outputs.WithLabelValues(k.String())
	}
	for _, v := range []chain.Verdict{chain.Accept, chain.Repeat, chain.Orphan, chain.Marker} {
		m.tailed.WithLabelValues(v.String())
	}
	for _, c := range schemas.Codes {
		if c.Code != schemas.NotOnline && c.Code != schemas.SystemError { // what tasks do not decide
			m.requests.WithLabelValues(string(c.Code))
		}
	}
	m.accepted, m.duplicate = m.requests.WithLabelValues(string(schemas.Success)), m.requests.WithLabelValues(string(schemas.DuplicatedBizID))
}

func (c *Config) registerMetrics(m *metrics) error {
	if c.Metrics == nil {
		return nil
	}
	for _, col := range []prometheus.Collector{m.outputs, m.tailed, m.requests, m.decided, m.appendSeconds, m} {
		if err := c.Metrics.Register(col); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

func (m *metrics) tail(v chain.Verdict) { m.tailed.WithLabelValues(v.String()).Inc() }

func (m *metrics) decide(records int, duplicates int64) {
	m.decided.Add(float64(records))
	m.duplicate.Add(float64(duplicates))
}

func (m *metrics) output(outs []processor.Output) {
	var n [processor.Forward + 1]int
	for i := range outs {
		n[outs[i].Kind]++
		if outs[i].Kind == processor.Reject {
			m.requests.WithLabelValues(string(outs[i].Answer.Code)).Inc()
		}
	}
	m.accepted.Add(float64(n[processor.Append]))
	for k, count := range n {
		if count > 0 {
			m.outputs.WithLabelValues(processor.Kind(k).String()).Add(float64(count))
		}
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.states, m.flight, m.lag, m.remaining, m.eta, m.checkpoint} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := map[State]int{}
	flight := 0
	for _, s := range m.rt.Status() {
		count[s.State]++
		partition := strconv.Itoa(int(s.Partition))
		if s.State == StateRunning {
			flight += s.InFlight
			gauge(m.lag, float64(max(0, s.Lag)), partition)
			if !s.Checkpoint.IsZero() {
				gauge(m.checkpoint, seconds(s.Checkpoint), partition)
			}
		}
		gauge(m.remaining, float64(max(0, s.Total-s.Done)), partition)
		gauge(m.eta, s.ETA.Seconds(), partition)
	}
	for _, s := range states {
		gauge(m.states, float64(count[s]), string(s))
	}
	gauge(m.flight, float64(flight))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
