package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// Runtime runs the sync tasks that the group gives to this process.
type Runtime struct {
	cfg      Config
	topo     *topology.Topology
	group    string
	outputs  outputTopics
	producer *kgo.Client
	admin    *kadm.Client
	input    *input
	presence *presence
	member   *kgo.Client
	metrics  *metrics
	tracer   Tracer // nil: nothing is traced

	life context.Context // of the runners; ends when Run drains

	mu        sync.Mutex
	runners   map[int32]*running
	ending    map[int32]chan struct{} // closed when a standby that was stopped is gone
	owned     map[int32]bool
	told      assignmentData
	draining  bool
	commit    map[int32]int64 // positions to commit
	handedIn  map[int32]int64 // newest positions handed in for a commit
	committed map[int32]int64 // positions that the group has, as last read
	writing   map[int32]*acks // of the owners that append now
	changed   chan struct{}   // closed and replaced when ownership changes
}

// running is a runner with the means to stop it.
type running struct {
	*runner
	owner  bool
	cancel context.CancelFunc
}

// New checks the configuration and opens the clients. Nothing runs yet.
func New(cfg Config) (*Runtime, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Group == "" {
		cfg.Group = cfg.Topology.Prefix + DefaultGroup
	}
	t := cfg.Topology
	rt := &Runtime{
		cfg: cfg, topo: t, group: cfg.Group,
		outputs: outputTopics{t.Requests.Name, t.Oplog.Name, t.Broadcast.Name, t.Results.Name, t.Rejects.Name},
		runners: make(map[int32]*running), ending: make(map[int32]chan struct{}), owned: make(map[int32]bool),
		commit: make(map[int32]int64), handedIn: make(map[int32]int64), committed: make(map[int32]int64), writing: make(map[int32]*acks), changed: make(chan struct{}),
	}
	rt.metrics = newMetrics(rt)
	return rt, rt.open()
}

func (rt *Runtime) open() (err error) {
	if rt.producer, err = newProducer(&rt.cfg, rt.dataLoss); err != nil {
		return err
	}
	rt.admin = kadm.NewClient(rt.producer)
	if rt.input, err = newInput(&rt.cfg); err != nil {
		return err
	}
	rt.presence, err = newPresence(&rt.cfg)
	return err
}

// Run joins the group and runs what it is given until the context ends; then
// it drains and leaves. The error is why it could not start.
func (rt *Runtime) Run(ctx context.Context) error {
	defer rt.closeClients()
	if err := rt.cfg.registerMetrics(rt.metrics); err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	life, end := context.WithCancel(work)
	rt.life = life
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){rt.input.run, rt.presence.run, rt.commitLoop, rt.watchCommitted} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			loop(work)
		}()
	}
	err := rt.join()
	if err == nil {
		<-ctx.Done()
		rt.handOver()
	}
	end()
	rt.stopAll()
	rt.commitNow(work)
	rt.leave()
	stop()
	wg.Wait()
	return err
}

