package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/bench/child"
)

// readyPoll is how often a starting cluster is asked whether it is there.
const readyPoll = 50 * time.Millisecond

// Broker is a Kafka cluster of one node or three. Its methods act on all nodes.
type Broker struct {
	cfg   Config
	dir   string
	nodes []*Node
}

// Start runs a cluster and returns when it answers. The context bounds the
// start only; end the cluster with Stop.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	fetchCtx, cancel := context.WithTimeout(ctx, cfg.FetchTimeout)
	defer cancel()
	jars, err := fetch(fetchCtx, cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel = context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	b, err := newBroker(cfg, jars)
	if err != nil {
		return nil, fmt.Errorf("start Kafka: %w", err)
	}
	if err := b.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start Kafka: %w", err), b.killAll())
	}
	return b, nil
}

func newBroker(cfg Config, jars string) (*Broker, error) {
	b := &Broker{cfg: cfg, dir: cfg.Dir}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "tidemark-kafka-")
		if err != nil {
			return nil, err
		}
		b.dir = dir
	}
	for id := 1; id <= cfg.Nodes; id++ {
		b.nodes = append(b.nodes, &Node{id: id, dir: filepath.Join(b.dir, "node-"+strconv.Itoa(id)), jars: jars, heap: cfg.HeapMiB})
	}
	return b, nil
}

func (b *Broker) start(ctx context.Context) error {
	ports, err := FreePorts(2 * len(b.nodes))
	if err != nil {
		return err
	}
	addrs := make([]address, len(b.nodes))
	for i := range addrs {
		addrs[i] = address{broker: ports[2*i], controller: ports[2*i+1]}
	}
	cluster, err := b.clusterID()
	if err != nil {
		return err
	}
	for i, n := range b.nodes {
		n.addr = "127.0.0.1:" + strconv.Itoa(addrs[i].broker)
		if err := n.prepare(ctx, cluster, b.cfg.properties(n.id, addrs, n.file("data"))); err != nil {
			return err
		}
	}
	for _, n := range b.nodes {
		if err := n.start(); err != nil {
			return err
		}
	}
	return b.WaitReady(ctx)
}

// clusterID is Kafka's form of a random UUID, kept beside the data so that a
// later Start in the same Dir finds its cluster again.
func (b *Broker) clusterID() (string, error) {
	name := filepath.Join(b.dir, "cluster-id")
	kept, err := os.ReadFile(name)
	if err == nil {
		return string(kept), nil
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return "", err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // no leading '-', which the tool would take for an option
	text := base64.RawURLEncoding.EncodeToString(id[:])
	return text, os.WriteFile(name, []byte(text), 0o644)
}

// WaitReady returns when every node answers and a group coordinator is there,
// or with the reason and the end of a node's log when the context ends or a
// node does.
func (b *Broker) WaitReady(ctx context.Context) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addrs()...), kgo.DialTimeout(time.Second), kgo.RetryTimeout(time.Second), kgo.RequestRetries(0))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	var last error
	for {
		if last = b.ask(ctx, admin); last == nil {
			return nil
		}
		for _, n := range b.nodes {
			select {
			case <-n.current().Done():
				return n.current().Explain(fmt.Errorf("node %d ended while starting", n.id))
			default:
			}
		}
		select {
		case <-ctx.Done():
			return b.nodes[0].current().Explain(fmt.Errorf("not ready in time (%w); the last answer was: %w", ctx.Err(), last))
		case <-time.After(readyPoll):
		}
	}
}

// ask is one look at whether the cluster serves. The group coordinator is
// asked for because its topic is made at the first question, which takes a while.
func (b *Broker) ask(ctx context.Context, admin *kadm.Client) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := admin.ListBrokers(ctx)
	if err != nil {
		return err
	}
	if len(found) != len(b.nodes) {
		return fmt.Errorf("%d of %d nodes have registered", len(found), len(b.nodes))
	}
	coordinators := admin.FindGroupCoordinators(ctx, "broker-ready")
	if err := coordinators.Error(); err != nil {
		return err
	}
	return coordinators["broker-ready"].Err
}

// Addrs are the nodes' addresses, for a client's seeds.
func (b *Broker) Addrs() []string {
	addrs := make([]string, len(b.nodes))
	for i, n := range b.nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// Node is one of the nodes, from 0.
func (b *Broker) Node(i int) *Node { return b.nodes[i] }

// Dir holds the nodes' data and logs.
func (b *Broker) Dir() string { return b.dir }

// Kill ends every node with SIGKILL.
func (b *Broker) Kill() error { return b.each((*Node).Kill) }

// Pause stops every node where it stands.
func (b *Broker) Pause() error { return b.each((*Node).Pause) }

// Resume lets paused nodes go on.
func (b *Broker) Resume() error { return b.each((*Node).Resume) }

// Restart ends every node that runs with SIGKILL, starts all on the same data
// and ports, and returns when they answer.
func (b *Broker) Restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.StartTimeout)
	defer cancel()
	if err := b.each((*Node).Restart); err != nil {
		return fmt.Errorf("restart Kafka: %w", err)
	}
	if err := b.WaitReady(ctx); err != nil {
		return fmt.Errorf("restart Kafka: %w", err)
	}
	return nil
}

// Stop ends every node and removes the directory if it was ours. A single node
// whose data stay is ended in order; otherwise there is nothing to put in
// order, or no quorum left to do it with, and nodes are killed.
func (b *Broker) Stop() error {
	if b.cfg.Dir != "" && len(b.nodes) == 1 {
		return b.nodes[0].Stop()
	}
	if err := b.killAll(); err != nil || b.cfg.Dir != "" {
		return err
	}
	return os.RemoveAll(b.dir)
}

func (b *Broker) killAll() error {
	return b.each(func(n *Node) error {
		if n.current() == nil {
			return nil // never started
		}
		return n.Kill()
	})
}

func (b *Broker) each(do func(*Node) error) error {
	var errs []error
	for _, n := range b.nodes {
		errs = append(errs, do(n))
	}
	return errors.Join(errs...)
}

// Usage is what all nodes have used together: CPU over all restarts, memory
// now and at most.
func (b *Broker) Usage() (child.Usage, error) {
	var sum child.Usage
	for _, n := range b.nodes {
		u, err := n.Usage()
		if err != nil {
			return sum, err
		}
		sum.CPU += u.CPU
		sum.RSS += u.RSS
		sum.RSSPeak += u.RSSPeak
	}
	return sum, nil
}

// String names the cluster in messages.
func (b *Broker) String() string {
	return fmt.Sprintf("Apache Kafka %s on %s", Version, strings.Join(b.Addrs(), ","))
}
