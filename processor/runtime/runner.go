package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
)

// Limits of a runner.
const (
	// step is how many requests are decided between looks at acknowledgements.
	step = 512
	// stuckAfter is how long a recovery waits for input before it asks the
	// broker whether there will be any.
	stuckAfter = 10 * time.Second
	// backoff between incarnations: grows from the first to the second.
	backoffMin, backoffMax = 100 * time.Millisecond, 10 * time.Second
	// letGoAfter is how long a runner that is stopped waits for what the broker
	// has taken and not answered, once draining has not brought it.
	letGoAfter = 2 * time.Second
	// housekeeping is how often an idle owner looks at its timers.
	housekeeping = 100 * time.Millisecond
)

// runner runs one partition, as standby or owner. Its goroutine is the only
// one that touches the task and the store.
type runner struct {
	rt        *Runtime
	partition int32
	log       *slog.Logger
	status    *statusCell
	promoted  chan struct{} // closed: be the owner
	retry     chan struct{} // one slot: an operator says try again
	done      chan struct{}

	store Store
	task  *processor.Task
	in    *queue
	chunk []*kgo.Record // taken from the queue and not yet decided
	rec   processor.Record
	entry schemas.Entry
	out   *writer
	sent  []int64 // scratch
	keep  keeper

	asked   map[int64]asked // requests of this turn to be traced, by position
	repeats int64           // duplicates that metrics know of
	working atomic.Int64    // since when it has been at one piece of work of its own, unix ns; 0: it waits for the world
}

// run keeps incarnations going until the context ends. The store is closed
// when it returns.
func (r *runner) run(ctx context.Context) {
	defer close(r.done)
	defer r.closeStore()
	wait := backoffMin
	for {
		began := time.Now()
		err := r.incarnation(ctx)
		if ctx.Err() != nil {
			return
		}
		var parked *processor.ParkError
		if errors.As(err, &parked) {
			r.log.Error("task parked", "partition", r.partition, "reason", parked.Error())
			r.status.park(parked.Error())
			select {
			case <-ctx.Done():
				return
			case <-r.retry:
			}
			r.closeStore()
			continue
		}
		if errors.Is(err, errAgain) || time.Since(began) > time.Minute {
			wait = backoffMin
		}
		r.log.Warn("task starts again", "partition", r.partition, "cause", err, "in", wait)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, backoffMax)
	}
}

func (r *runner) closeStore() {
	if r.store == nil {
		return
	}
	if err := r.store.Close(); err != nil {
		r.log.Error("close store", "partition", r.partition, "err", err)
	}
	r.store = nil
}

// incarnation is one life of the task: from the store to the log's end, and
// on as its owner until something fails or the context ends.
func (r *runner) incarnation(ctx context.Context) error {
	r.status.set(StateOpening)
	b, err := r.prepare(ctx)
	if err != nil {
		return err
	}
	at := r.store.Position()
	r.task = processor.New(processor.Config{Partition: r.partition, Topology: r.rt.topo, ClusterKey: r.rt.cfg.ClusterKey}, r.store)
	r.task.Committed(b.committed)
	if r.in, err = r.rt.input.open(ctx, r.partition, at.Request+1); err != nil {
		return err
	}
	r.chunk = nil
	defer func() { r.in.close() }()
	t, err := openTail(&r.rt.cfg, r.rt.topo.Oplog.Name, r.partition, max(r.task.ReadFrom(), b.oplog.start))
	if err != nil {
		return err
	}
	defer t.close()
	if err := r.standBy(ctx, t); err != nil {
		return err
	}
	began := time.Now()
	if b, err = readBounds(ctx, r.rt.admin, r.rt.topo, r.rt.group, r.partition); err != nil {
		return err
	}
	r.task.Committed(b.committed)
	if err := r.replay(ctx, t, b.oplog.end); err != nil {
		return err
	}
	t.close()
	if err := r.task.Own(); err != nil {
		return err
	}
	r.log.Info("task ready", "partition", r.partition, "records_replayed", max(0, t.next-at.OplogOffset-1),
		"position", r.task.Decided(), "took", time.Since(began).Round(time.Millisecond))
	return r.own(ctx)
}

// standBy follows the log until the runner is promoted. For a runner that is
// promoted already it does nothing.
func (r *runner) standBy(ctx context.Context, t *tail) error {
	select {
	case <-r.promoted:
		return nil
	default:
	}
	r.status.set(StateStandby)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with ctx
		select {
		case <-r.promoted:
			cancel(errPromoted)
		case <-ctx.Done():
		}
	}()
	for {
		poll, done := context.WithTimeout(ctx, housekeeping)
		err := t.poll(poll, func(rec *kgo.Record) error { return r.follow(ctx, rec) })
		done()
		if errors.Is(context.Cause(ctx), errPromoted) {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		r.task.Committed(r.rt.committedPosition(r.partition))
		if _, err := r.task.Apply(); err != nil {
			return err
		}
		r.keep.flush(r)
		r.status.progress(r)
	}
}

