package node

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor/runtime"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// ProcessorConfig of a [Processor]: the sync tasks alone, in a process of
// their own, against an outside Kafka.
type ProcessorConfig struct {
	DataDir        string // of the stores. Required.
	Brokers        []string
	ClusterKeyFile string // as `tidemark dev` leaves it in its data directory. Required.
	Admin          string // metrics and readiness; default DefaultAdmin
	Member         string // names the process in the group
	Standbys       int    // see runtime.Config

	Topology        topology.Config
	CacheBytes      int64
	SessionTimeout  time.Duration
	CheckpointEvery time.Duration
	Trace           TraceConfig
	Version         string // of the program, for metrics; default "dev"
	Log             *slog.Logger
}

// Validate names the first thing that is wrong.
func (c *ProcessorConfig) Validate() error {
	switch {
	case c.DataDir == "":
		return errors.New("data directory is missing: say --data-dir")
	case len(c.Brokers) == 0:
		return errors.New("brokers are missing: say --brokers")
	case c.ClusterKeyFile == "":
		return errors.New("cluster key is missing: say --cluster-key-file")
	case !loopback(c.Admin):
		return fmt.Errorf("admin address %s is not loopback: it asks nobody who they are", c.Admin)
	}
	return c.Trace.Validate()
}

// Processor runs sync tasks. Make it with [NewProcessor].
type Processor struct {
	cfg      ProcessorConfig
	topo     *topology.Topology
	metrics  *prometheus.Registry
	shared   *state.Shared
	tasks    *runtime.Runtime
	listener net.Listener
	life     lifeline
	tracing  *tracing // nil: nothing is traced
}

// NewProcessor checks the configuration, reads the key and opens the listener.
func NewProcessor(cfg ProcessorConfig) (*Processor, error) {
	if cfg.Admin == "" {
		cfg.Admin = DefaultAdmin
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	topo, err := topology.New(cfg.Topology)
	if err != nil {
		return nil, err
	}
	key, err := ReadClusterKey(cfg.ClusterKeyFile)
	if err != nil {
		return nil, err
	}
	p := &Processor{cfg: cfg, topo: topo, metrics: prometheus.NewRegistry(), life: lifeline{now: time.Now}}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&processorCollector{processor: p, disk: diskUse{dir: cfg.DataDir}})
	if err := registerBuild(p.metrics, cfg.Version); err != nil {
		return nil, err
	}
	if p.shared, err = state.NewShared(state.SharedConfig{CacheBytes: cfg.CacheBytes}); err != nil {
		return nil, err
	}
	s := &stores{dir: cfg.DataDir, shared: p.shared, topo: topo, log: cfg.Log}
	p.tasks, err = runtime.New(runtime.Config{
		Client: []kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, Topology: topo, ClusterKey: key,
		Open: s.open, SetAside: s.setAside, Member: cfg.Member, Standbys: cfg.Standbys,
		SessionTimeout: cfg.SessionTimeout, CheckpointEvery: cfg.CheckpointEvery, Log: cfg.Log, Metrics: p.metrics,
	})
	if err != nil {
		return nil, err
	}
	if p.tracing, err = openTracing(context.Background(), cfg.Trace, "processor", cfg.Version); err != nil {
		return nil, err
	}
	if p.tracing != nil {
		p.tasks.Trace(p.tracing.append)
	}
	if p.listener, err = net.Listen("tcp", cfg.Admin); err != nil {
		return nil, fmt.Errorf("listen on %s: %w (choose another address with --admin)", cfg.Admin, err)
	}
	return p, nil
}

// Run runs the tasks that the group gives to this process, until the context
// ends.
func (p *Processor) Run(ctx context.Context) error {
	if err := os.MkdirAll(p.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	if err := ensureTopics(ctx, []kgo.Opt{kgo.SeedBrokers(p.cfg.Brokers...)}, p.topo); err != nil {
		return err
	}
	parts := newParts(p.cfg.Log)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answerHealth(w, p.health()) })
	mux.HandleFunc("GET /readyz", p.serveReady)
	mux.HandleFunc("GET /api/v1/status", p.serveStatus)
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{}))
	addProfiles(mux, func(h http.Handler) http.Handler { return h })
	parts.start("admin HTTP", serve(p.listener, timely(defaultBodyTimeout, mux)))
	if p.tracing != nil {
		parts.start("traces", p.tracing.run)
	}
	parts.start("sync tasks", p.tasks.Run)
	p.cfg.Log.Info("processor started", "admin", p.listener.Addr().String())
	var err error
	select {
	case <-ctx.Done():
	case err = <-parts.failed:
		p.life.fail(err)
	}
	p.life.stop()
	return errors.Join(err, parts.stop(err), p.shared.Close())
}

// health is not nil when only a new process would help; see [Node.Health].
func (p *Processor) health() error {
	if err := p.life.check(); err != nil {
		return err
	}
	return p.tasks.Stuck()
}

func (p *Processor) ready() error {
	all := p.tasks.Status()
	if len(all) == 0 {
		return errors.New("no partition was given to this process yet")
	}
	for _, s := range all {
		if s.State != runtime.StateRunning && s.State != runtime.StateStandby {
			return fmt.Errorf("partition %d is %s %s", s.Partition, s.State, s.Reason)
		}
	}
	return nil
}

func (p *Processor) serveReady(w http.ResponseWriter, _ *http.Request) {
	if err := p.ready(); err != nil {
		plain(w, http.StatusServiceUnavailable, err.Error()+"\n")
		return
	}
	plain(w, http.StatusOK, "ready\n")
}

func (p *Processor) serveStatus(w http.ResponseWriter, _ *http.Request) {
	s := Status{Topology: p.topo.Hash(), Partitions: p.tasks.Status()}
	if err := p.ready(); err != nil {
		s.Waiting = err.Error()
	} else {
		s.Ready = true
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s) //nolint:errcheck // the caller has gone
}

// ReadClusterKey reads a cluster key file: 64 hexadecimal digits.
func ReadClusterKey(file string) (schemas.ClusterKey, error) {
	var key schemas.ClusterKey
	b, err := os.ReadFile(file)
	if err != nil {
		return key, fmt.Errorf("read cluster key: %w", err)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(raw) != len(key) {
		return key, fmt.Errorf("cluster key %s: want %d hexadecimal digits", file, 2*len(key))
	}
	copy(key[:], raw)
	return key, nil
}

// clusterKeyFile is where a node leaves its key for processors of its own.
const clusterKeyFile = "cluster.key"

func writeClusterKey(file string, key schemas.ClusterKey) error {
	return os.WriteFile(file, []byte(hex.EncodeToString(key[:])+"\n"), 0o600)
}
