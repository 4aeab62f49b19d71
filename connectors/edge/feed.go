package edge

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/tidemarkio/tidemark/state/view"
)

// feed reads the topics into the views: by assignment, from the offsets that
// the views themselves hold.
type feed struct {
	s      *Server
	client *kgo.Client
	pen    pen

	// ends are the high watermarks at the start: who has passed them has
	// caught up. A partition is taken out when it has.
	ends struct {
		sync.Mutex
		left map[topicPartition]int64
	}
}

type topicPartition struct {
	topic     string
	partition int32
}

func newFeed(s *Server) *feed {
	f := &feed{s: s, pen: pen{metrics: s.metrics, now: s.nowMillis, traces: s.traces}}
	f.ends.left = make(map[topicPartition]int64)
	return f
}

// retryEvery is how long to wait for topics that are not there yet.
const retryEvery = 500 * time.Millisecond

// run reads until the context ends.
func (f *feed) run(ctx context.Context) error {
	f.s.notReady("it looks for the ends of its topics")
	starts, ends, err := f.bounds(ctx)
	if err != nil {
		return err
	}
	from, err := f.begin(starts, ends)
	if err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	f.client, err = kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-edge-feed"),
		kgo.ConsumePartitions(from),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // a view goes on where it was, or says why not
		// A fetch that waits can miss partitions that were added after it was
		// sent, so it does not wait for long.
		kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxPartitionBytes(2 << 20),
	}, f.s.cfg.Client...)...)
	if err != nil {
		return fmt.Errorf("edge: open consumer: %w", err)
	}
	defer f.client.Close()
	f.s.notReady("its views catch up")
	f.passed()
	for {
		fetches := f.client.PollRecords(ctx, pollRecordsMax)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return nil
		}
		f.failures(&fetches)
		f.take(&fetches)
		f.wait(ctx)
	}
}

