package node

import (
	"io/fs"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemarkio/tidemark/connectors/control"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Figures that no part registers itself: what the node is made of, its
// registry, its stores. They are read when asked for.
var (
	descReady = prometheus.NewDesc("tidemark_node_ready", "1 while requests are processed and clients served; /readyz says why not.", nil, nil)

	descLeader      = prometheus.NewDesc("tidemark_registry_leader", "1 on the registry node that leads.", nil, nil)
	descKnowsLeader = prometheus.NewDesc("tidemark_registry_ready", "1 while this registry node has a leader and holds the registry.", nil, nil)
	descMembers     = prometheus.NewDesc("tidemark_registry_members", "Members of the registry's quorum.", nil, nil)
	descTerm        = prometheus.NewDesc("tidemark_registry_term", "Raft's term; it rises with every election.", nil, nil)
	descCommitted   = prometheus.NewDesc("tidemark_registry_commit_index", "Newest entry of Raft's log that is known to be committed.", nil, nil)
	descApplied     = prometheus.NewDesc("tidemark_registry_applied_index", "Newest entry of Raft's log that is applied here.", nil, nil)
	descContact     = prometheus.NewDesc("tidemark_registry_leader_contact_seconds", "Seconds since the leader was heard; 0 on the leader, -1 never.", nil, nil)
	descRevision    = prometheus.NewDesc("tidemark_registry_revision", "Revision of the registry.", nil, nil)

	descPending  = prometheus.NewDesc("tidemark_control_pending_records", "Changes of settings that are not yet in every partition's log.", nil, nil)
	descLag      = prometheus.NewDesc("tidemark_control_publication_lag_seconds", "Seconds that the oldest of them has waited; 0: none waits.", nil, nil)
	descBehind   = prometheus.NewDesc("tidemark_control_partitions_behind", "Partitions that lack settings, on the registry node that leads.", nil, nil)
	descTick     = prometheus.NewDesc("tidemark_control_tick_timestamp_seconds", "When partitions were last looked at to tell them the time, seconds since 1970; only on the registry node that leads.", nil, nil)
	descRecords  = prometheus.NewDesc("tidemark_control_records_total", "Control records written.", nil, nil)
	descFailures = prometheus.NewDesc("tidemark_control_failures_total", "Control records that could not be written at once.", nil, nil)

	descDisk      = prometheus.NewDesc("tidemark_state_disk_bytes", "Bytes on disk below the data directory, by what they are for. Read at most every 10 seconds.", []string{"store"}, nil)
	descCache     = prometheus.NewDesc("tidemark_state_cache_bytes", "Bytes of blocks in the stores' cache.", nil, nil)
	descCacheMax  = prometheus.NewDesc("tidemark_state_cache_max_bytes", "Bytes that the stores' cache may hold, memtables included.", nil, nil)
	descCacheHit  = prometheus.NewDesc("tidemark_state_cache_hits_total", "Blocks that were found in the stores' cache.", nil, nil)
	descCacheMiss = prometheus.NewDesc("tidemark_state_cache_misses_total", "Blocks that had to be read from disk.", nil, nil)
)

// registerBuild says what runs here.
func registerBuild(r prometheus.Registerer, version string) error {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_build_info", Help: "1; its labels say which build runs here.",
		ConstLabels: prometheus.Labels{"version": version, "go_version": goruntime.Version()}})
	g.Set(1)
	return r.Register(g)
}

// nodeCollector reads a node.
type nodeCollector struct {
	node *Node
	disk diskUse
}

// Describe implements prometheus.Collector.
func (c *nodeCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReady, descLeader, descKnowsLeader, descMembers, descTerm, descCommitted, descApplied, descContact, descRevision,
		descPending, descLag, descBehind, descTick, descRecords, descFailures,
	} {
		to <- d
	}
	describeState(to)
}

// Collect implements prometheus.Collector.
func (c *nodeCollector) Collect(to chan<- prometheus.Metric) {
	n := c.node
	gauge(to, descReady, flag(n.Ready() == nil))
	if !n.running.Load() {
		return
	}
	collectRegistry(to, n.registry.Status(), n.cfg.Now())
	collectControl(to, n.publisher.Status())
	if n.shared != nil {
		collectState(to, n.shared, c.disk.bytes(n.cfg.Now()))
	}
}

