package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
	"github.com/tidemarkio/tidemark/topology/registry"
)

// fakeRegistry is a registry without a quorum, of which one node leads.
type fakeRegistry struct {
	mu      sync.Mutex
	m       *registry.Model
	changed chan struct{}
	n       int
}

func newRegistry(t testing.TB, key byte) *fakeRegistry {
	t.Helper()
	r := &fakeRegistry{m: &registry.Model{}, changed: make(chan struct{})}
	r.apply(t, registry.Create{ID: fmt.Sprint("cluster", key), ClusterKey: registry.Hash{key}, Pepper: registry.Hash{9}, Topology: []byte(`{}`)})
	return r
}

func (r *fakeRegistry) Propose(_ context.Context, c registry.Command) (registry.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	c.ID, c.Time = fmt.Sprint(r.n), int64(r.n)
	var result registry.Result
	r.m, result = r.m.Apply(c)
	close(r.changed)
	r.changed = make(chan struct{})
	return result, result.Err()
}

func (r *fakeRegistry) apply(t testing.TB, ops ...registry.Op) registry.Result {
	t.Helper()
	result, err := r.Propose(context.Background(), registry.Command{Actor: "test", Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (r *fakeRegistry) model() *registry.Model {
	m, _ := r.Now()
	return m
}

func (r *fakeRegistry) Now() (*registry.Model, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.m, r.changed
}

// replica is one node of the registry.
type replica struct {
	*fakeRegistry
	mu      sync.Mutex
	leading bool
	lost    chan struct{}
}

func (r *fakeRegistry) replica() *replica {
	return &replica{fakeRegistry: r, lost: make(chan struct{})}
}

func (r *replica) Leading() (bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leading, r.lost
}

func (r *replica) lead(leading bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leading = leading
	close(r.lost)
	r.lost = make(chan struct{})
}

// world is a broker in memory with the topics of a topology.
type world struct {
	t        testing.TB
	topo     *topology.Topology
	network  kfake.VirtualNetwork
	broker   *kfake.Cluster
	opts     []kgo.Opt
	producer *kgo.Client
}

const partitions = 3

func newWorld(t testing.TB, have int32) *world {
	t.Helper()
	topo, err := topology.New(topology.Config{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, topo: topo}
	w.broker, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.network.Listen), kfake.SleepOutOfOrder(),
		kfake.SeedTopics(have, topo.Requests.Name), kfake.SeedTopics(have, topo.Counters.Name))
	if err != nil {
		t.Fatal(err)
	}
	w.opts = []kgo.Opt{kgo.SeedBrokers("localhost:9092"), kgo.Dialer(w.network.DialContext)}
	w.producer, err = kgo.NewClient(append(w.opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) close() {
	w.producer.Close()
	w.broker.Close()
}

func (w *world) write(topic string, partition int32, value []byte) {
	w.t.Helper()
	if err := w.producer.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Partition: partition, Value: value}).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
}

// read gives what is in a partition of the requests topic: control records
// decoded, others as zero.
func (w *world) read(key schemas.ClusterKey, partition int32) []schemas.Control {
	w.t.Helper()
	name := w.topo.Requests.Name
	ends, err := kadm.NewClient(w.producer).ListEndOffsets(context.Background(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	end, _ := ends.Lookup(name, partition)
	if end.Offset == 0 {
		return nil
	}
	client, err := kgo.NewClient(append(w.opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {partition: kgo.NewOffset().At(0)}}))...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	var all []schemas.Control
	for int64(len(all)) < end.Offset {
		client.PollFetches(context.Background()).EachRecord(func(r *kgo.Record) {
			var c schemas.Control
			if slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == schemas.HeaderControl }) {
				if err := c.Decode(r.Value, key); err != nil || c.Partition != partition {
					w.t.Errorf("partition %d, offset %d: %+v, %v", partition, r.Offset, c, err)
				}
			}
			all = append(all, c)
		})
	}
	return all
}

// held is what a task of a partition has after its log.
func (w *world) held(key schemas.ClusterKey, partition int32) *registry.Settings {
	s := &registry.Settings{}
	for _, c := range w.read(key, partition) {
		if c.Revision > s.Revision {
			s = s.With(c.Revision, c.Changes)
		}
	}
	return s
}

func (w *world) publisher(r Registry, change ...func(*Config)) *Publisher {
	w.t.Helper()
	cfg := Config{Registry: r, Topology: w.topo, Kafka: w.opts, Log: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// start runs a publisher until stop, which gives what Run returned.
func start(p *Publisher) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

func sync1(biz string) registry.Op {
	return registry.CreateSync{Sync: registry.Sync{InstanceID: "a", BizType: biz, Scope: "specified", Target: "user", Persistent: true, Online: true}}
}

func TestEveryPartitionGetsEveryRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions)
		defer w.close()
		r := newRegistry(t, 1)
		node := r.replica()
		r.apply(t, registry.CreateInstance{ID: "a"}) // before anybody publishes
		p := w.publisher(node)
		stop := start(p)
		time.Sleep(time.Minute)
		if n := len(w.read(r.model().Cluster().Key, 0)); n != 0 {
			t.Fatalf("a follower wrote %d records", n)
		}
		node.lead(true)
		var last registry.Result
		for i := range 20 {
			last = r.apply(t, sync1(fmt.Sprint("B", i)))
		}
		if err := p.WaitPublished(t.Context(), last.Publish); err != nil {
			t.Fatal(err)
		}
		want := r.model().Settings()
		for i := range int32(partitions) {
			got := w.held(r.model().Cluster().Key, i)
			if got.Revision != want.Revision || !slices.Equal(got.Changes(), want.Changes()) {
				t.Errorf("partition %d is at revision %d with %d objects, want %d with %d", i, got.Revision, len(got.Changes()), want.Revision, len(want.Changes()))
			}
			revision := int64(0)
			for _, c := range w.read(r.model().Cluster().Key, i) {
				if c.Revision != 0 && c.Revision <= revision {
					t.Errorf("partition %d: revision %d behind %d", i, c.Revision, revision)
				}
				revision = max(revision, c.Revision)
			}
		}
		if r.model().PendingCount() != 0 || r.model().Published().Revision < last.Publish {
			t.Errorf("%d records wait, published is %+v", r.model().PendingCount(), r.model().Published())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestNewLeaderFinishes: what the old leader has left is done by the next one,
// also if it was written in part.
func TestNewLeaderFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions)
		defer w.close()
		r := newRegistry(t, 1)
		r.apply(t, registry.CreateInstance{ID: "a"})
		one, two := r.replica(), r.replica()
		stopOne, stopTwo := start(w.publisher(one)), start(w.publisher(two))
		one.lead(true)
		away := w.broker.Fault( // one partition's broker is away; another's forgets that it wrote
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{1}, Err: kerr.NotEnoughReplicas, Count: -1},
			kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Partitions: []int32{2}, Err: kerr.NotEnoughReplicasAfterAppend, Count: 3})
		for i := range 5 {
			r.apply(t, sync1(fmt.Sprint("B", i)))
		}
		time.Sleep(30 * time.Second)
		if got := w.held(r.model().Cluster().Key, 0).Revision; got != r.model().Revision() {
			t.Errorf("partition 0 waits at %d for partition 1", got)
		}
		if r.model().PendingCount() == 0 {
			t.Error("a change counts as published that a partition lacks")
		}
		// Leadership moves; for a while both think that they have it.
		two.lead(true)
		time.Sleep(time.Second)
		one.lead(false)
		away.Remove()
		if err := w.publisher(two).WaitPublished(t.Context(), r.model().Revision()); err != nil {
			t.Fatal(err)
		}
		for i := range int32(partitions) {
			if got := w.held(r.model().Cluster().Key, i); !slices.Equal(got.Changes(), r.model().Settings().Changes()) {
				t.Errorf("partition %d has %v", i, got.Changes())
			}
		}
		if err := errors.Join(stopOne(), stopTwo()); err != nil {
			t.Error(err)
		}
	})
}

