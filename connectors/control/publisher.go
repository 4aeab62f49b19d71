package control

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology/registry"
)

const (
	writeTimeout  = 10 * time.Second // of one record, retries by the client included
	listTimeout   = 10 * time.Second // of asking for end offsets
	markTimeout   = 10 * time.Second // of telling the registry
	againMin      = 200 * time.Millisecond
	againMax      = 5 * time.Second
	clockSlackMax = time.Minute // how far behind the clock may be before that is worth a warning
)

// Publisher writes control records while its registry node leads.
type Publisher struct {
	cfg Config

	mu     sync.Mutex
	status Status
}

// Status is what a publisher is doing.
type Status struct {
	Leading  bool      `json:"leading"`
	Topic    string    `json:"topic,omitempty"` // id of the requests topic
	Behind   int       `json:"behind"`          // partitions that lack settings
	LastTick time.Time `json:"lastTick"`        // when partitions were last looked at
	Written  int64     `json:"written"`         // records since the start
	Failed   int64     `json:"failed"`          // writes that were tried again
	Error    string    `json:"error,omitempty"` // the latest, until a success
}

// New makes a publisher; [Publisher.Run] works.
func New(cfg Config) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Publisher{cfg: cfg.withDefaults()}, nil
}

// Status says what the publisher is doing.
func (p *Publisher) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *Publisher) note(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}

// WaitPublished waits until the settings of a revision are in the log of every
// partition, whichever node writes them.
func (p *Publisher) WaitPublished(ctx context.Context, revision int64) error {
	for {
		m, changed := p.cfg.Registry.Now()
		if m.Revision() >= revision && !m.Waiting(revision) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("settings of revision %d are accepted and not yet in every partition's log (%d records wait): %w", revision, m.PendingCount(), ctx.Err())
		}
	}
}

// Run publishes whenever the node leads, until ctx ends. It returns early, with
// a [*RefusedError], if the topics are not this cluster's.
func (p *Publisher) Run(ctx context.Context) error {
	pause := againMin
	for ctx.Err() == nil {
		leading, changed := p.cfg.Registry.Leading()
		if !leading {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		start := time.Now()
		err := p.lead(ctx)
		var refused *RefusedError
		if errors.As(err, &refused) {
			return err
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		if time.Since(start) > againMax {
			pause = againMin
		}
		p.cfg.Log.Warn("control: cannot publish, trying again", "error", err, "pause", pause)
		p.note(func(s *Status) { s.Error = err.Error() })
		select {
		case <-time.After(pause):
			pause = min(2*pause, againMax)
		case <-ctx.Done():
		}
	}
	return nil
}

// lead publishes for as long as the node leads.
func (p *Publisher) lead(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { p.cancelWhenLost(ctx, cancel) })
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-control"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(2 * int(p.cfg.Topology.Partitions)), // one of each is in flight
		kgo.RecordDeliveryTimeout(writeTimeout),
		kgo.UnknownTopicRetries(3),
	}, p.cfg.Kafka...)...)
	if err != nil {
		return fmt.Errorf("connect to Kafka: %w", err)
	}
	defer client.Close()
	topic, err := p.meet(ctx, client)
	if err != nil {
		if ctx.Err() != nil {
			return nil // no longer ours to do
		}
		return err
	}
	p.note(func(s *Status) { s.Leading, s.Topic, s.Error = true, topic, "" })
	defer p.note(func(s *Status) { s.Leading, s.Behind = false, 0 })
	r := newRun(p, client, topic)
	defer r.wg.Wait()
	defer cancel()
	r.loop(ctx)
	return nil
}

