package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/processor/oplog"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
)

// prepare opens the store and, when it is empty, in pieces, or older than what
// the topics hold, rebuilds it from them. It says what the broker holds.
func (r *runner) prepare(ctx context.Context) (bounds, error) {
	b, err := readBounds(ctx, r.rt.admin, r.rt.topo, r.rt.group, r.partition)
	if err != nil {
		return b, err
	}
	if r.store == nil {
		if r.store, err = r.rt.cfg.Open(r.partition); err != nil {
			return b, fmt.Errorf("open store of partition %d: %w", r.partition, err)
		}
	}
	at := r.store.Position()
	if at.Request >= 0 && r.store.Restored() && b.outdated(at) {
		r.log.Warn("store is older than what the topics hold: it is put aside and rebuilt", "partition", r.partition, "position", at.Request)
		if err := r.startOver(); err != nil {
			return b, err
		}
		at = r.store.Position()
	}
	if at.Request < 0 || !r.store.Restored() {
		if err := r.restore(ctx, b); err != nil {
			return b, err
		}
	}
	return b, b.check(r.partition, r.store.Position())
}

func (r *runner) startOver() error {
	r.closeStore()
	if err := r.rt.cfg.SetAside(r.partition); err != nil {
		return fmt.Errorf("put store of partition %d aside: %w", r.partition, err)
	}
	store, err := r.rt.cfg.Open(r.partition)
	if err != nil {
		return fmt.Errorf("open store of partition %d: %w", r.partition, err)
	}
	r.store = store
	return nil
}