// TestTicks is the clock of tasks: who had input is told the time, who had
// none once an hour, and never backwards.
func TestTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions)
		defer w.close()
		r := newRegistry(t, 1)
		node := r.replica()
		var back atomic.Int64 // how far the clock is put back
		stop := start(w.publisher(node, func(c *Config) { c.Clock = func() time.Time { return time.Now().Add(-time.Duration(back.Load())) } }))
		node.lead(true)
		key := r.model().Cluster().Key
		counts := func() (n [partitions]int) {
			for i := range n {
				n[i] = len(w.read(key, int32(i)))
			}
			return n
		}
		time.Sleep(5 * time.Second)
		if got := counts(); got != [partitions]int{1, 1, 1} {
			t.Fatalf("at the start there are %v records", got)
		}
		time.Sleep(time.Minute)
		if got := counts(); got != [partitions]int{1, 1, 1} {
			t.Fatalf("idle for a minute, %v: its own ticks count as input", got)
		}
		w.write(w.topo.Requests.Name, 1, []byte("{}"))
		time.Sleep(time.Minute)
		if got := counts(); got != [partitions]int{1, 3, 1} {
			t.Fatalf("one input in partition 1, then a minute: %v", got)
		}
		before := w.read(key, 1)[2].Time
		back.Store(int64(30 * time.Minute))
		w.write(w.topo.Requests.Name, 1, []byte("{}"))
		time.Sleep(time.Minute)
		if got := w.read(key, 1); len(got) != 5 || got[4].Time < before {
			t.Errorf("the clock was put back: %d records, time %d after %d: %+v", len(got), got[len(got)-1].Time, before, got)
		}
		back.Store(0)
		time.Sleep(time.Hour)
		if got := counts(); got != [partitions]int{2, 6, 2} {
			t.Errorf("after an hour there are %v", got)
		}
		if floor := r.model().Published().Time; floor < before {
			t.Errorf("the registry knows of time %d, and %d was written", floor, before)
		}
		// The next leader starts above what was written, whatever its clock says.
		last := w.read(key, 1)[5].Time
		node.lead(false)
		time.Sleep(time.Second)
		back.Store(int64(24 * time.Hour))
		node.lead(true)
		time.Sleep(time.Minute)
		if got := w.read(key, 1); len(got) != 7 || got[6].Time < last {
			t.Errorf("the next leader wrote %d, the one before it %d; %d records", got[len(got)-1].Time, last, len(got))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func base(key schemas.ClusterKey, revision int64, changes ...schemas.Change) []byte {
	c := schemas.Checkpoint{Base: &schemas.Base{ClusterKey: key.ID(), Revision: revision, Changes: changes}}
	return c.Append(nil)
}

func TestTopicsOfAnotherCluster(t *testing.T) {
	counter := schemas.Checkpoint{InstanceID: "a", BizType: "A", LinkToken: "l", OplogID: 1}
	for name, values := range map[string][][]byte{
		"a base of another key":  {base(schemas.ClusterKey{7}, 1)},
		"bases of both":          {base(schemas.ClusterKey{7}, 1), base(schemas.ClusterKey{1}, 1)},
		"counters without bases": {counter.Append(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, partitions)
				defer w.close()
				for i, v := range values {
					w.write(w.topo.Counters.Name, int32(i), v)
				}
				r := newRegistry(t, 1)
				node := r.replica()
				node.lead(true)
				err := w.publisher(node).Run(t.Context())
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), "--topic-prefix") || !strings.Contains(err.Error(), "restore the registry") {
					t.Errorf("got %v", err)
				}
				if n := len(w.read(r.model().Cluster().Key, 0)); n != 0 {
					t.Errorf("%d records were written all the same", n)
				}
			})
		})
	}
}

func TestOtherPartitionCountIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions+1)
		defer w.close()
		node := newRegistry(t, 1).replica()
		node.lead(true)
		if err := w.publisher(node).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "has 4 partitions, and this cluster is made for 3") {
			t.Errorf("got %v", err)
		}
	})
}

// TestRestoredRegistry: tasks hold more than the backup that the registry was
// restored from. They end up with the backup's settings.
func TestRestoredRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions)
		defer w.close()
		r := newRegistry(t, 1)
		r.apply(t, registry.CreateInstance{ID: "a"}, sync1("KEPT"))
		held := (&registry.Settings{}).With(70, []schemas.Change{
			{Kind: schemas.PutInstance, InstanceID: "a"}, {Kind: schemas.PutInstance, InstanceID: "gone"},
			{Kind: schemas.PutSync, InstanceID: "a", Sync: schemas.SyncConfig{BizType: "LATER"}},
		})
		for i := range int32(partitions) {
			w.write(w.topo.Counters.Name, i, base(r.model().Cluster().Key, held.Revision-int64(i), held.Changes()...))
		}
		node := r.replica()
		node.lead(true)
		p := w.publisher(node)
		stop := start(p)
		for r.model().Published().Revision == 0 {
			time.Sleep(time.Second)
		}
		for i := range int32(partitions) {
			task := held
			for _, c := range w.read(r.model().Cluster().Key, i) {
				if c.Revision > task.Revision {
					task = task.With(c.Revision, c.Changes)
				}
			}
			if !slices.Equal(task.Changes(), r.model().Settings().Changes()) {
				t.Errorf("partition %d: a task has %v", i, task.Changes())
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestTopicMadeAnew: settings go out whole to a topic that has none of them.
func TestTopicMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, partitions)
		defer w.close()
		r := newRegistry(t, 1)
		node := r.replica()
		node.lead(true)
		p := w.publisher(node)
		stop := start(p)
		if err := p.WaitPublished(t.Context(), r.apply(t, registry.CreateInstance{ID: "a"}, sync1("A")).Publish); err != nil {
			t.Fatal(err)
		}
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		admin := kadm.NewClient(w.producer)
		if _, err := admin.DeleteTopics(t.Context(), w.topo.Requests.Name); err != nil {
			t.Fatal(err)
		}
		if _, err := admin.CreateTopics(t.Context(), partitions, 1, nil, w.topo.Requests.Name); err != nil {
			t.Fatal(err)
		}
		stop = start(p)
		for old := r.model().Published().Topic; r.model().Published().Topic == old || r.model().PendingCount() > 0; {
			time.Sleep(time.Second)
		}
		for i := range int32(partitions) {
			if got := w.held(r.model().Cluster().Key, i); got.Sync("a", "A") == nil {
				t.Errorf("partition %d of the new topic lacks the settings", i)
			}
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestLedger(t *testing.T) {
	r := newRegistry(t, 1)
	r.apply(t, registry.CreateInstance{ID: "a"})
	r.apply(t, sync1("A"))
	now := time.UnixMilli(1_000_000)
	l := newLedger(2, registry.Published{Time: 2_000_000})
	c, ok := l.next(0, r.model(), now)
	if !ok || c.Revision != 2 || c.Time != 2_000_000 {
		t.Fatalf("the first is %+v, %t", c, ok)
	}
	if _, ok := l.next(0, r.model(), now); ok {
		t.Error("two are in flight in one partition")
	}
	l.failed(&c, now)
	if _, ok := l.next(0, r.model(), now); ok || l.wakeAt(now) != now.Add(retryMin) {
		t.Error("no pause after a failure")
	}
	if c, _ = l.next(0, r.model(), now.Add(retryMin)); c.Revision != 2 {
		t.Errorf("after a failure revision %d comes", c.Revision)
	}
	l.written(&c, 4)
	if c, _ = l.next(0, r.model(), now); c.Revision != 3 || l.everywhere() != 0 || l.behind(r.model()) != 2 {
		t.Errorf("then revision %d; everywhere is %d, %d behind", c.Revision, l.everywhere(), l.behind(r.model()))
	}
	l.written(&c, 5)
	l.tick(map[int32]int64{0: 6, 1: 3}, false)
	if _, ok := l.next(0, r.model(), now); ok {
		t.Error("a tick without input") // the settings were the tick that was due at first
	}
	l.tick(map[int32]int64{0: 7}, false)
	if c, ok = l.next(0, r.model(), now); !ok || c.Revision != 0 || c.Changes != nil {
		t.Errorf("input brings %+v, %t", c, ok)
	}
}

func TestConfigValidate(t *testing.T) {
	topo, err := topology.New(topology.Config{})
	if err != nil {
		t.Fatal(err)
	}
	good := Config{Registry: newRegistry(t, 1).replica(), Topology: topo}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	bad := map[string]func(*Config){
		"Registry": func(c *Config) { c.Registry = nil },
		"Topology": func(c *Config) { c.Topology = nil },
		"Tick":     func(c *Config) { c.Tick = -1 },
		"TickAll":  func(c *Config) { c.Tick, c.TickAll = time.Minute, time.Second },
	}
	for _, field := range slices.Sorted(maps.Keys(bad)) {
		c := good
		bad[field](&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
