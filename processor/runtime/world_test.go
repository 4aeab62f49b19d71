package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// world is a broker in memory with Tidemark's topics, and what tests need to
// write requests and read what came of them.
type world struct {
	t       *testing.T
	topo    *topology.Topology
	key     schemas.ClusterKey
	cluster *kfake.Cluster
	client  *kgo.Client
	rev     int64
	now     int64

	mu     sync.Mutex
	stores map[string]*memStore // node/partition
}

func newWorld(t *testing.T, partitions int32) *world {
	t.Helper()
	topo, err := topology.New(topology.Config{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.min.session.timeout.ms": "100"}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	w := &world{t: t, topo: topo, cluster: cluster, now: 1_800_000_000_000, stores: map[string]*memStore{}}
	w.client, err = kgo.NewClient(append(w.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.client.Close)
	for _, topic := range topo.Topics() {
		if _, err := kadm.NewClient(w.client).CreateTopic(t.Context(), topic.Partitions, 1, nil, topic.Name); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) opts() []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(w.cluster.ListenAddrs()...)} }

// settings publishes the instance "i" with businesses A (user) and G (global).
func (w *world) settings() {
	w.rev++
	w.control(schemas.Control{Revision: w.rev, Time: w.now, Changes: []schemas.Change{
		{Kind: schemas.PutInstance, InstanceID: "i"},
		{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "A", Scope: "specified", Target: "user", MultiDevice: true, Persistent: true, Online: true}},
		{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "G", Scope: "global", Target: "user", Persistent: true, Online: true}},
	}})
}

func (w *world) control(c schemas.Control) {
	for p := range w.topo.Partitions {
		c.Partition = p
		w.produce(&kgo.Record{Topic: w.topo.Requests.Name, Partition: p, Value: c.Append(nil, w.key),
			Headers: []kgo.RecordHeader{{Key: schemas.HeaderControl}}})
	}
}

func (w *world) produce(records ...*kgo.Record) {
	w.t.Helper()
	if err := w.client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// request makes a request record on its right partition.
func (w *world) request(biz, link, id string) *kgo.Record {
	r := schemas.Request{InstanceID: "i", BizType: biz, LinkToken: link, ThirdMsgID: id, Payload: "p-" + id}
	if biz == "G" {
		r.Scope = schemas.ScopeGlobal
	}
	return &kgo.Record{Topic: w.topo.Requests.Name, Partition: w.topo.Of(r.Key()), Key: []byte(r.Key()), Value: r.AppendProto(nil)}
}

// node starts a runtime; the returned function stops it and waits.
func (w *world) node(name string, tune ...func(*Config)) (*Runtime, func()) {
	w.t.Helper()
	cfg := Config{
		Client: w.opts(), Topology: w.topo, ClusterKey: w.key, Member: name,
		Open:            func(p int32) (Store, error) { return w.open(name, p), nil },
		SetAside:        func(p int32) error { w.forget(name, p); return nil },
		SessionTimeout:  6 * time.Second,
		MarkerAfter:     50 * time.Millisecond,
		CheckpointEvery: 50 * time.Millisecond,
		Log:             slog.New(slog.NewTextHandler(testLog{w.t, name}, nil)),
	}
	for _, f := range tune {
		f(&cfg)
	}
	rt, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- rt.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("node %s: %v", name, err)
		}
	})
	w.t.Cleanup(stop)
	return rt, stop
}

type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(b []byte) (int, error) {
	defer func() { _ = recover() }() // a client may still log after the test
	l.t.Logf("%s: %s", l.name, bytes.TrimSpace(b))
	return len(b), nil
}

func (w *world) open(node string, p int32) *memStore {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprintf("%s/%d", node, p)
	if w.stores[name] == nil {
		w.stores[name] = &memStore{Memory: processor.NewMemory(), restored: true}
	}
	return w.stores[name]
}