// restore rebuilds the store: base and counters from the changelog, dedupe
// keys (and newer counters) from the oplog. Without a base there is nothing
// to restore from: the partition is decided from its first request on.
func (r *runner) restore(ctx context.Context, b bounds) error {
	began := time.Now()
	feed, err := r.store.Restore()
	if err != nil {
		return fmt.Errorf("begin restore of partition %d: %w", r.partition, err)
	}
	c := changelog{feed: feed, ahead: make(map[string]schemas.Checkpoint)}
	if err := r.readChangelog(ctx, &c); err != nil {
		return err
	}
	if c.base == nil {
		return feed.Finish(state.Start(), nil)
	}
	base := c.base
	at := state.Position{Request: base.Position, OplogOffset: base.OplogOffset, Entry: base.Entry, Chain: base.Chain,
		StreamTime: base.StreamTime, Revision: base.Revision, Rules: base.Rules}
	entries, err := r.readOplog(ctx, &c, b.oplog, &at)
	if err != nil {
		return err
	}
	if err := feed.Finish(at, base.Changes); err != nil {
		return fmt.Errorf("finish restore of partition %d: %w", r.partition, err)
	}
	r.log.Info("store restored from the topics", "partition", r.partition, "position", at.Request,
		"counters", c.counters, "entries", entries, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// changelog is what a restore has read of it.
type changelog struct {
	feed     Feed
	base     *schemas.Base // the one furthest on
	counters int
	// ahead are counters newer than the base: a former owner that was late
	// wrote the base behind them. What they were at the base is found in the
	// oplog.
	ahead map[string]schemas.Checkpoint
}

// readChangelog feeds the counters and finds the base.
func (r *runner) readChangelog(ctx context.Context, c *changelog) error {
	topic := r.rt.topo.Counters.Name
	s, err := spanOf(ctx, r.rt.admin, topic, r.partition)
	if err != nil || s.start == s.end {
		return err
	}
	err = r.readSpan(ctx, topic, s, func(rec *kgo.Record) error {
		var one schemas.Checkpoint
		if err := one.Decode(slices.Clone(rec.Value)); err != nil {
			return &processor.ParkError{Partition: r.partition, Position: -1, Reason: fmt.Sprintf("record %d of %s cannot be read", rec.Offset, topic), Remedy: "upgrade this node, if a newer release wrote it", Cause: err}
		}
		return c.take(&one)
	})
	if err != nil || c.base == nil {
		return err
	}
	return errors.Join(c.settle(), r.checkBase(c.base))
}

func (c *changelog) take(one *schemas.Checkpoint) error {
	switch {
	case one.Base != nil && (c.base == nil || one.Base.Position > c.base.Position):
		c.base = one.Base
		return nil
	case one.Base != nil:
		return nil
	case c.base == nil || one.Position > c.base.Position:
		c.ahead[string(one.RecordKey())] = *one
		return nil
	}
	return c.counter(one)
}

// settle feeds what turned out to be no newer than the base.
func (c *changelog) settle() error {
	for key, one := range c.ahead {
		if one.Position <= c.base.Position {
			delete(c.ahead, key)
			if err := c.counter(&one); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *changelog) counter(one *schemas.Checkpoint) error {
	c.counters++
	key := one.RecordKey()
	return c.feed.Counter(state.CounterPut{Hash: state.HashKey(key), Key: key, ID: one.OplogID, Position: one.Position})
}

// rewind takes an entry behind the base: the first one of a counter that is
// ahead shows what the counter was before.
func (c *changelog) rewind(e *schemas.Entry) error {
	link := e.LinkToken
	key := schemas.CounterKey(nil, e.InstanceID, e.BizType, link)
	if _, ok := c.ahead[string(key)]; !ok {
		return nil
	}
	delete(c.ahead, string(key))
	if e.OplogID == 1 {
		return nil
	}
	c.counters++
	return c.feed.Counter(state.CounterPut{Hash: state.HashKey(key), Key: key, ID: e.OplogID - 1, Position: c.base.Position})
}

func (r *runner) checkBase(base *schemas.Base) error {
	park := func(reason, remedy string) error {
		return &processor.ParkError{Partition: r.partition, Position: base.Position, Reason: reason, Remedy: remedy}
	}
	if base.Topology != r.rt.topo.Hash() {
		return park(fmt.Sprintf("these topics were made with topology %s, this node has %s", base.Topology, r.rt.topo.Hash()), "start with the same partitions and window; see tidemark topology describe")
	}
	if id := r.rt.cfg.ClusterKey.ID(); base.ClusterKey != id {
		return park(fmt.Sprintf("these topics belong to the cluster with key %s, this node has %s", base.ClusterKey, id), "use another topic prefix, or restore the registry that they were made with")
	}
	return nil
}

// readOplog feeds dedupe keys and counters from the log's beginning to the
// base's entry, and checks that the chain leads there.
func (r *runner) readOplog(ctx context.Context, c *changelog, s span, at *state.Position) (entries int, err error) {
	if at.Entry < 0 && len(c.ahead) == 0 {
		return 0, nil
	}
	reader := chain.Start()
	if s.start > 0 {
		reader = chain.Trust()
	}
	window := oplog.Window{Millis: r.rt.topo.Window.Milliseconds(), Bucket: r.rt.topo.Bucket.Milliseconds()}
	oldest := window.Oldest(at.StreamTime)
	met := at.Entry < 0 // the chain has led to the base
	var e schemas.Entry
	err = r.readSpan(ctx, r.rt.topo.Oplog.Name, s, func(rec *kgo.Record) error {
		if met && len(c.ahead) == 0 {
			return errEnough
		}
		if err := e.Decode(rec.Value); err != nil {
			return &processor.ParkError{Partition: r.partition, Position: reader.Position(), Reason: fmt.Sprintf("record %d of %s cannot be read", rec.Offset, rec.Topic), Cause: err}
		}
		v, err := reader.Accept(rec.Value, &e)
		if err != nil || v != chain.Accept {
			return err
		}
		if met {
			return c.rewind(&e)
		}
		entries++
		at.OplogOffset = max(at.OplogOffset, rec.Offset)
		if e.RequestOffset == at.Entry {
			met = e.Chain == at.Chain
		}
		return feedEntry(c.feed, &e, window.At(e.StreamTime), oldest)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return entries, err
	}
	return entries, r.checkRestored(c, reader, at, met)
}

func (r *runner) checkRestored(c *changelog, reader *chain.Reader, at *state.Position, met bool) error {
	switch {
	case !met:
		return &processor.ParkError{Partition: r.partition, Position: at.Entry,
			Reason: fmt.Sprintf("the oplog does not lead to the changelog's base: it ends at position %d, chain %x; the base says %d, %x", reader.Position(), reader.Chain(), at.Entry, at.Chain),
			Remedy: "the oplog was truncated or altered: restore the topic"}
	case len(c.ahead) > 0:
		return &processor.ParkError{Partition: r.partition, Position: at.Request,
			Reason: fmt.Sprintf("%d counters of the changelog are newer than its base, and the oplog does not have their entries", len(c.ahead)),
			Remedy: "the oplog was truncated: restore the topic"}
	}
	return nil
}

func feedEntry(feed Feed, e *schemas.Entry, bucket, oldest int64) error {
	req := schemas.Request{InstanceID: e.InstanceID, BizType: e.BizType, LinkToken: e.LinkToken, ThirdMsgID: e.ThirdMsgID, Scope: e.Scope}
	keys := oplog.KeysOf(nil, &req)
	if bucket >= oldest {
		if err := feed.Dedupe(state.DedupePut{Bucket: bucket, Key: keys.Dedupe, ID: e.OplogID}); err != nil {
			return err
		}
	}
	return feed.Counter(state.CounterPut{Hash: keys.Counter, Key: keys.CounterText, ID: e.OplogID, Position: e.RequestOffset})
}

// errEnough ends a reading early.
var errEnough = errors.New("enough")

// readSpan reads the records of a span and reports progress.
func (r *runner) readSpan(ctx context.Context, topic string, s span, visit func(*kgo.Record) error) error {
	t, err := openTail(&r.rt.cfg, topic, r.partition, s.start)
	if err != nil {
		return err
	}
	defer t.close()
	said := time.Now()
	for t.next < s.end {
		poll, cancel := context.WithTimeout(ctx, stuckAfter)
		err := t.poll(poll, visit)
		cancel()
		if err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("read %s partition %d: nothing came for %s at offset %d of %d", topic, r.partition, stuckAfter, t.next, s.end)
			}
			return err
		}
		r.status.count(StateRestoring, t.next-s.start, s.end-s.start)
		if time.Since(said) > 5*time.Second {
			said = time.Now()
			st := r.status.get()
			r.log.Info("restoring", "partition", r.partition, "topic", topic, "done", st.Done, "of", st.Total, "eta", st.ETA)
		}
	}
	return nil
}

func spanOf(ctx context.Context, admin *kadm.Client, topic string, partition int32) (s span, err error) {
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return s, fmt.Errorf("list start offsets of %s: %w", topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return s, fmt.Errorf("list end offsets of %s: %w", topic, err)
	}
	from, ok1 := starts.Lookup(topic, partition)
	to, ok2 := ends.Lookup(topic, partition)
	if !ok1 || !ok2 {
		return s, fmt.Errorf("topic %s has no partition %d", topic, partition)
	}
	if from.Err != nil {
		return s, fmt.Errorf("list offsets of %s: %w", topic, from.Err)
	}
	return span{from.Offset, to.Offset}, to.Err
}
