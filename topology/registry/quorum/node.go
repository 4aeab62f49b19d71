package quorum

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

// ErrClosed says that the node is closed or closing.
var ErrClosed = errors.New("registry node is closed")

const (
	raftTimeout     = 3 * time.Second // of one call between members
	handOverTimeout = 3 * time.Second // to give leadership away before leaving
	snapshotsKept   = 2
	appendMax       = 32 // entries in one call; each may be registry.MaxCommandBytes
	trailingLogs    = 4096
	logsCached      = 64 // newest entries in memory, for followers; each may be registry.MaxCommandBytes
)

// Node is one replica of the registry.
type Node struct {
	cfg     Config
	log     *slog.Logger
	address string // as others know it

	machine *machine
	stores  *stores
	wire    *wire
	trans   *raft.NetworkTransport
	raft    *raft.Raft
	server  *http.Server
	client  *http.Client

	ctx    context.Context // ends when the node closes
	cancel context.CancelFunc
	wg     sync.WaitGroup
	once   sync.Once
	closed error

	mu      sync.Mutex
	closing bool
	lead    lead
	failure error
	failed  chan struct{} // closed with failure set
	changed chan struct{} // closed and made anew when a leader comes or goes

	reads     reads
	poke      chan struct{} // look at the leadership again
	proposals chan struct{} // one token for each proposal under way
}

// lead is what this node knows of its own leadership.
type lead struct {
	leading bool
	term    uint64 // in which a barrier has passed: the model is whole
	changed chan struct{}
}

// stores are where Raft keeps its log, its few stable values, its snapshots.
type stores struct {
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	close     func() error
}

func diskStores(dir string, log *slog.Logger) (*stores, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	s, err := openLogStore(filepath.Join(dir, "log.db"))
	if err != nil {
		return nil, err
	}
	snapshots, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, raftLogger(log))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open registry snapshots: %w", err), s.Close())
	}
	cached, err := raft.NewLogCache(logsCached, s)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &stores{cached, s, snapshots, s.Close}, nil
}

// Open starts a node from its directory. It does not wait for a leader: see
// [Node.Ready].
func Open(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg.withDefaults(), failed: make(chan struct{}), changed: make(chan struct{})}
	n.poke, n.proposals = make(chan struct{}, 1), make(chan struct{}, MaxProposals)
	n.log = n.cfg.Log.With("node", n.cfg.ID)
	n.lead.changed = make(chan struct{})
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.open(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) open() (err error) {
	n.machine = newMachine(n.log)
	open := n.cfg.stores
	if open == nil {
		open = func(dir string) (*stores, error) { return diskStores(dir, n.log) }
	}
	if n.stores, err = open(n.cfg.Dir); err != nil {
		return err
	}
	if n.wire, err = listen(&n.cfg); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	n.address = n.cfg.Advertise
	if n.address == "" {
		n.address = n.wire.l.Addr().String()
	}
	if err := n.ownDirectory(); err != nil {
		return err
	}
	if err := n.startRaft(); err != nil {
		return fmt.Errorf("open registry: %w", err)
	}
	n.startCalls()
	n.wg.Go(n.followLeadership)
	n.wg.Go(n.checkTopology)
	n.wg.Go(n.announce)
	if len(n.cfg.Join) > 0 {
		n.wg.Go(n.join)
	}
	return n.hurry()
}

// ownDirectory makes the directory this node's, or finds that it is another's.
func (n *Node) ownDirectory() error {
	key := []byte("tidemark node")
	id, err := n.stores.stable.Get(key)
	if err == nil && len(id) > 0 {
		if string(id) != n.cfg.ID {
			return fmt.Errorf("open registry: %s belongs to node %q, this one is %q: a node keeps its id for ever", n.cfg.Dir, id, n.cfg.ID)
		}
		return nil
	}
	return n.stores.stable.Set(key, []byte(n.cfg.ID))
}