// join makes this process a member of the group. The member reads nothing: it
// is there to be given partitions and to commit.
func (rt *Runtime) join() error {
	topic := rt.topo.Requests.Name
	member, err := kgo.NewClient(append(rt.cfg.clientOpts("processor-member"),
		kgo.ConsumerGroup(rt.group),
		kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit(),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(rt.cfg.SessionTimeout),
		kgo.HeartbeatInterval(min(time.Second, rt.cfg.SessionTimeout/6)),
		kgo.RebalanceTimeout(max(30*time.Second, 2*rt.cfg.DrainTimeout)),
		kgo.Balancers(&balancer{topic: topic, standbys: rt.cfg.Standbys, acceptable: rt.cfg.AcceptableLag, self: rt.self, told: rt.tell}),
		kgo.OnPartitionsAssigned(func(_ context.Context, cl *kgo.Client, got map[string][]int32) {
			cl.PauseFetchTopics(topic)
			rt.assign(got[topic])
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, lost map[string][]int32) { rt.revoke(ctx, lost[topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { rt.lose(lost[topic]) }),
	)...)
	if err != nil {
		return fmt.Errorf("join group %s: %w", rt.group, err)
	}
	member.PauseFetchTopics(topic)
	rt.mu.Lock()
	rt.member = member
	rt.mu.Unlock()
	return nil
}

// self is what the balancer tells the group's leader of this process.
func (rt *Runtime) self() memberData {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	d := memberData{Name: rt.cfg.Member, Draining: rt.draining, Warm: map[int32]int64{}}
	for p, r := range rt.runners {
		if lag, ok := rt.warmth(p, r); ok {
			d.Warm[p] = lag
		}
	}
	return d
}

// warmth is how far a runner's state is behind what the group has committed.
func (rt *Runtime) warmth(p int32, r *running) (int64, bool) {
	s := r.status.get()
	if s.State != StateStandby && s.State != StateRunning {
		return 0, false
	}
	return max(0, rt.committed[p]-s.Decided), true
}

// tell is called with every assignment, before it takes effect.
func (rt *Runtime) tell(d assignmentData) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.told = d
	rt.reconcile()
}

func (rt *Runtime) assign(partitions []int32) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for _, p := range partitions {
		rt.owned[p] = true
		rt.presence.watch(p)
	}
	rt.reconcile()
}

// revoke gives partitions back: what is in flight is finished and committed
// first, so that the next owner finds nothing to repeat.
func (rt *Runtime) revoke(ctx context.Context, partitions []int32) {
	rt.drop(partitions)
	rt.commitNow(ctx)
}

// lose stops partitions that somebody else may run already.
func (rt *Runtime) lose(partitions []int32) { rt.drop(partitions) }

func (rt *Runtime) drop(partitions []int32) {
	rt.mu.Lock()
	var stopped []*running
	for _, p := range partitions {
		delete(rt.owned, p)
		delete(rt.handedIn, p)
		rt.presence.unwatch(p)
		if r := rt.runners[p]; r != nil && r.owner {
			r.cancel()
			stopped = append(stopped, r)
		}
	}
	rt.mu.Unlock()
	for _, r := range stopped {
		<-r.done
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	for _, r := range stopped {
		if rt.runners[r.partition] == r {
			delete(rt.runners, r.partition)
		}
	}
	rt.reconcile()
}

// reconcile starts, promotes and stops runners to fit what we own and stand
// by for. The caller holds the lock.
func (rt *Runtime) reconcile() {
	defer func() {
		close(rt.changed)
		rt.changed = make(chan struct{})
	}()
	for p := range rt.owned {
		r := rt.runners[p]
		switch {
		case r == nil:
			rt.launch(p, true)
		case !r.owner:
			r.owner = true
			close(r.promoted)
		}
	}
	for _, p := range rt.told.Standby {
		if rt.runners[p] == nil && !rt.owned[p] && p < rt.topo.Partitions {
			rt.launch(p, false)
		}
	}
	for p, r := range rt.runners {
		// A standby whose partition is coming to us goes on: it is warm.
		if !r.owner && !slices.Contains(rt.told.Standby, p) && !slices.Contains(rt.told.Coming, p) {
			r.cancel()
			delete(rt.runners, p)
			rt.ending[p] = r.done
		}
	}
}

func (rt *Runtime) launch(p int32, owner bool) {
	ctx, cancel := context.WithCancel(rt.life)
	r := &running{owner: owner, cancel: cancel, runner: &runner{
		rt: rt, partition: p, log: rt.cfg.Log,
		status:   &statusCell{now: rt.cfg.Now, s: Status{Partition: p, Lag: -1, Position: state.Start()}},
		promoted: make(chan struct{}), retry: make(chan struct{}, 1), done: make(chan struct{}),
	}}
	if owner {
		close(r.promoted)
	}
	rt.runners[p] = r
	before := rt.ending[p]
	delete(rt.ending, p)
	go func() {
		if before != nil {
			<-before // one runner at a time holds the store
		}
		r.run(ctx)
	}()
}

// handOver waits, for a while, until warm standbys have taken what we own.
func (rt *Runtime) handOver() {
	rt.mu.Lock()
	rt.draining = true
	alone := rt.told.Members <= 1
	rt.mu.Unlock()
	if alone {
		return
	}
	rt.member.ForceRebalance()
	timeout := time.NewTimer(rt.cfg.DrainTimeout)
	defer timeout.Stop()
	for {
		rt.mu.Lock()
		owned, changed := len(rt.owned), rt.changed
		rt.mu.Unlock()
		if owned == 0 {
			return
		}
		select {
		case <-changed:
		case <-timeout.C:
			rt.cfg.Log.Warn("leaving with partitions that no standby was warm for", "partitions", owned)
			return
		}
	}
}

func (rt *Runtime) stopAll() {
	rt.mu.Lock()
	all := make([]*running, 0, len(rt.runners))
	for _, r := range rt.runners {
		r.cancel()
		all = append(all, r)
	}
	ending := slices.Collect(maps.Values(rt.ending))
	rt.mu.Unlock()
	for _, r := range all {
		<-r.done
	}
	for _, done := range ending {
		<-done
	}
}

// leave tells the group at once, so that nobody waits for a time-out.
func (rt *Runtime) leave() {
	if rt.member == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rt.cfg.DrainTimeout)
	defer cancel()
	if err := rt.member.LeaveGroupContext(ctx); err != nil {
		rt.cfg.Log.Warn("leave group", "group", rt.group, "err", err)
	}
}

func (rt *Runtime) closeClients() {
	for _, c := range []*kgo.Client{rt.member, rt.producer, rt.input.client, rt.presence.client} {
		if c != nil {
			c.Close()
		}
	}
}

// writes notes where an owner takes acknowledgements, so that it hears of lost
// records; nil: it has ended.
func (rt *Runtime) writes(partition int32, a *acks) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if a == nil {
		delete(rt.writing, partition)
		return
	}
	rt.writing[partition] = a
}

// dataLoss is called by the producer.
func (rt *Runtime) dataLoss(topic string, partition int32) {
	if topic != rt.outputs.oplog {
		return
	}
	rt.mu.Lock()
	a := rt.writing[partition]
	rt.mu.Unlock()
	if a != nil {
		a.lost()
	}
}

// Status lists the partitions of this node.
func (rt *Runtime) Status() []Status {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	all := make([]Status, 0, len(rt.runners))
	for _, r := range rt.runners {
		all = append(all, r.status.get())
	}
	slices.SortFunc(all, func(a, b Status) int { return int(a.Partition - b.Partition) })
	return all
}

// Retry makes a parked partition try again, after an operator has mended it.
// It reports whether the partition was parked here.
func (rt *Runtime) Retry(partition int32) bool {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	r := rt.runners[partition]
	if r == nil || r.status.get().State != StateParked {
		return false
	}
	wake(r.retry)
	return true
}
