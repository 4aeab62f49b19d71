package ingress

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Defaults of a [Config].
const (
	DefaultTimeout     = 10 * time.Second
	DefaultInFlightMax = 10_000
)

// Config of a [Server]. The zero value of each optional field is usable.
type Config struct {
	// Client reaches the brokers. Required.
	Client []kgo.Opt
	// Topology is the map. Required.
	Topology *topology.Topology
	// Settings gives the registry's current settings. Required.
	Settings func() *registry.Settings
	// Authorize checks a call of the instance before anything else is done
	// with it; nil lets everybody in (a private bind, or dev on loopback).
	Authorize Authorize

	// Timeout is how long a call waits for its result; default 10 s. Longer
	// rides out a takeover, shorter frees callers sooner.
	Timeout time.Duration
	// InFlightMax bounds the calls that wait at the same time; default 10,000.
	// Past it calls are refused with 503.
	InFlightMax int
	// Trace begins the spans of calls; nil: none.
	Trace Trace
	// Log is where to report; default slog.Default().
	Log *slog.Logger
	// Metrics receives the metrics; nil: none are registered.
	Metrics prometheus.Registerer
}

// Validate names the first thing that is wrong.
func (c *Config) Validate() error {
	switch {
	case len(c.Client) == 0:
		return errors.New("ingress: Client is missing: say how to reach the brokers")
	case c.Topology == nil:
		return errors.New("ingress: Topology is missing")
	case c.Settings == nil:
		return errors.New("ingress: Settings is missing")
	case c.Timeout < 0 || c.InFlightMax < 0:
		return errors.New("ingress: Timeout and InFlightMax cannot be negative")
	}
	return nil
}

// Server is the HTTP push API of one process.
type Server struct {
	cfg      Config
	producer *kgo.Client
	results  *kgo.Client
	reply    []byte // this process's partition of the results topic, in decimal
	part     int32
	nonce    string // first part of every request id of this process
	next     atomic.Uint64
	ready    atomic.Bool
	metrics  *metrics

	mu      sync.Mutex
	waiting map[string]chan schemas.Result
}

// New checks the configuration and opens the clients.
func New(cfg Config) (*Server, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.InFlightMax == 0 {
		cfg.InFlightMax = DefaultInFlightMax
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("ingress: read random bytes: %w", err)
	}
	s := &Server{cfg: cfg, nonce: hex.EncodeToString(random[:]), waiting: make(map[string]chan schemas.Result), metrics: newMetrics()}
	s.part = int32(random[0]) % cfg.Topology.Results.Partitions
	s.reply = strconv.AppendInt(nil, int64(s.part), 10)
	var err error
	s.producer, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-ingress"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(cfg.InFlightMax),
		kgo.RecordDeliveryTimeout(cfg.Timeout),
	}, cfg.Client...)...)
	if err != nil {
		return nil, fmt.Errorf("ingress: open producer: %w", err)
	}
	return s, nil
}

// Ready reports whether calls will be answered.
func (s *Server) Ready() bool { return s.ready.Load() }

// Run reads results until the context ends.
func (s *Server) Run(ctx context.Context) error {
	defer s.producer.Close()
	if err := s.metrics.register(s.cfg.Metrics); err != nil {
		return err
	}
	from, err := s.resultsEnd(ctx)
	if err != nil {
		return err
	}
	s.results, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-ingress-results"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.cfg.Topology.Results.Name: {s.part: kgo.NewOffset().At(from)}}),
		// Results older than a timeout interest nobody: after a truncation go
		// on with the newest.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()),
	}, s.cfg.Client...)...)
	if err != nil {
		return fmt.Errorf("ingress: open results consumer: %w", err)
	}
	defer s.results.Close()
	s.ready.Store(true)
	defer s.ready.Store(false)
	for ctx.Err() == nil {
		s.results.PollFetches(ctx).EachRecord(s.deliver)
	}
	return nil
}

// resultsEnd is where the results partition ends before the first call: what
// comes behind it may be for us.
func (s *Server) resultsEnd(ctx context.Context) (int64, error) {
	topic := s.cfg.Topology.Results.Name
	ends, err := kadm.NewClient(s.producer).ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("ingress: list end offsets of %s: %w", topic, err)
	}
	o, ok := ends.Lookup(topic, s.part)
	if !ok {
		return 0, fmt.Errorf("ingress: topic %s has no partition %d", topic, s.part)
	}
	return o.Offset, o.Err
}

// deliver hands a result to the call that waits for it. Others' results, and
// repeats after a takeover, find nobody and are dropped.
func (s *Server) deliver(r *kgo.Record) {
	var res schemas.Result
	if err := res.DecodeProto(r.Value); err != nil {
		s.cfg.Log.Warn("unreadable result", "offset", r.Offset, "err", err)
		return
	}
	s.mu.Lock()
	c, ok := s.waiting[string(res.RequestID)]
	delete(s.waiting, string(res.RequestID))
	s.mu.Unlock()
	if ok {
		c <- res // one slot, one result
	}
}

// errBusy says that too many calls wait already.
var errBusy = errors.New("too many calls are waiting")

// ask writes a request and waits for its result.
func (s *Server) ask(ctx context.Context, req *schemas.Request) (schemas.Result, error) {
	id := s.nonce + "-" + strconv.FormatUint(s.next.Add(1), 36)
	answer := make(chan schemas.Result, 1)
	s.mu.Lock()
	if len(s.waiting) >= s.cfg.InFlightMax {
		s.mu.Unlock()
		return schemas.Result{}, errBusy
	}
	s.waiting[id] = answer
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	failed := make(chan error, 1)
	s.producer.Produce(context.WithoutCancel(ctx), withTrace(ctx, s.record(req, id)), func(_ *kgo.Record, err error) {
		if err != nil {
			failed <- err
		}
	})
	select {
	case res := <-answer:
		return res, nil
	case err := <-failed:
		return schemas.Result{}, fmt.Errorf("write request: %w", err)
	case <-ctx.Done():
		return schemas.Result{}, fmt.Errorf("wait for the result: %w", ctx.Err())
	}
}

func (s *Server) record(req *schemas.Request, id string) *kgo.Record {
	key := req.Key()
	return &kgo.Record{
		Topic: s.cfg.Topology.Requests.Name, Partition: s.cfg.Topology.Of(key), Key: []byte(key), Value: req.AppendProto(nil),
		Headers: []kgo.RecordHeader{
			{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentProtobuf)},
			{Key: schemas.HeaderReply, Value: s.reply},
			{Key: schemas.HeaderRequestID, Value: []byte(id)},
		},
	}
}
