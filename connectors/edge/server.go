package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/connectors/edge/session"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state/view"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// Server is one edge. Make it with [New], start it with [Server.Run], and give
// [Server.Handler] to an HTTP server.
type Server struct {
	cfg        Config
	log        *slog.Logger
	metrics    *metrics
	producer   *kgo.Client
	partitions []*partition
	globals    *globals
	feed       *feed
	hub        hub
	users      users
	acks       acks
	presence   *presence
	elsewhere  *elsewhere
	flushers   []*flusher
	wheel      *wheel

	current    atomic.Pointer[registry.Settings]
	state      atomic.Pointer[string] // why it is not ready; nil: it is
	sessions   atomic.Uint64          // counts sessions, for their names
	live       atomic.Int64           // connections
	handshakes atomic.Int64
	validating sync.Map // instance to chan struct{} of capacity validationsMax

	saidLater    atomic.Int64 // when it was last logged that a client was turned away, epoch seconds
	traces       *traces
	running      sync.WaitGroup // of what spawn started
	draining     atomic.Bool
	housekeeping atomic.Int64 // since when a round of it is under way, epoch ms; 0: none is
}

// New checks the configuration and opens the views.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Log.With("edge", cfg.EdgeID), metrics: newMetrics(),
		hub:   hub{devices: make(map[deviceKey]*client)},
		users: users{online: make(map[userKey][]*client), at: make(map[*client]userKey)},
	}
	s.traces = newTraces(cfg.Trace)
	s.acks = acks{s}
	s.presence = newPresence(s, cfg.Topology.Partitions)
	s.elsewhere = newElsewhere(s)
	s.wheel = newWheel(s)
	s.notReady("it has not started")
	s.current.Store(cfg.Settings())
	for range runtime.GOMAXPROCS(0) {
		f := newFlusher(s.metrics, s.nowMillis)
		f.pen.traces = s.traces
		s.flushers = append(s.flushers, f)
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("edge: %w", err), s.closeStores())
	}
	return s, nil
}

// open opens the views and the producer.
func (s *Server) open() error {
	cfg := view.Config{Shared: s.cfg.Shared, Topology: s.cfg.Topology, FS: s.cfg.FS, Newest: s.newest, Log: s.log}
	for n := range s.cfg.Topology.Partitions {
		cfg.Dir = s.cfg.FS.PathJoin(s.cfg.Dir, fmt.Sprintf("view-%d", n))
		v, err := view.Open(n, cfg)
		if err != nil {
			return err
		}
		s.partitions = append(s.partitions, newPartition(n, v, s.cfg.TailBytes, s.metrics))
	}
	cfg.Dir = filepath.ToSlash(s.cfg.FS.PathJoin(s.cfg.Dir, "global"))
	g, err := view.OpenGlobal(cfg)
	if err != nil {
		return err
	}
	s.globals = newGlobals(g, s.cfg.TailBytes, s.metrics)
	s.producer, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-edge"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(producerBufferedMax),
	}, s.cfg.Client...)...)
	if err != nil {
		return fmt.Errorf("open producer: %w", err)
	}
	s.feed = newFeed(s)
	return nil
}

func (s *Server) closeStores() error {
	var errs []error
	for _, p := range s.partitions {
		errs = append(errs, p.view.Close())
	}
	if s.globals != nil {
		errs = append(errs, s.globals.store.Close())
	}
	if s.producer != nil {
		s.producer.Close()
	}
	return errors.Join(errs...)
}

// Run serves until the context ends. Then it tells the clients to come back
// elsewhere, takes its leases back, and returns when everything has ended.
func (s *Server) Run(ctx context.Context) error {
	if err := s.metrics.register(s.cfg.Metrics, s); err != nil {
		return errors.Join(err, s.closeStores())
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.feed.run(gctx) })
	g.Go(func() error { s.watchSettings(gctx); return nil })
	g.Go(func() error { s.wheel.run(gctx); return nil })
	g.Go(func() error { s.housekeep(gctx); return nil })
	g.Go(func() error { return s.elsewhere.run(gctx) })
	// Clients still get their last words when the others have stopped.
	flushing, stopFlushing := context.WithCancel(context.Background())
	var flushers sync.WaitGroup
	for _, f := range s.flushers {
		flushers.Go(func() { f.run(flushing) })
	}
	if s.cfg.Native != nil {
		g.Go(func() error { return s.serveNative(gctx, s.cfg.Native) })
	}
	err := g.Wait()
	s.drain()
	stopFlushing()
	flushers.Wait()
	s.running.Wait()
	return errors.Join(err, s.closeStores())
}

// drain ends all sessions and tells presence.
func (s *Server) drain() {
	s.notReady("it is stopping")
	s.draining.Store(true)
	for _, p := range s.partitions {
		p.wake()
	}
	for _, c := range s.hub.all() {
		c.close(schemas.CloseGoingAway, "the server stops")
	}
	s.presence.end()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := s.producer.Flush(ctx); err != nil {
		s.log.Warn("leases could not be taken back; sessions stay online until they run out", "error", err)
	}
}

// spawn runs something that Run waits for.
func (s *Server) spawn(f func()) { s.running.Go(f) }

func (s *Server) nowMillis() int64 { return s.cfg.Now().UnixMilli() }

func (s *Server) settings() *registry.Settings { return s.current.Load() }

// newest is a business's threshold, for the views.
func (s *Server) newest(instanceID, bizType string) int64 {
	if cfg := s.settings().Sync(instanceID, bizType); cfg != nil && cfg.RepushMode == schemas.RepushThreshold {
		return cfg.Threshold
	}
	return 0
}

