package quorum

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/tidemarkio/tidemark/topology/registry"
)

var frozen = []byte(`{"keyHash":"murmur2","partitions":8}`)

// fabric is a network in memory, whose nodes can be cut off.
type fabric struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	cut       map[string]bool
	conns     map[net.Conn][2]string
}

func newFabric() *fabric {
	return &fabric{listeners: map[string]*memListener{}, cut: map[string]bool{}, conns: map[net.Conn][2]string{}}
}

// node is the network as one node sees it.
func (f *fabric) node(address string) Network { return memNetwork{f, address} }

// isolate cuts a node off, or heals it.
func (f *fabric) isolate(address string, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut[address] = cut
	for c, ends := range f.conns {
		if cut && (ends[0] == address || ends[1] == address) {
			c.Close()
			delete(f.conns, c)
		}
	}
}

// reset breaks every connection; what was on its way is lost.
func (f *fabric) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.Close()
		delete(f.conns, c)
	}
}

type memNetwork struct {
	f    *fabric
	self string
}

func (m memNetwork) Listen(address string) (net.Listener, error) {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	l := &memListener{f: m.f, address: address, conns: make(chan net.Conn), done: make(chan struct{})}
	m.f.listeners[address] = l
	return l, nil
}

func (m memNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	m.f.mu.Lock()
	l, cut := m.f.listeners[address], m.f.cut[address] || m.f.cut[m.self]
	m.f.mu.Unlock()
	if cut {
		<-ctx.Done() // packets are lost, nobody says so
		return nil, ctx.Err()
	}
	if l == nil {
		return nil, fmt.Errorf("%s: connection refused", address)
	}
	near, far := net.Pipe()
	select {
	case l.conns <- far:
	case <-l.done:
		return nil, fmt.Errorf("%s: connection refused", address)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	m.f.mu.Lock()
	m.f.conns[near] = [2]string{m.self, address}
	m.f.mu.Unlock()
	return near, nil
}

type memListener struct {
	f       *fabric
	address string
	conns   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.f.mu.Lock()
		defer l.f.mu.Unlock()
		if l.f.listeners[l.address] == l {
			delete(l.f.listeners, l.address)
		}
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return advertised(l.address) }

// cluster is a quorum in one process.
type cluster struct {
	t      testing.TB
	fabric *fabric
	nodes  map[string]*Node
	disks  map[string]*stores
	every  uint64
	peers  []Peer
}

// newCluster makes a quorum of founders n1, n2, ... in memory; it starts none.
func newCluster(t testing.TB, size int) *cluster {
	c := &cluster{t: t, fabric: newFabric(), nodes: map[string]*Node{}, disks: map[string]*stores{}}
	for i := range size {
		id := fmt.Sprint("n", i+1)
		c.peers = append(c.peers, Peer{id, address(id)})
	}
	return c
}

func address(id string) string { return id + ":1" }

// start opens a node with what is on its disk.
func (c *cluster) start(id string, change ...func(*Config)) *Node {
	c.t.Helper()
	cfg := c.config(id)
	for _, f := range change {
		f(&cfg)
	}
	n, err := Open(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = n
	return n
}

func (c *cluster) config(id string) Config {
	if c.disks[id] == nil {
		s := raft.NewInmemStore()
		c.disks[id] = &stores{log: s, stable: s, snapshots: raft.NewInmemSnapshotStore(), close: func() error { return nil }}
	}
	return Config{
		ID: id, Listen: address(id), Peers: c.peers, Network: c.fabric.node(address(id)), Topology: frozen, SnapshotEvery: c.every,
		Log:    slog.New(slog.NewTextHandler(io.Discard, nil)),
		stores: func(string) (*stores, error) { return c.disks[id], nil },
	}
}

func (c *cluster) startAll() {
	c.t.Helper()
	for _, p := range c.peers {
		c.start(p.ID)
	}
	for _, n := range c.nodes {
		c.ready(n)
	}
}

func (c *cluster) ready(n *Node) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		c.t.Fatalf("%s: %v", n.ID(), err)
	}
}

// crash ends a node without any parting word.
func (c *cluster) crash(id string) {
	c.t.Helper()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.fabric.isolate(address(id), true)
	n.raft.Shutdown() // so that Close finds nothing to hand over
	if err := n.Close(); err != nil {
		c.t.Errorf("%s: close: %v", id, err)
	}
	c.fabric.isolate(address(id), false)
}

func (c *cluster) stop(id string) {
	c.t.Helper()
	n := c.nodes[id]
	delete(c.nodes, id)
	if err := n.Close(); err != nil {
		c.t.Errorf("%s: close: %v", id, err)
	}
}

func (c *cluster) stopAll() {
	c.t.Helper()
	for id := range c.nodes {
		c.stop(id)
	}
}

// leader waits for the node that leads.
func (c *cluster) leader() *Node {
	c.t.Helper()
	for range 1000 {
		for _, n := range c.nodes {
			if leading, _ := n.Leading(); leading {
				return n
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.t.Fatal("nobody leads")
	return nil
}

func (c *cluster) follower() *Node {
	c.t.Helper()
	leader := c.leader()
	for _, p := range c.peers {
		if n := c.nodes[p.ID]; n != nil && n != leader {
			return n
		}
	}
	c.t.Fatal("nobody follows")
	return nil
}

// propose has operations applied through a node.
func (c *cluster) propose(n *Node, ops ...registry.Op) registry.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := n.Propose(ctx, registry.Command{Actor: "test", Ops: ops})
	if err != nil {
		c.t.Fatalf("propose %s through %s: %v", ops[0].Kind(), n.ID(), err)
	}
	return r
}

func (c *cluster) read(n *Node) *registry.Model {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m, err := n.Read(ctx)
	if err != nil {
		c.t.Fatalf("read through %s: %v", n.ID(), err)
	}
	return m
}

// alike waits until every node has the same model, and checks that it is.
func (c *cluster) alike() {
	c.t.Helper()
	want := c.read(c.leader())
	text := snapshotOf(c.t, want)
	for id, n := range c.nodes {
		m, err := n.until(context.Background(), func(m *registry.Model) bool { return m.Applied() >= want.Applied() })
		if err != nil {
			c.t.Fatal(err)
		}
		if m.Applied() == want.Applied() && !bytes.Equal(snapshotOf(c.t, m), text) {
			c.t.Errorf("%s has another model", id)
		}
	}
}

func snapshotOf(t testing.TB, m *registry.Model) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// config is an operation that makes a config.
func config(biz string) registry.Op {
	return registry.CreateSync{Sync: registry.Sync{InstanceID: "a", BizType: biz, Scope: "specified", Target: "user", Persistent: true, Online: true}}
}

// describe is an operation that gives a config a description.
func describe(biz, text string) registry.Op {
	return registry.ModifySync{Sync: registry.Sync{InstanceID: "a", BizType: biz, Scope: "specified", Target: "user", Persistent: true, Description: text}}
}

func problem(err error) registry.Problem {
	var e *registry.Error
	if errors.As(err, &e) {
		return e.Problem
	}
	return ""
}
