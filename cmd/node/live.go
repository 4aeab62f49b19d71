package node

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/processor/runtime"
)

// liveFresh is how long a snapshot is given again: however many look, the node
// is asked this often.
const liveFresh = 900 * time.Millisecond

// liveRates are the counters that the overview shows the pace of, liveTimes the
// histograms that it shows percentiles of.
var (
	liveRates = map[string]string{
		"calls":        "tidemark_ingress_calls_total",
		"decided":      "tidemark_processor_decided_total",
		"delivered":    "tidemark_edge_entries_delivered_total",
		"acknowledged": "tidemark_edge_entries_acknowledged_total",
	}
	liveTimes = map[string]string{
		"call":     "tidemark_ingress_call_seconds",
		"delivery": "tidemark_edge_delivery_seconds",
		"ack":      "tidemark_edge_ack_seconds",
	}
)

// live makes the overview's figures from the node's own metrics.
type live struct {
	node *Node

	mu     sync.Mutex
	at     time.Time
	last   *console.Snapshot
	counts map[string]float64
	times  map[string]map[float64]uint64 // cumulative counts by upper bound
}

// Live gives a snapshot. Rates and percentiles are over the time since the
// snapshot before, whoever asked for that.
func (l *live) Live(context.Context) (*console.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.last != nil && now.Sub(l.at) < liveFresh {
		return l.last, nil
	}
	families, err := l.node.metrics.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
	byName := make(map[string]*dto.MetricFamily, len(families))
	for _, f := range families {
		byName[f.GetName()] = f
	}
	s := l.status(now)
	counts, times := make(map[string]float64), make(map[string]map[float64]uint64)
	for what, name := range liveRates {
		counts[what] = total(byName[name])
		if since := now.Sub(l.at).Seconds(); l.last != nil {
			s.Rates[what] = max(0, counts[what]-l.counts[what]) / since
		} else {
			s.Rates[what] = 0
		}
	}
	for what, name := range liveTimes {
		times[what] = buckets(byName[name])
		s.Latency[what] = latency(times[what], l.times[what])
	}
	l.at, l.last, l.counts, l.times = now, s, counts, times
	return s, nil
}

// status fills in what the node's parts say of themselves.
func (l *live) status(now time.Time) *console.Snapshot {
	n := l.node.Status()
	s := &console.Snapshot{
		Time: now.UnixMilli(), Node: l.node.cfg.Registry.ID, Ready: n.Ready, Waiting: n.Waiting, Rates: map[string]float64{}, Latency: map[string]console.Latency{},
		Partitions: make([]console.PartitionLive, len(n.Partitions)), Others: []console.OtherNode{},
	}
	views := make(map[int32]*console.PartitionLive)
	for i := range n.Partitions {
		p, to := &n.Partitions[i], &s.Partitions[i]
		*to = console.PartitionLive{Partition: p.Partition, State: string(p.State), Lag: p.Lag, InFlight: p.InFlight, Reason: p.Reason, StreamTime: p.Position.StreamTime}
		if p.State == runtime.StateParked {
			s.Parked++
		}
		views[p.Partition] = to
	}
	if e := n.Edge; e != nil {
		s.Connections = e.Connections
		for _, v := range e.Views {
			if to := views[v.Partition]; to != nil {
				to.ViewLag, to.Online = v.Lag, v.Online
			}
			if v.Parked != "" {
				s.Parked++
			}
		}
	}
	if r := n.Registry; r != nil {
		s.Quorum = console.QuorumLive{State: r.State, Leader: r.Leader, Ready: r.Ready, Members: len(r.Peers), Revision: r.Revision, Pending: r.Publication.Pending}
		for _, p := range r.Peers {
			if p.Reachable {
				s.Quorum.Reachable++
			}
			if p.ID != s.Node {
				s.Others = append(s.Others, console.OtherNode{Node: p.ID, Admin: p.Admin})
			}
		}
	}
	return s
}

// total adds a counter's series up.
func total(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum
}

func buckets(f *dto.MetricFamily) map[float64]uint64 {
	all := make(map[float64]uint64)
	for _, m := range f.GetMetric() {
		h := m.GetHistogram()
		for _, b := range h.GetBucket() {
			all[b.GetUpperBound()] += b.GetCumulativeCount()
		}
		all[math.Inf(1)] += h.GetSampleCount()
	}
	return all
}

// latency estimates percentiles of what was observed since before, as the upper
// bound of the bucket that they fall into; past the last bound, that bound.
func latency(now, before map[float64]uint64) console.Latency {
	bounds := slices.Sorted(maps.Keys(now))
	n := now[math.Inf(1)] - before[math.Inf(1)]
	if n == 0 {
		return console.Latency{}
	}
	at := func(q float64) float64 {
		for _, b := range bounds[:len(bounds)-1] {
			if float64(now[b]-before[b]) >= q*float64(n) {
				return b
			}
		}
		return bounds[len(bounds)-2]
	}
	return console.Latency{P50: at(0.5), P95: at(0.95), P99: at(0.99), Count: int64(n)} //nolint:gosec // a count of moments
}