// cancelWhenLost ends a lead's context when the node no longer leads.
func (p *Publisher) cancelWhenLost(ctx context.Context, cancel func()) {
	for {
		leading, changed := p.cfg.Registry.Leading()
		if !leading {
			cancel()
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// run is one lead: the ledger, and what is on its way.
type run struct {
	p      *Publisher
	client *kgo.Client
	admin  *kadm.Client
	topic  string
	ledger *ledger
	key    schemas.ClusterKey
	wg     sync.WaitGroup

	acks   chan ack // one slot for each partition: a callback never waits
	ends   chan map[int32]int64
	marked chan error

	listing bool
	marking bool
	lastAll time.Time // when all partitions were last told the time
	all     bool      // the listing under way is for all
	floored int64     // time that the registry knows of
	warned  bool
}

type ack struct {
	c      schemas.Control
	offset int64
	err    error
}

func newRun(p *Publisher, client *kgo.Client, topic string) *run {
	m, _ := p.cfg.Registry.Now()
	n := p.cfg.Topology.Partitions
	return &run{
		p: p, client: client, admin: kadm.NewClient(client), topic: topic,
		ledger: newLedger(n, m.Published()), key: m.Cluster().Key,
		acks: make(chan ack, n), ends: make(chan map[int32]int64, 1), marked: make(chan error, 1),
		lastAll: p.cfg.Clock(), floored: m.Published().Time,
	}
}

// loop is the only goroutine that touches the ledger.
func (r *run) loop(ctx context.Context) {
	tick := time.NewTicker(r.p.cfg.Tick)
	defer tick.Stop()
	for {
		m, changed := r.p.cfg.Registry.Now()
		if m.Published().Topic != r.topic {
			return // the registry was restored: look at the topic again
		}
		now := r.p.cfg.Clock()
		r.sendAll(ctx, m, now)
		r.mark(ctx, m)
		r.p.note(func(s *Status) { s.Behind = r.ledger.behind(m) })
		var retry <-chan time.Time
		if at := r.ledger.wakeAt(now); !at.IsZero() {
			retry = time.After(at.Sub(now))
		}
		select {
		case a := <-r.acks:
			r.take(a)
		case ends := <-r.ends:
			r.listing = false
			r.ledger.tick(ends, r.all)
		case err := <-r.marked:
			r.marking = false
			if err != nil && ctx.Err() == nil {
				r.complain(fmt.Errorf("tell the registry what is published: %w", err))
			}
		case <-tick.C:
			r.list(ctx)
		case <-changed:
		case <-retry:
		case <-ctx.Done():
			return
		}
	}
}

// sendAll gives every partition what it is to get now.
func (r *run) sendAll(ctx context.Context, m *registry.Model, now time.Time) {
	if late := r.ledger.last - now.UnixMilli(); late > clockSlackMax.Milliseconds() && !r.warned {
		r.warned = true
		r.p.cfg.Log.Warn("control: this node's clock is behind the time that was written; time stands still for tasks until it catches up",
			"behind", time.Duration(late)*time.Millisecond)
	}
	for i := range r.ledger.parts {
		if c, ok := r.ledger.next(int32(i), m, now); ok {
			r.send(ctx, c)
		}
	}
}

func (r *run) send(ctx context.Context, c schemas.Control) {
	record := &kgo.Record{
		Topic: r.p.cfg.Topology.Requests.Name, Partition: c.Partition,
		Value:   c.Append(nil, r.key),
		Headers: []kgo.RecordHeader{{Key: schemas.HeaderControl, Value: []byte("1")}},
	}
	r.client.TryProduce(ctx, record, func(rec *kgo.Record, err error) {
		r.acks <- ack{c, rec.Offset, err}
	})
}

func (r *run) take(a ack) {
	if a.err != nil {
		r.ledger.failed(&a.c, r.p.cfg.Clock())
		r.p.note(func(s *Status) { s.Failed++ })
		if !errors.Is(a.err, context.Canceled) {
			r.complain(fmt.Errorf("write control record to partition %d: %w", a.c.Partition, a.err))
		}
		return
	}
	r.ledger.written(&a.c, a.offset)
	r.p.note(func(s *Status) { s.Written++; s.Error = "" })
}

func (r *run) complain(err error) {
	r.p.cfg.Log.Warn("control: trying again", "error", err)
	r.p.note(func(s *Status) { s.Error = err.Error() })
}

// mark tells the registry what every partition has, and now and then the time.
func (r *run) mark(ctx context.Context, m *registry.Model) {
	everywhere := r.ledger.everywhere()
	done := m.OldestPending() != nil && m.OldestPending().Control.Revision <= everywhere
	if r.marking || !done && r.ledger.last-r.floored < r.p.cfg.TickAll.Milliseconds() {
		return
	}
	r.marking, r.floored = true, r.ledger.last
	op := registry.MarkPublished{Revision: everywhere, Time: r.ledger.last, Topic: r.topic}
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, markTimeout)
		defer cancel()
		_, err := r.p.cfg.Registry.Propose(ctx, registry.Command{Actor: "registry", Ops: []registry.Op{op}})
		r.marked <- err
	})
}

// list asks for the partitions' ends, to see which had input.
func (r *run) list(ctx context.Context) {
	if r.listing {
		return
	}
	now := r.p.cfg.Clock()
	r.listing, r.all = true, now.Sub(r.lastAll) >= r.p.cfg.TickAll
	if r.all {
		r.lastAll = now
	}
	r.p.note(func(s *Status) { s.LastTick = now })
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		ends := make(map[int32]int64)
		listed, err := r.admin.ListEndOffsets(ctx, r.p.cfg.Topology.Requests.Name)
		listed.Each(func(o kadm.ListedOffset) {
			if o.Err == nil {
				ends[o.Partition] = o.Offset
			}
		})
		if err != nil && ctx.Err() == nil {
			r.p.cfg.Log.Warn("control: cannot see which partitions had input", "error", err)
		}
		r.ends <- ends
	})
}
