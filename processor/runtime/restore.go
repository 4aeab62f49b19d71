package runtime

import (
	"context"
	"fmt"
	"strings"
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
	base, counters, err := r.readChangelog(ctx, feed)
	if err != nil {
		feed.Abort()
		return err
	}
	if base == nil {
		return feed.Finish(state.Start(), nil)
	}
	at := state.Position{Request: base.Position, OplogOffset: base.OplogOffset, Entry: base.Entry, Chain: base.Chain,
		StreamTime: base.StreamTime, Revision: base.Revision, Rules: base.Rules}
	entries, err := r.readOplog(ctx, feed, b.oplog, &at)
	if err != nil {
		feed.Abort()
		return err
	}
	if err := feed.Finish(at, base.Changes); err != nil {
		return fmt.Errorf("finish restore of partition %d: %w", r.partition, err)
	}
	r.log.Info("store restored from the topics", "partition", r.partition, "position", at.Request,
		"counters", counters, "entries", entries, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// readChangelog feeds the counters and finds the newest base.
func (r *runner) readChangelog(ctx context.Context, feed Feed) (base *schemas.Base, counters int, err error) {
	topic := r.rt.topo.Counters.Name
	s, err := spanOf(ctx, r.rt.admin, topic, r.partition)
	if err != nil || s.start == s.end {
		return nil, 0, err
	}
	err = r.readSpan(ctx, topic, s, func(rec *kgo.Record) error {
		var c schemas.Checkpoint
		if err := c.Decode(rec.Value); err != nil {
			return &processor.ParkError{Partition: r.partition, Position: -1, Reason: fmt.Sprintf("record %d of %s cannot be read", rec.Offset, topic), Remedy: "upgrade this node, if a newer release wrote it", Cause: err}
		}
		if c.Base != nil {
			base = c.Base
			return nil
		}
		counters++
		key := schemas.CounterKey(nil, c.InstanceID, c.BizType, c.LinkToken)
		return feed.Counter(state.CounterPut{Hash: oplog.CounterHash(key), Key: key, ID: c.OplogID, Position: c.Position})
	})
	if err == nil && base != nil {
		err = r.checkBase(base)
	}
	return base, counters, err
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
func (r *runner) readOplog(ctx context.Context, feed Feed, s span, at *state.Position) (entries int, err error) {
	if at.Entry < 0 {
		return 0, nil
	}
	reader := chain.Start()
	if s.start > 0 {
		reader = chain.Trust()
	}
	window := oplog.Window{Millis: r.rt.topo.Window.Milliseconds(), Bucket: r.rt.topo.Bucket.Milliseconds()}
	oldest := window.Oldest(at.StreamTime)
	var e schemas.Entry
	err = r.readSpan(ctx, r.rt.topo.Oplog.Name, s, func(rec *kgo.Record) error {
		if reader.Position() >= at.Entry {
			return errEnough
		}
		if err := e.Decode(rec.Value); err != nil {
			return &processor.ParkError{Partition: r.partition, Position: reader.Position(), Reason: fmt.Sprintf("record %d of %s cannot be read", rec.Offset, rec.Topic), Cause: err}
		}
		v, err := reader.Accept(rec.Value, &e)
		if err != nil || v != chain.Accept {
			return err
		}
		entries++
		at.OplogOffset = max(at.OplogOffset, rec.Offset)
		return feedEntry(feed, &e, window.At(e.StreamTime), oldest)
	})
	if err != nil && err != errEnough {
		return entries, err
	}
	if reader.Position() != at.Entry || reader.Chain() != at.Chain {
		return entries, &processor.ParkError{Partition: r.partition, Position: at.Entry,
			Reason: fmt.Sprintf("the oplog does not lead to the changelog's base: it gives position %d, chain %x; the base says %d, %x", reader.Position(), reader.Chain(), at.Entry, at.Chain),
			Remedy: "the oplog was truncated or altered: restore the topic"}
	}
	return entries, nil
}

func feedEntry(feed Feed, e *schemas.Entry, bucket, oldest int64) error {
	req := schemas.Request{InstanceID: e.InstanceID, BizType: e.BizType, LinkToken: strings.Clone(e.LinkToken), ThirdMsgID: e.ThirdMsgID, Scope: e.Scope}
	keys := oplog.KeysOf(nil, &req)
	if bucket >= oldest {
		if err := feed.Dedupe(state.DedupePut{Bucket: bucket, Key: keys.Dedupe, ID: e.OplogID}); err != nil {
			return err
		}
	}
	return feed.Counter(state.CounterPut{Hash: keys.Counter, Key: keys.CounterText, ID: e.OplogID, Position: e.RequestOffset})
}

var errEnough = fmt.Errorf("enough")

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
			if ctx.Err() == nil && poll.Err() != nil {
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
