package runtime

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
)

// sweepSlice is how many counters a sweep looks at in one turn of the loop.
const sweepSlice = 1000

// keeper does an owner's housekeeping: progress markers, flushes, and the
// changelog from which a lost disk is rebuilt.
//
// The changelog has two parts. The base (position, chain, time, settings) is
// one record every few seconds. Counters are written by a sweep every few
// hours, and only those that changed: until then the oplog has them, and a
// restore reads the oplog anyway, for the dedupe keys.
type keeper struct {
	lastInput time.Time
	flushed   time.Time
	flushedAt int64 // position
	based     time.Time
	basedAt   int64       // position of the last base written
	saved     atomic.Bool // and it was acknowledged
	sweep     *sweep
}

// sweep is a walk over the counters under way.
type sweep struct {
	from    []byte
	walked  bool  // all counters were looked at
	after   int64 // counters that changed behind this position are written,
	upTo    int64 // and not behind this one, the base's: see sweepOn
	began   state.Sweep
	pending atomic.Int64 // written and not yet acknowledged
	failed  atomic.Bool
}

func (k *keeper) start(r *runner) {
	now := time.Now()
	*k = keeper{lastInput: now, flushed: now, flushedAt: r.task.Applied().Request, based: now, basedAt: -1}
}

func (k *keeper) input() { k.lastInput = time.Now() }

// look does what is due.
func (k *keeper) look(ctx context.Context, r *runner) error {
	now := time.Now()
	if now.Sub(k.lastInput) >= r.rt.cfg.MarkerAfter {
		r.task.Marker()
		r.write(ctx)
	}
	k.flush(r)
	if now.Sub(k.based) >= r.rt.cfg.CheckpointEvery {
		k.base(ctx, r)
	}
	return k.sweepOn(ctx, r)
}

// flush makes a quiet store durable: its write-ahead log is not synced, and
// a store that has nothing to do would otherwise fall behind for ever.
func (k *keeper) flush(r *runner) {
	if now := time.Now(); now.Sub(k.flushed) >= r.rt.cfg.FlushEvery {
		k.flushed = now
		if at := r.task.Applied().Request; at != k.flushedAt {
			k.flushedAt = at
			if err := r.store.Flush(); err != nil {
				r.log.Error("flush store", "partition", r.partition, "err", err)
			}
		}
	}
}

// base writes the partition's base, if anything has changed.
func (k *keeper) base(ctx context.Context, r *runner) {
	k.based = time.Now()
	began, at := k.based, r.task.Applied()
	if at.Request == k.basedAt {
		if k.saved.Load() {
			r.status.checkpoint(k.based)
		}
		return
	}
	k.basedAt = at.Request
	k.saved.Store(false)
	r.checkpoint(ctx, &schemas.Checkpoint{Base: &schemas.Base{
		Position: at.Request, OplogOffset: at.OplogOffset, Entry: at.Entry, Chain: at.Chain,
		StreamTime: at.StreamTime, Revision: at.Revision, Rules: at.Rules,
		Topology: r.rt.topo.Hash(), ClusterKey: r.rt.cfg.ClusterKey.ID(), Changes: r.store.Settings(),
	}}, func(err error) {
		if err == nil {
			k.saved.Store(true)
			r.status.checkpoint(began)
		}
	})
}

// checkpoint writes one record to the changelog. A failure is no harm: the
// next one says more.
func (r *runner) checkpoint(ctx context.Context, c *schemas.Checkpoint, done func(error)) {
	rec := &kgo.Record{Topic: r.rt.topo.Counters.Name, Partition: r.partition, Key: c.RecordKey(), Value: c.Append(nil)}
	r.out.wg.Add(1)
	r.rt.producer.Produce(ctx, rec, func(_ *kgo.Record, err error) {
		defer r.out.wg.Done()
		if err != nil {
			r.log.Warn("write checkpoint", "partition", r.partition, "err", err)
		}
		done(err)
	})
}

// sweepOn begins a sweep when one is due (by stream time, so that a node that
// is often restarted sweeps too), and takes the next step of one under way.
//
// A counter that changed after the base was written is passed over: a restore
// that found it ahead of its base could not use it. It is as safe: its entry
// is new, so the oplog has it, and the next sweep but one finds it at rest.
func (k *keeper) sweepOn(ctx context.Context, r *runner) error {
	at := r.task.Applied()
	if k.sweep == nil {
		last := r.store.Swept()
		if at.StreamTime-last.StreamTime < r.rt.cfg.SweepEvery.Milliseconds() || k.basedAt <= last.Position {
			return nil
		}
		k.sweep = &sweep{after: last.Position, upTo: k.basedAt, began: state.Sweep{Position: k.basedAt, StreamTime: at.StreamTime}}
	}
	s := k.sweep
	if s.walked {
		return k.sweepEnd(r)
	}
	next, err := r.store.SweepCounters(s.from, sweepSlice, s.after, func(c state.CounterPut) error {
		if c.Position > s.upTo {
			return nil
		}
		instance, biz, link, err := schemas.ParseCounterKey(c.Key)
		if err != nil {
			return err
		}
		s.pending.Add(1)
		r.checkpoint(ctx, &schemas.Checkpoint{InstanceID: instance, BizType: biz, LinkToken: link, OplogID: c.ID, Position: c.Position}, func(err error) {
			if err != nil {
				s.failed.Store(true)
			}
			s.pending.Add(-1)
		})
		return nil
	})
	s.from, s.walked = next, next == nil
	return err
}

// sweepEnd notes a finished sweep once all that it wrote is acknowledged. One
// that failed is forgotten, and so begins again.
func (k *keeper) sweepEnd(r *runner) error {
	s := k.sweep
	if s.pending.Load() > 0 {
		return nil
	}
	k.sweep = nil
	if s.failed.Load() {
		return nil
	}
	return r.store.SetSwept(s.began)
}

// stop leaves store and changelog fresh.
func (k *keeper) stop(ctx context.Context, r *runner) {
	k.base(ctx, r)
	if err := r.store.Flush(); err != nil {
		r.log.Error("flush store", "partition", r.partition, "err", err)
	}
}
