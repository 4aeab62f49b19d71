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
	// DefaultBodyTimeout is how long a call's body may take to arrive.
	DefaultBodyTimeout = 10 * time.Second
	// DefaultBodyBytesMax bounds the bodies that are kept: 6.4 KiB for each of
	// [DefaultInFlightMax] calls.
	DefaultBodyBytesMax = 64 << 20
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
	// InFlightMax bounds the calls under way, from their headers on; default
	// 10,000. Past it calls are refused with 503.
	InFlightMax int
	// BodyBytesMax bounds the bytes kept for the bodies of all calls under way;
	// default 64 MiB. A body whose length is not said counts as the largest
	// there may be (256 KiB) until it is there. Past it calls are refused with
	// 503.
	BodyBytesMax int64
	// BodyTimeout is how long a call's body may take to arrive; default 10 s.
	// Past it the call is refused with 408.
	BodyTimeout time.Duration
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
	case c.Timeout < 0 || c.InFlightMax < 0 || c.BodyTimeout < 0:
		return errors.New("ingress: Timeout, InFlightMax and BodyTimeout cannot be negative")
	case c.BodyBytesMax != 0 && c.BodyBytesMax < schemas.MaxRequestBytes:
		return fmt.Errorf("ingress: BodyBytesMax is %d: one body may have %d", c.BodyBytesMax, schemas.MaxRequestBytes)
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
	places   places
	metrics  *metrics
	// exchange writes a request and waits for its result: ask, but in tests.
	exchange func(context.Context, *schemas.Request) (schemas.Result, error)

	mu      sync.Mutex
	waiting map[string]chan schemas.Result
}

// newServer fills in defaults. It has no clients yet.
func newServer(cfg Config) *Server {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.InFlightMax == 0 {
		cfg.InFlightMax = DefaultInFlightMax
	}
	if cfg.BodyTimeout == 0 {
		cfg.BodyTimeout = DefaultBodyTimeout
	}
	if cfg.BodyBytesMax == 0 {
		cfg.BodyBytesMax = DefaultBodyBytesMax
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	s := &Server{cfg: cfg, waiting: make(map[string]chan schemas.Result)}
	s.places = places{callsMax: cfg.InFlightMax, bytesMax: cfg.BodyBytesMax}
	s.metrics = newMetrics(&s.places)
	s.exchange = s.ask
	return s
}

// New checks the configuration and opens the clients.
func New(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := newServer(cfg)
	cfg = s.cfg
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("ingress: read random bytes: %w", err)
	}
	s.nonce = hex.EncodeToString(random[:])
	s.part = int32(random[0]) % cfg.Topology.Results.Partitions
	s.reply = strconv.AppendInt(nil, int64(s.part), 10)
	var err error
	s.producer, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-ingress"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(cfg.InFlightMax),
		kgo.MaxBufferedBytes(int(cfg.BodyBytesMax)),
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

// ask writes a request and waits for its result. Who asks has a place.
func (s *Server) ask(ctx context.Context, req *schemas.Request) (schemas.Result, error) {
	id := s.nonce + "-" + strconv.FormatUint(s.next.Add(1), 36)
	answer := make(chan schemas.Result, 1)
	s.mu.Lock()
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
	// What is written without a caller who waits for it (its brokers are slow)
	// takes room too: without any, nothing is written.
	s.producer.TryProduce(context.WithoutCancel(ctx), withTrace(ctx, s.record(req, id)), func(_ *kgo.Record, err error) {
		if err != nil {
			failed <- err
		}
	})
	select {
	case res := <-answer:
		return res, nil
	case err := <-failed:
		if errors.Is(err, kgo.ErrMaxBuffered) {
			return schemas.Result{}, errBusy
		}
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