var errPromoted = errors.New("promoted")

// replay follows the log up to the end that it had when the partition became
// ours.
func (r *runner) replay(ctx context.Context, t *tail, end int64) error {
	r.status.replay(t.next, end)
	for t.next < end {
		if err := t.poll(ctx, func(rec *kgo.Record) error { return r.follow(ctx, rec) }); err != nil {
			return err
		}
		if _, err := r.task.Apply(); err != nil {
			return err
		}
		r.status.replay(t.next, end)
	}
	return nil
}

// follow takes one record of the own oplog, deciding first whatever it says
// was decided.
func (r *runner) follow(ctx context.Context, rec *kgo.Record) error {
	e := &r.entry
	if err := e.Decode(rec.Value); err != nil {
		return &processor.ParkError{Partition: r.partition, Position: r.task.Decided(),
			Reason: fmt.Sprintf("record %d of %s cannot be read", rec.Offset, rec.Topic), Remedy: "only tasks may write to this topic", Cause: err}
	}
	for r.task.Decided() < e.RequestOffset {
		if err := r.decideTo(ctx, e.RequestOffset); err != nil {
			return err
		}
	}
	v, err := r.task.Tail(rec.Value, e, rec.Offset)
	r.rt.metrics.tail(v)
	if v == chain.Orphan {
		r.log.Warn("orphan in the oplog: an append before it failed, it will come again", "partition", r.partition, "offset", rec.Offset, "position", e.RequestOffset)
	}
	return err
}

// decideTo decides the requests at hand, up to the position; it waits when
// there are none.
func (r *runner) decideTo(ctx context.Context, position int64) error {
	for len(r.chunk) > 0 {
		next := r.chunk[0]
		if next.Offset > position {
			if r.task.Decided() < position {
				// The position itself is not there: a hole that a transaction left.
				return r.missing(position)
			}
			return nil
		}
		r.chunk = r.chunk[1:]
		if err := r.decideOne(next); err != nil {
			return err
		}
		if next.Offset == position {
			return nil
		}
	}
	return r.waitInput(ctx, position)
}

func (r *runner) decideOne(rec *kgo.Record) error {
	record(rec, &r.rec)
	return r.task.Input(&r.rec)
}

// waitInput waits for a chunk of requests.
func (r *runner) waitInput(ctx context.Context, position int64) error {
	for {
		c, err := r.in.take()
		if err != nil {
			return r.inputLost(err)
		}
		if c != nil {
			r.chunk = c
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.in.notify:
		case <-time.After(stuckAfter):
			b, err := readBounds(ctx, r.rt.admin, r.rt.topo, r.rt.group, r.partition)
			if err != nil {
				return err
			}
			if b.requests.end <= position {
				return r.missing(position)
			}
		}
	}
}

func (r *runner) missing(position int64) error {
	return &processor.ParkError{Partition: r.partition, Position: r.task.Decided(),
		Reason: fmt.Sprintf("the oplog answers request %d, and the requests topic does not hold it", position),
		Remedy: "the requests topic was truncated or made anew: restore it"}
}

func (r *runner) inputLost(err error) error {
	return &processor.ParkError{Partition: r.partition, Position: r.task.Decided(),
		Reason: "its requests cannot be read on", Remedy: "see the cause; a truncated topic must be restored, a missing right granted", Cause: err}
}

// own is the owner's loop.
func (r *runner) own(ctx context.Context) error {
	r.status.set(StateRunning)
	// In-flight outputs outlive ctx: draining waits for them.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	r.out = newWriter(r.rt.producer, r.rt.outputs, r.partition, r.rt.presence.online)
	r.out.acks.took = r.rt.metrics.appendSeconds
	r.repeats = r.task.Duplicates()
	defer r.working.Store(0)
	r.rt.writes(r.partition, &r.out.acks)
	defer func() {
		r.rt.writes(r.partition, nil)
		end() // what is still buffered fails
		r.letGo(ctx)
	}()
	r.keep.start(r)
	r.status.progress(r)
	epoch := r.leaderEpoch()
	timer := time.NewTicker(housekeeping)
	defer timer.Stop()
	for {
		busy, err := r.turn(life)
		r.working.Store(0)
		if err != nil {
			return err
		}
		due := false
		if busy && ctx.Err() == nil {
			select { // input that never ends must not put off what is due
			case <-timer.C:
				due = true
			default:
			}
		} else {
			select {
			case <-ctx.Done():
				return r.drain(life)
			case <-r.in.notify:
			case <-r.out.acks.notify:
			case <-timer.C:
				due = true
			}
		}
		if due {
			if err := r.housekeep(life, &epoch); err != nil {
				return err
			}
		}
	}
}

