package edge

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
)

// Why a connection was refused, as a label.
const (
	refusedOverloaded   = "overloaded"
	refusedConnections  = "connections"
	refusedNotReady     = "not_ready"
	refusedUnauthorized = "unauthorized"
	refusedBad          = "bad_request"
)

// closeCodes are the label values of closed sessions.
var closeCodes = []schemas.CloseCode{
	schemas.CloseGoingAway, schemas.CloseInternal, schemas.CloseNotReady, schemas.CloseSilent, schemas.CloseSlow, schemas.CloseUnauthorized,
	schemas.CloseDevice, schemas.CloseReplaced, schemas.CloseProtocol, schemas.CloseTooLarge, schemas.CloseNormal,
}

// metrics has a fixed number of series: labels are partitions, transports and
// codes, never names of users or businesses.
type metrics struct {
	sessions        *prometheus.GaugeVec // by transport
	handshakes      prometheus.Gauge
	refused         *prometheus.CounterVec // by reason
	ended           *prometheus.CounterVec // by transport, code
	connectSeconds  prometheus.Histogram
	waiting         prometheus.Gauge
	entries         prometheus.Counter
	writes          prometheus.Counter
	bytes           prometheus.Counter
	latency         prometheus.Histogram
	ackSeconds      prometheus.Histogram
	ackEntries      prometheus.Counter
	ackErrors       prometheus.Counter
	presenceRecords prometheus.Counter
	presenceErrors  prometheus.Counter
	records         *prometheus.CounterVec // by what became of them
	validations     *prometheus.CounterVec // by verdict
	retries         prometheus.Counter
	usersEnded      prometheus.Counter

	all []prometheus.Collector
}

func newMetrics() *metrics {
	m := &metrics{}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_edge_" + name, Help: help})
		m.all = append(m.all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_edge_" + name, Help: help})
		m.all = append(m.all, g)
		return g
	}
	histogram := func(name, help string, from float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemark_edge_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(from, 2, 16),
		})
		m.all = append(m.all, h)
		return h
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_edge_" + name, Help: help}, labels)
		m.all = append(m.all, c)
		return c
	}
	m.sessions = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "tidemark_edge_sessions", Help: "Live sessions, by transport."}, []string{"transport"})
	m.all = append(m.all, m.sessions)
	m.handshakes = gauge("handshakes", "Connections being set up.")
	m.refused = counters("refused_total", "Connections refused, by reason.", "reason")
	m.ended = counters("closed_total", "Sessions closed, by transport and close code.", "transport", "code")
	m.connectSeconds = histogram("connect_seconds", "From the first byte of a request to its session.", 0.0001)
	m.waiting = gauge("clients_waiting", "Clients whose socket takes nothing now.")
	m.entries = counter("entries_delivered_total", "Entries written to clients.")
	m.writes = counter("writes_total", "Writes that carried entries.")
	m.bytes = counter("bytes_written_total", "Bytes written to clients.")
	m.latency = histogram("delivery_seconds", "From an entry's record on the oplog to its write, for entries that were pushed live.", 0.0005)
	m.ackSeconds = histogram("ack_seconds", "From an acknowledgement to its record on the acks topic.", 0.0005)
	m.ackEntries = counter("entries_acknowledged_total", "Delivered entries that clients confirmed.")
	m.ackErrors = counter("ack_errors_total", "Sync points that could not be written.")
	m.presenceRecords = counter("presence_records_total", "Records written to the presence topic.")
	m.presenceErrors = counter("presence_errors_total", "Presence records that could not be written.")
	m.records = counters("oplog_records_total", "Records read, by what the reader's rule made of them.", "verdict")
	m.validations = counters("validations_total", "Session validations, by verdict.", "verdict")
	m.retries = counter("validation_retries_total", "Session validations that were asked again, as the tenant had not answered.")
	m.usersEnded = counter("users_ended_total", "Users unbound while connected, as the proof of them had ended.")
	m.preset()
	return m
}

// preset makes all series that there will be, so that they begin at 0.
func (m *metrics) preset() {
	for _, transport := range transports {
		m.sessions.WithLabelValues(transport)
		for _, code := range closeCodes {
			m.ended.WithLabelValues(transport, strconv.Itoa(int(code)))
		}
	}
	for _, reason := range []string{refusedOverloaded, refusedConnections, refusedNotReady, refusedUnauthorized, refusedBad} {
		m.refused.WithLabelValues(reason)
	}
	for _, verdict := range []string{"accept", "repeat", "orphan", "marker"} {
		m.records.WithLabelValues(verdict)
	}
	for _, verdict := range []string{"valid", "invalid", "error"} {
		m.validations.WithLabelValues(verdict)
	}
}

func (m *metrics) closed(transport string, code schemas.CloseCode) {
	m.sessions.WithLabelValues(transport).Dec()
	m.ended.WithLabelValues(transport, strconv.Itoa(int(code))).Inc()
}

func (m *metrics) applied(out *view.Applied) {
	m.records.WithLabelValues("accept").Add(float64(len(out.Entries)))
	m.records.WithLabelValues("repeat").Add(float64(out.Repeats))
	m.records.WithLabelValues("orphan").Add(float64(out.Orphans))
	m.records.WithLabelValues("marker").Add(float64(out.Markers))
}

func (m *metrics) acked(a *schemas.Ack, took time.Duration) {
	m.ackSeconds.Observe(took.Seconds())
	m.ackEntries.Add(float64(a.Entries))
}

// partitionLag and partitionParked are read from the partitions when asked.
var (
	partitionLag = prometheus.NewDesc("tidemark_edge_lag_records",
		"Records of the oplog partition that the view has not got.", []string{"partition"}, nil)
	partitionParked = prometheus.NewDesc("tidemark_edge_parked",
		"1 while the partition stands still; the status page says why.", []string{"partition"}, nil)
)

// partitionCollector collects what partitions know themselves.
type partitionCollector struct{ s *Server }

// Describe implements prometheus.Collector.
func (partitionCollector) Describe(to chan<- *prometheus.Desc) {
	to <- partitionLag
	to <- partitionParked
}

// Collect implements prometheus.Collector.
func (c partitionCollector) Collect(to chan<- prometheus.Metric) {
	for _, p := range c.s.Partitions() {
		label, parked := strconv.Itoa(int(p.Partition)), 0.0
		if p.Parked != "" {
			parked = 1
		}
		to <- prometheus.MustNewConstMetric(partitionLag, prometheus.GaugeValue, float64(p.Lag), label)
		to <- prometheus.MustNewConstMetric(partitionParked, prometheus.GaugeValue, parked, label)
	}
}

func (m *metrics) register(r prometheus.Registerer, s *Server) error {
	if r == nil {
		return nil
	}
	for _, c := range append(m.all, partitionCollector{s}) {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("edge: register metrics: %w", err)
		}
	}
	return nil
}