func (n *Node) startRaft() error {
	logger := raftLogger(n.log)
	side := raftSide{n.wire.side(n.wire.raft), n.address}
	// One call at a time, which is without Raft's pipeline: in raft v1.8.0 its
	// sender may wait for ever once its reader has ended, as it does when a
	// member refuses or is in a newer term. That member gets nothing more from
	// this leader, and Shutdown never returns (hashicorp/raft#612).
	n.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: side, MaxPool: 3, MaxRPCsInFlight: 1, Timeout: raftTimeout, Logger: logger,
	})
	c := raft.DefaultConfig()
	c.LocalID = raft.ServerID(n.cfg.ID)
	c.Logger = logger
	c.HeartbeatTimeout, c.ElectionTimeout = n.cfg.HeartbeatTimeout, n.cfg.HeartbeatTimeout
	c.LeaderLeaseTimeout = n.cfg.HeartbeatTimeout * 4 / 5
	c.CommitTimeout = n.cfg.HeartbeatTimeout / 50 // followers hear of a commit after one or two of it
	c.SnapshotThreshold, c.SnapshotInterval, c.TrailingLogs = n.cfg.SnapshotEvery, 30*time.Second, min(trailingLogs, n.cfg.SnapshotEvery)
	// BatchApplyCh stays off: what waits in its buffer when Raft shuts down is
	// never answered.
	c.MaxAppendEntries = appendMax
	c.NoLegacyTelemetry = true

	known, err := raft.HasExistingState(n.stores.log, n.stores.stable, n.stores.snapshots)
	if err != nil {
		return err
	}
	if !known && len(n.cfg.Join) == 0 {
		if err := raft.BootstrapCluster(c, n.stores.log, n.stores.stable, n.stores.snapshots, n.trans, n.founders()); err != nil {
			return err
		}
	}
	n.raft, err = raft.NewRaft(c, n.machine, n.stores.log, n.stores.stable, n.stores.snapshots, n.trans)
	return err
}

// founders are the first members.
func (n *Node) founders() raft.Configuration {
	peers := n.cfg.Peers
	if len(peers) == 0 {
		peers = []Peer{{n.cfg.ID, n.address}}
	}
	var c raft.Configuration
	for _, p := range peers {
		c.Servers = append(c.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	return c
}

// hurry has a node that votes alone stand for election at once. There is
// nobody to wait for, and a laptop should not wait a second for itself.
func (n *Node) hurry() error {
	servers, err := n.servers()
	if err != nil || len(servers) != 1 || servers[0].ID != raft.ServerID(n.cfg.ID) {
		return err
	}
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(n.cfg.ID), Addr: []byte(n.address)}
	return n.trans.TimeoutNow(servers[0].ID, raft.ServerAddress(n.address), &raft.TimeoutNowRequest{RPCHeader: header}, &raft.TimeoutNowResponse{})
}

func (n *Node) servers() ([]raft.Server, error) {
	f := n.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, err
	}
	return f.Configuration().Servers, nil
}

// Address is where other members reach this node.
func (n *Node) Address() string { return n.address }

// ID is the node's name.
func (n *Node) ID() string { return n.cfg.ID }

// Model is what this node has applied so far: at once, and perhaps behind.
func (n *Node) Model() *registry.Model { return n.machine.model() }

// Leading reports whether this node leads with a model that is whole, and
// gives a channel that is closed when that changes.
func (n *Node) Leading() (leading bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lead.leading, n.lead.changed
}

func (n *Node) setLead(leading bool, term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lead.term = term
	if n.lead.leading != leading {
		n.lead.leading = leading
		close(n.lead.changed)
		n.lead.changed = make(chan struct{})
	}
}

// leadTerm is the term in which this node leads with a whole model; 0: none.
func (n *Node) leadTerm() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.lead.leading {
		return 0
	}
	return n.lead.term
}

// spawn runs f in a goroutine that the node owns, unless it closes.
func (n *Node) spawn(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closing {
		n.wg.Go(f)
	}
	return !n.closing
}

// fail ends the node's service for a reason that no retry could heal.
func (n *Node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failure == nil {
		n.failure = err
		close(n.failed)
		n.log.Error("registry: the node gives up", "error", err)
	}
}