func collectRegistry(to chan<- prometheus.Metric, s registry.Status, now time.Time) {
	gauge(to, descLeader, flag(s.State == "leader"))
	gauge(to, descKnowsLeader, flag(s.Ready))
	gauge(to, descMembers, float64(len(s.Peers)))
	gauge(to, descTerm, float64(s.Term))
	gauge(to, descCommitted, float64(s.CommitIndex))
	gauge(to, descApplied, float64(s.AppliedIndex))
	contact := float64(s.LastContactAgo)
	if contact > 0 {
		contact /= 1000
	}
	gauge(to, descContact, contact)
	gauge(to, descRevision, float64(s.Revision))
	gauge(to, descPending, float64(s.Publication.Pending))
	lag := 0.0
	if since := s.Publication.OldestSince; since > 0 {
		lag = max(0, now.Sub(time.UnixMilli(since)).Seconds())
	}
	gauge(to, descLag, lag)
}

func collectControl(to chan<- prometheus.Metric, s control.Status) {
	gauge(to, descBehind, float64(s.Behind))
	if s.Leading && !s.LastTick.IsZero() {
		gauge(to, descTick, float64(s.LastTick.UnixMilli())/1000)
	}
	counter(to, descRecords, float64(s.Written))
	counter(to, descFailures, float64(s.Failed))
}

func describeState(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descDisk, descCache, descCacheMax, descCacheHit, descCacheMiss} {
		to <- d
	}
}

func collectState(to chan<- prometheus.Metric, shared *state.Shared, disk map[string]int64) {
	for _, store := range diskStores {
		gauge(to, descDisk, float64(disk[store]), store)
	}
	s := shared.Stats()
	gauge(to, descCache, float64(s.Bytes))
	gauge(to, descCacheMax, float64(s.BytesMax))
	counter(to, descCacheHit, float64(s.Hits))
	counter(to, descCacheMiss, float64(s.Misses))
}

func gauge(to chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func counter(to chan<- prometheus.Metric, d *prometheus.Desc, v float64) {
	to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v)
}

func flag(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// diskStores are what a data directory is told apart into.
var diskStores = []string{"task", "view", "global", "registry", "kafka", "aside", "other"}

// diskFresh is how long a sum is given again, however often we are scraped.
const diskFresh = 10 * time.Second

// diskUse sums up what a data directory holds.
type diskUse struct {
	dir  string
	mu   sync.Mutex
	at   time.Time
	last map[string]int64
}

// bytes sums up by store. What vanishes meanwhile (compactions) is left out.
func (d *diskUse) bytes(now time.Time) map[string]int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last != nil && now.Sub(d.at) < diskFresh {
		return d.last
	}
	d.at, d.last = now, make(map[string]int64)
	_ = filepath.WalkDir(d.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil //nolint:nilerr // it has gone
		}
		if info, err := e.Info(); err == nil {
			d.last[storeOf(d.dir, name)] += info.Size()
		}
		return nil
	})
	return d.last
}

// storeOf tells from a file's path which store it belongs to: state/task-3/…
// in a node's directory, task-3/… in a processor's.
func storeOf(dir, file string) string {
	rel, err := filepath.Rel(dir, file)
	if err != nil {
		return "other"
	}
	first := strings.Split(strings.TrimPrefix(filepath.ToSlash(rel), "state/"), "/")[0]
	if strings.Contains(first, ".aside-") {
		return "aside"
	}
	first, _, _ = strings.Cut(first, "-")
	for _, store := range diskStores {
		if first == store {
			return store
		}
	}
	return "other"
}

// processorCollector reads a processor.
type processorCollector struct {
	processor *Processor
	disk      diskUse
}

// Describe implements prometheus.Collector.
func (*processorCollector) Describe(to chan<- *prometheus.Desc) {
	to <- descReady
	describeState(to)
}

// Collect implements prometheus.Collector.
func (c *processorCollector) Collect(to chan<- prometheus.Metric) {
	gauge(to, descReady, flag(c.processor.ready() == nil))
	collectState(to, c.processor.shared, c.disk.bytes(time.Now()))
}