// wait lets the flushers catch up. They never wait for a client, so it is a
// matter of milliseconds.
func (f *feed) wait(ctx context.Context) {
	for ctx.Err() == nil {
		n := 0
		for _, fl := range f.s.flushers {
			n += fl.len()
		}
		if n <= backlogMax {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// bounds asks where the topics begin and end. Topics that do not exist yet are
// waited for.
func (f *feed) bounds(ctx context.Context) (starts, ends kadm.ListedOffsets, err error) {
	adm := kadm.NewClient(f.s.producer)
	t := f.s.cfg.Topology
	topics := []string{t.Oplog.Name, t.Acks.Name, t.Broadcast.Name}
	for said := false; ; {
		starts, err = adm.ListStartOffsets(ctx, topics...)
		if err == nil {
			ends, err = adm.ListEndOffsets(ctx, topics...)
		}
		if err == nil {
			if err = errors.Join(complete(starts, topics, t.Partitions), complete(ends, topics, t.Partitions)); err == nil {
				return starts, ends, nil
			}
		}
		if !said {
			said = true
			f.s.log.Warn("waiting for the topics", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

// complete checks that all partitions have answered.
func complete(all kadm.ListedOffsets, topics []string, partitions int32) error {
	for _, topic := range topics {
		for p := range partitions {
			o, ok := all.Lookup(topic, p)
			if !ok {
				return fmt.Errorf("topic %s has no partition %d", topic, p)
			}
			if o.Err != nil {
				return fmt.Errorf("topic %s, partition %d: %w", topic, p, o.Err)
			}
		}
	}
	return nil
}

// begin decides where to read from, and parks what cannot be.
func (f *feed) begin(starts, ends kadm.ListedOffsets) (map[string]map[int32]kgo.Offset, error) {
	t := f.s.cfg.Topology
	from := map[string]map[int32]kgo.Offset{t.Oplog.Name: {}, t.Acks.Name: {}, t.Broadcast.Name: {}}
	use := func(topic string, p int32, next int64) (problem string) {
		start, _ := starts.Lookup(topic, p)
		end, _ := ends.Lookup(topic, p)
		switch {
		case next > end.Offset:
			return fmt.Sprintf("%s-%d ends at offset %d, but the view has read up to %d: the topic was cut or made anew; if that is meant, stop the edge and delete the view's directory",
				topic, p, end.Offset, next)
		case next < start.Offset:
			return fmt.Sprintf("%s-%d begins at offset %d, but the view has read up to %d only: what lies between has expired; stop the edge and delete the view's directory to build it anew",
				topic, p, start.Offset, next)
		}
		from[topic][p] = kgo.NewOffset().At(next)
		if next < end.Offset {
			f.ends.left[topicPartition{topic, p}] = end.Offset
		}
		return ""
	}
	for _, p := range f.s.partitions {
		start, _ := starts.Lookup(t.Oplog.Name, p.n)
		acks, _ := starts.Lookup(t.Acks.Name, p.n)
		end, _ := ends.Lookup(t.Oplog.Name, p.n)
		p.end.Store(end.Offset)
		if !p.view.Begun() {
			if err := p.view.Begin(start.Offset, acks.Offset); err != nil {
				return nil, err
			}
		}
		at := p.view.Position()
		problem := use(t.Oplog.Name, p.n, at.Oplog)
		if problem == "" {
			problem = use(t.Acks.Name, p.n, at.Acks)
		}
		if problem != "" {
			f.parkPartition(p, problem)
			delete(from[t.Oplog.Name], p.n)
			delete(from[t.Acks.Name], p.n)
		}
	}
	for n := range t.Partitions {
		next := f.s.globals.store.Next(n)
		if next < 0 {
			start, _ := starts.Lookup(t.Broadcast.Name, n)
			next = start.Offset
		}
		if problem := use(t.Broadcast.Name, n, next); problem != "" {
			f.parkGlobals(problem)
		}
	}
	return from, nil
}

// parkPartition stops reading a partition's topics, and says why.
func (f *feed) parkPartition(p *partition, why string) {
	p.park(why)
	f.s.log.Error("partition stands still", "partition", p.n, "reason", why)
	t := f.s.cfg.Topology
	f.forget(t.Oplog.Name, p.n)
	f.forget(t.Acks.Name, p.n)
}

func (f *feed) parkGlobals(why string) {
	f.s.globals.park(why)
	f.s.log.Error("global entries stand still", "reason", why)
	for n := range f.s.cfg.Topology.Partitions {
		f.forget(f.s.cfg.Topology.Broadcast.Name, n)
	}
}

// forget stops reading a partition of a topic; nobody waits for it any more.
func (f *feed) forget(topic string, n int32) {
	if f.client != nil {
		f.client.PauseFetchPartitions(map[string][]int32{topic: {n}})
	}
	f.ends.Lock()
	defer f.ends.Unlock()
	delete(f.ends.left, topicPartition{topic, n})
}

// failures sees to what fetches report. What passes by itself is logged by the
// client and tried again; what does not parks the partition.
func (f *feed) failures(fetches *kgo.Fetches) {
	t := f.s.cfg.Topology
	fetches.EachError(func(topic string, n int32, err error) {
		var lost *kgo.ErrDataLoss
		if !errors.Is(err, kerr.OffsetOutOfRange) && !errors.As(err, &lost) {
			f.s.log.Warn("fetch failed", "topic", topic, "partition", n, "error", err)
			return
		}
		why := fmt.Sprintf("%s-%d: %v: the topic was cut, or has expired faster than it was read; nothing was changed here", topic, n, err)
		switch {
		case n < 0:
		case topic == t.Broadcast.Name:
			f.parkGlobals(why)
		default:
			f.parkPartition(f.s.partitions[n], why)
		}
	})
}

// job is what a poll brought for one store.
type job struct {
	p           *partition // nil: for the global store
	broadcast   int32
	oplog, acks []view.Record
}

// take applies what a poll brought: the stores side by side, each in one
// batch.
func (f *feed) take(fetches *kgo.Fetches) {
	jobs := f.sort(fetches)
	few := fetches.NumRecords() <= inlineMax
	if few {
		for _, fl := range f.s.flushers {
			fl.hold()
		}
	}
	if len(jobs) == 1 {
		f.do(jobs[0])
	} else {
		var g errgroup.Group
		g.SetLimit(runtime.GOMAXPROCS(0))
		for _, j := range jobs {
			g.Go(func() error { f.do(j); return nil })
		}
		_ = g.Wait() // do parks instead of failing
	}
	if few {
		for _, fl := range f.s.flushers {
			for _, c := range fl.release(inlineMax) {
				c.flush(&f.pen)
			}
		}
	}
	f.passed()
}

// sort puts a poll's records to the stores that they are for.
func (f *feed) sort(fetches *kgo.Fetches) []*job {
	t := f.s.cfg.Topology
	jobs := make(map[*partition]*job)
	var all []*job
	fetches.EachPartition(func(tp kgo.FetchTopicPartition) {
		if len(tp.Records) == 0 {
			return
		}
		records := make([]view.Record, len(tp.Records))
		for i, r := range tp.Records {
			records[i] = view.Record{Offset: r.Offset, Time: r.Timestamp.UnixMilli(), Value: r.Value}
		}
		if tp.Topic == t.Broadcast.Name {
			all = append(all, &job{broadcast: tp.Partition, oplog: records})
			return
		}
		p := f.s.partitions[tp.Partition]
		j := jobs[p]
		if j == nil {
			j = &job{p: p}
			jobs[p] = j
			all = append(all, j)
		}
		if tp.Topic == t.Oplog.Name {
			f.s.traces.note(tp.Records)
			j.oplog = records
			p.end.Store(tp.HighWatermark)
		} else {
			j.acks = records
		}
	})
	return all
}

// do applies one job. A store that cannot go on stands still.
func (f *feed) do(j *job) {
	if j.p == nil {
		if f.s.globals.parked.Load() == nil {
			if err := f.s.globals.apply(j.broadcast, j.oplog); err != nil {
				f.parkGlobals(err.Error())
			}
		}
		return
	}
	if j.p.parked.Load() == nil {
		if err := j.p.apply(j.oplog, j.acks); err != nil {
			f.parkPartition(j.p, err.Error())
		}
	}
}

// passed notes which ends have been reached; with the last one the server is
// ready.
func (f *feed) passed() {
	f.ends.Lock()
	defer f.ends.Unlock()
	if f.s.state.Load() == nil || f.s.draining.Load() {
		return
	}
	t := f.s.cfg.Topology
	for tp, end := range f.ends.left {
		var at int64
		switch tp.topic {
		case t.Oplog.Name:
			at = f.s.partitions[tp.partition].view.Position().Oplog
		case t.Acks.Name:
			at = f.s.partitions[tp.partition].view.Position().Acks
		default:
			at = f.s.globals.store.Next(tp.partition)
		}
		if at >= end {
			delete(f.ends.left, tp)
		}
	}
	if len(f.ends.left) == 0 {
		f.s.state.Store(nil)
		f.s.log.Info("edge is ready")
	}
}