// letGo waits until nothing of this life is under way. The client does not give
// up a record that the broker may have written, so with a broker that is gone
// this has no end; a runner that is stopped goes then. What lands later is what
// a zombie would write: the same bytes, which readers drop.
func (r *runner) letGo(ctx context.Context) {
	answered := make(chan struct{})
	go func(w *writer) { // ends at the latest when the client is closed
		w.wg.Wait()
		close(answered)
	}(r.out)
	select {
	case <-answered:
		return
	case <-ctx.Done():
	}
	patience := time.NewTimer(letGoAfter)
	defer patience.Stop()
	select {
	case <-answered:
	case <-patience.C:
		r.log.Warn("stopped without an answer of the broker; what it has written will be recognised", "partition", r.partition)
	}
}

// housekeep does what is due at intervals, whatever the load: bases, flushes,
// a look at who leads the oplog partition.
func (r *runner) housekeep(ctx context.Context, epoch *int32) error {
	r.working.Store(time.Now().UnixNano())
	if err := r.keep.look(ctx, r); err != nil {
		return err
	}
	if err := r.unsettled(epoch); err != nil {
		return err
	}
	r.status.progress(r)
	return nil
}

// leaderEpoch counts the leaders that our oplog partition has had; -1: unknown.
func (r *runner) leaderEpoch() int32 {
	_, epoch, err := r.rt.producer.PartitionLeader(r.rt.topo.Oplog.Name, r.partition)
	if err != nil {
		return -1
	}
	return epoch
}

// errAgain ends an incarnation in order, so that the next one reads the log.
var errAgain = errors.New("the log wants to be read again")

// unsettled looks for reasons to read the log again: a new leader, which may
// have lost what the old one had acknowledged, and another owner's records,
// behind which the store's offset stands still. With nothing in flight a new
// incarnation costs little.
func (r *runner) unsettled(epoch *int32) error {
	now := r.leaderEpoch()
	if *epoch < 0 {
		*epoch = now
	}
	switch {
	case now > *epoch:
		return fmt.Errorf("%w: the oplog partition has a new leader (epoch %d, was %d)", errAgain, now, *epoch)
	case !r.task.Alone() && r.task.InFlight() == 0 && len(r.chunk) == 0:
		return fmt.Errorf("%w: somebody else has written to the oplog partition", errAgain)
	}
	return nil
}

// turn takes acknowledgements, decides some requests, and writes what follows.
// It reports whether there is more to do at once.
func (r *runner) turn(ctx context.Context) (busy bool, err error) {
	r.working.Store(time.Now().UnixNano())
	if err := r.acknowledge(); err != nil {
		return false, err
	}
	decided := 0
	for decided < step && !r.task.Full() {
		if len(r.chunk) == 0 {
			if r.chunk, err = r.in.take(); err != nil {
				return false, r.inputLost(err)
			}
			if len(r.chunk) == 0 {
				break
			}
		}
		rec := r.chunk[0]
		r.chunk = r.chunk[1:]
		if r.rt.tracer != nil {
			r.noteTrace(rec)
		}
		if err := r.decideOne(rec); err != nil {
			return false, err
		}
		decided++
	}
	busy = decided > 0
	if busy {
		r.rt.metrics.decide(decided, r.task.Duplicates()-r.repeats)
		r.repeats = r.task.Duplicates()
		r.keep.input()
	}
	r.write(ctx)
	return busy, nil
}

// write hands the task's outputs to the producer.
func (r *runner) write(ctx context.Context) {
	outs := r.task.Take()
	r.rt.metrics.output(outs)
	if len(r.asked) > 0 {
		r.beginSpans(outs)
	}
	at := r.working.Swap(0) // a broker that is away is no fault of ours
	r.out.write(ctx, outs)
	if at != 0 {
		r.working.Store(time.Now().UnixNano())
	}
}

// acknowledge reports what the broker has acknowledged, writes what follows
// from it, and applies what is complete.
func (r *runner) acknowledge() (err error) {
	if r.sent, err = r.out.acks.give(r.task, r.sent); err != nil {
		return err
	}
	_, err = r.task.Apply()
	if err == nil {
		r.rt.setCommit(r.partition, r.task.Applied().Request)
	}
	return err
}

// drain finishes what is in flight, bounded in time, and leaves the store and
// the changelog as fresh as they can be.
func (r *runner) drain(ctx context.Context) error {
	r.status.set(StateDraining)
	ctx, cancel := context.WithTimeout(ctx, r.rt.cfg.DrainTimeout)
	defer cancel()
	r.task.Marker()
	for {
		if err := r.acknowledge(); err != nil {
			return err
		}
		r.write(ctx)
		if r.task.InFlight() == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain partition %d: %d positions are still unacknowledged; they will be taken up again: %w", r.partition, r.task.InFlight(), ctx.Err())
		case <-r.out.acks.notify:
		}
	}
	r.keep.stop(ctx, r)
	// Or the end of this life would take the base with it.
	if err := r.rt.producer.Flush(ctx); err != nil {
		r.log.Warn("drained, but not all bases are in the changelog: a start after a lost disk reads more", "partition", r.partition, "err", err)
	}
	return context.Canceled
}