// partitionOf gives the partition of a target.
func (s *Server) partitionOf(target string) *partition {
	return s.partitions[s.cfg.Topology.Of(target)]
}

func (s *Server) notReady(why string) { s.state.Store(&why) }

// Ready is nil when clients are served: every view has caught up with what the
// topics held at the start, and none stands still.
func (s *Server) Ready() error {
	if why := s.state.Load(); why != nil {
		return fmt.Errorf("edge is not ready: %s", *why)
	}
	for _, p := range s.Partitions() {
		if p.Parked != "" {
			return fmt.Errorf("edge is not ready: partition %d stands still: %s", p.Partition, p.Parked)
		}
	}
	if why := s.globals.parked.Load(); why != nil {
		return fmt.Errorf("edge is not ready: global entries stand still: %s", *why)
	}
	return nil
}

// serving reports whether clients may connect: a partition that stands still
// is no reason to refuse all.
func (s *Server) serving() bool { return s.state.Load() == nil && !s.draining.Load() }

// watchSettings has sessions look again when settings change.
func (s *Server) watchSettings(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.cfg.SettingsChanged:
			s.takeSettings()
		}
	}
}

// takeSettings takes the settings over, and tells the sessions of the instances
// that changed.
func (s *Server) takeSettings() {
	next := s.cfg.Settings()
	last := s.current.Swap(next)
	changed := make(map[string]bool)
	for _, id := range append(last.Instances(), next.Instances()...) {
		changed[id] = !sameBusinesses(last.Businesses(id), next.Businesses(id))
	}
	for _, c := range s.hub.all() {
		if changed[c.instance] {
			c.ask(todoSettings)
		}
	}
}

func sameBusinesses(a, b []*schemas.SyncConfig) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] && *a[i] != *b[i] {
			return false
		}
	}
	return true
}

// housekeep writes leases, sweeps the views and flushes quiet ones.
func (s *Server) housekeep(ctx context.Context) {
	tick := time.NewTicker(LeaseEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.housekeeping.Store(s.nowMillis())
		s.presence.renew()
		s.sweep(n)
		s.housekeeping.Store(0)
	}
}

// sweep looks after one store a second.
func (s *Server) sweep(n int) {
	stores := len(s.partitions) + 1
	turn, round := n%stores, n/stores
	quiet := round%max(1, int(flushQuietEvery/LeaseEvery)/stores) == 0
	var err error
	if turn < len(s.partitions) {
		v := s.partitions[turn].view
		_, err = v.Sweep(s.nowMillis(), sweepKeys)
		if err == nil && quiet {
			err = v.FlushQuiet()
		}
	} else {
		_, err = s.globals.store.Sweep(s.nowMillis(), sweepKeys)
		if err == nil && quiet {
			err = s.globals.store.FlushQuiet()
		}
	}
	if err != nil {
		s.log.Error("cannot look after a view", "store", turn, "error", err)
	}
}

// retryAfter is when a client should come back, spread so that not all do at
// once; 0: not by itself.
func (s *Server) retryAfter(code schemas.CloseCode) time.Duration {
	switch code.Retry() {
	case schemas.RetryNow:
		return rand.N(s.cfg.DrainSpread)
	case schemas.RetryLater:
		return time.Second + rand.N(4*time.Second)
	}
	return 0
}

// admit takes a place among the connections being set up; why is empty if
// there was one, and release gives it back.
func (s *Server) admit() (why string) {
	switch {
	case !s.serving():
		why = refusedNotReady
	case s.live.Load() >= int64(s.cfg.ConnectionsMax):
		why = refusedConnections
	case s.handshakes.Add(1) > int64(s.cfg.HandshakesMax):
		s.handshakes.Add(-1)
		why = refusedOverloaded
	}
	if why != "" {
		s.metrics.refused.WithLabelValues(why).Inc()
		return why
	}
	s.metrics.handshakes.Inc()
	return ""
}

func (s *Server) release() {
	s.handshakes.Add(-1)
	s.metrics.handshakes.Dec()
}

// hello is what a client says of itself, whatever its transport.
type hello struct {
	identity   session.Identity
	biz        []session.Interest
	window     session.Window
	background bool
}

// connect makes a session of a connection that was let in.
func (s *Server) connect(h *hello, w wire, l link, credential string) *client {
	id := s.sessions.Add(1)
	c := &client{
		s: s, id: id, name: sessionName(s.presence.epoch, id), wire: w, link: l, instance: h.identity.InstanceID,
		shard: s.flushers[id%uint64(len(s.flushers))],
	}
	now := s.nowMillis()
	c.wrote = now / 1000
	c.heard.Store(c.wrote)
	c.session = session.New(h.identity, c, s.settings(), h.window)
	c.control = w.open(nil)
	s.live.Add(1)
	s.metrics.sessions.WithLabelValues(w.name()).Inc()
	if former := s.hub.put(deviceKey{c.instance, h.identity.DeviceID}, c); former != nil {
		former.close(schemas.CloseReplaced, "the same device connected again")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed { // replaced before it began
		return c
	}
	c.connecting = true
	c.step(session.Connect{Biz: h.biz, Background: h.background})
	c.connecting = false
	if !c.closed {
		// The greeting stands before what connecting had to say.
		c.control = append(w.greet(c, credential), c.control...)
		c.loggedIn()
		s.wheel.add(c, now/1000, c.due(now/1000))
	}
	c.enqueue()
	return c
}

// forget takes a session out of the tables. With the client's lock.
func (s *Server) forget(c *client) {
	s.hub.remove(deviceKey{c.instance, c.session.Identity().DeviceID}, c)
	s.users.remove(c)
	s.live.Add(-1)
}