func (w *world) forget(node string, p int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.stores, fmt.Sprintf("%s/%d", node, p))
}

// log reads the accepted entries of a partition with a reader of its own.
func (w *world) log(p int32) []schemas.Entry {
	w.t.Helper()
	var all []schemas.Entry
	r := chain.Start()
	for _, rec := range w.read(w.topo.Oplog.Name, p) {
		var e schemas.Entry
		if err := e.Decode(rec.Value); err != nil {
			w.t.Fatal(err)
		}
		v, err := r.Accept(rec.Value, &e)
		if err != nil {
			w.t.Fatal(err)
		}
		if v == chain.Accept {
			all = append(all, e)
		}
	}
	return all
}

// read gives all records of a partition up to its end as of now.
func (w *world) read(topic string, p int32) []*kgo.Record {
	w.t.Helper()
	s, err := spanOf(w.t.Context(), kadm.NewClient(w.client), topic, p)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.end == s.start {
		return nil
	}
	cl, err := kgo.NewClient(append(w.opts(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(s.start)}}))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for len(all) == 0 || all[len(all)-1].Offset < s.end-1 {
		f := cl.PollFetches(w.t.Context())
		if err := f.Err(); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, f.Records()...)
	}
	return all
}

// eventually polls a condition until it holds.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			w.t.Fatalf("not in 30 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// ids lists the accepted (link, thirdMsgId, id) of all partitions.
func (w *world) entries() (all []string) {
	for p := range w.topo.Partitions {
		for _, e := range w.log(p) {
			all = append(all, fmt.Sprintf("%s/%s/%s#%d", e.BizType, e.LinkToken, e.ThirdMsgID, e.OplogID))
		}
	}
	return all
}

// memStore is the simulator's store with the rest that a runner asks for.
type memStore struct {
	*processor.Memory
	restored bool
	swept    state.Sweep
	counters map[string]state.CounterPut
}

func (m *memStore) Apply(b *state.Batch) error {
	if m.counters == nil {
		m.counters = map[string]state.CounterPut{}
	}
	for _, c := range b.Counters {
		c.Key = bytes.Clone(c.Key)
		m.counters[string(c.Key)] = c
	}
	return m.Memory.Apply(b)
}
func (m *memStore) Restored() bool               { return m.restored }
func (m *memStore) Swept() state.Sweep           { return m.swept }
func (m *memStore) SetSwept(s state.Sweep) error { m.swept = s; return nil }
func (m *memStore) Flush() error                 { return nil }
func (m *memStore) Close() error                 { return nil }

func (m *memStore) SweepCounters(_ []byte, _ int, after int64, visit func(state.CounterPut) error) ([]byte, error) {
	var err error
	for _, c := range m.counters {
		if c.Position > after {
			err = errors.Join(err, visit(c))
		}
	}
	return nil, err
}

func (m *memStore) Restore() (Feed, error) {
	m.restored = false
	m.Memory = processor.NewMemory()
	return &memFeed{store: m, counters: map[state.Hash]state.CounterPut{}}, nil
}

type memFeed struct {
	store    *memStore
	batch    state.Batch
	counters map[state.Hash]state.CounterPut
}

func (f *memFeed) Dedupe(p state.DedupePut) error {
	f.batch.Dedupe = append(f.batch.Dedupe, p)
	return nil
}

func (f *memFeed) Counter(c state.CounterPut) error {
	c.Key = []byte(strings.Clone(string(c.Key)))
	if f.counters[c.Hash].ID < c.ID {
		f.counters[c.Hash] = c
	}
	return nil
}

func (f *memFeed) Finish(at state.Position, changes []schemas.Change) error {
	for _, c := range f.counters {
		f.batch.Counters = append(f.batch.Counters, c)
	}
	f.batch.Position, f.batch.Changes = at, changes
	f.store.restored = true
	return f.store.Apply(&f.batch)
}

func (w *world) admin() *kadm.Client { return kadm.NewClient(w.client) }