// Failed is closed when the node gave up; Run returns why.
func (n *Node) Failed() <-chan struct{} { return n.failed }

func (n *Node) failureNow() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failure
}

// Run waits until ctx ends or the node gives up, and closes it. The error says
// why it gave up.
func (n *Node) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-n.failed:
	case <-n.ctx.Done():
	}
	return errors.Join(n.failureNow(), n.Close())
}

// Ready waits until the registry has a leader and this node all that was
// answered before, and checks that the topology is the registry's.
func (n *Node) Ready(ctx context.Context) error {
	for {
		m, err := n.Read(ctx)
		if err != nil {
			return err
		}
		if m.Created() {
			return n.topologyFits(m)
		}
		if _, err := n.until(ctx, func(m *registry.Model) bool { return m.Created() }); err != nil {
			return err
		}
	}
}

// until waits for a model for which ok holds.
func (n *Node) until(ctx context.Context, ok func(*registry.Model) bool) (*registry.Model, error) {
	for {
		v := n.machine.now.Load()
		if ok(v.model) {
			return v.model, nil
		}
		select {
		case <-v.next:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.ctx.Done():
			return nil, ErrClosed
		case <-n.failed:
			return nil, n.failureNow()
		}
	}
}

func (n *Node) topologyFits(m *registry.Model) error {
	if err := m.Cluster().CheckTopology(n.cfg.Topology); err != nil {
		return fmt.Errorf("this node's topology is not that of cluster %s:\n%w\nstart it with the cluster's settings, or give it another --topic-prefix and data directory", m.Cluster().ID, err)
	}
	return nil
}

// checkTopology gives the node up if the registry is of another topology.
func (n *Node) checkTopology() {
	checked := ""
	for {
		m, err := n.until(n.ctx, func(m *registry.Model) bool { return m.Created() && m.Cluster().TopologyHash() != checked })
		if err != nil {
			return
		}
		if err := n.topologyFits(m); err != nil {
			n.fail(err)
			return
		}
		checked = m.Cluster().TopologyHash()
	}
}

// Close leaves the quorum in order and ends all that Open started. A leader
// hands over first, so that writes go on at once elsewhere.
func (n *Node) Close() error {
	n.once.Do(func() { n.closed = n.close() })
	return n.closed
}

func (n *Node) close() error {
	var errs []error
	if n.raft != nil {
		n.handOver()
	}
	n.mu.Lock()
	n.closing = true
	n.mu.Unlock()
	n.cancel()
	if n.server != nil {
		_ = n.server.Close()
		n.client.CloseIdleConnections()
	}
	var ended raft.Future
	if n.raft != nil {
		ended = n.raft.Shutdown()
	}
	if n.trans != nil {
		errs = append(errs, n.trans.Close())
		n.trans.CloseStreams()
	}
	if n.wire != nil {
		// Before waiting for Raft: its goroutines may wait for a member that
		// does not answer.
		errs = append(errs, n.wire.close())
	}
	if ended != nil {
		errs = append(errs, ended.Error())
	}
	n.wg.Wait()
	if n.stores != nil {
		errs = append(errs, n.stores.close())
	}
	return errors.Join(errs...)
}

// handOver gives leadership to a member that can take it, if there is one.
func (n *Node) handOver() {
	servers, err := n.servers()
	if err != nil || len(servers) < 2 || n.raft.State() != raft.Leader {
		return
	}
	ctx, cancel := context.WithTimeout(n.ctx, handOverTimeout)
	defer cancel()
	if err := n.await(ctx, n.raft.LeadershipTransfer()); err != nil {
		n.log.Info("registry: leaving without handing over", "error", err)
	}
}

// await waits for Raft, unless the node closes: a transfer that Raft has not
// begun when it shuts down is never answered.
func (n *Node) await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return ErrClosed
	}
}

// random makes a name of n random bytes.
func (n *Node) random(size int) (string, error) {
	b := make([]byte, size)
	if _, err := io.ReadFull(n.cfg.Rand, b); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return hex.EncodeToString(b), nil
}
