package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/connectors/console"
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state/view"
)

// Limits of one tail.
const (
	tailIdle       = 5 * time.Second // between signs of life
	tailFetchBytes = 1 << 20
	// tailSpare is how many records are read for one that is asked for:
	// markers and repeats are among them.
	tailSpare = 4
)

// tail follows the oplog for operators, with a consumer of its own.
type tail struct{ n *Node }

// Follow begins where the views of this node's edge stand, since the reader's
// rule needs an accepted entry to go on from. Every edge has a view of every
// partition, whoever decides it.
func (t tail) Follow(ctx context.Context, q console.TailQuery, emit func(*console.TailEntry) error) error {
	if !t.n.running.Load() {
		return errStarting
	}
	topic := t.n.topo.Oplog.Name
	if q.Partition >= t.n.topo.Partitions {
		return fmt.Errorf("follow oplog: there is no partition %d: they are 0 to %d", q.Partition, t.n.topo.Partitions-1)
	}
	readers, offsets := make(map[int32]*tailReader), make(map[int32]kgo.Offset)
	for p := range t.n.topo.Partitions {
		if q.Partition >= 0 && q.Partition != p {
			continue
		}
		at := t.n.edge.Position(p)
		readers[p] = newTailReader(at, q)
		offsets[p] = kgo.NewOffset().At(max(0, at.Oplog-int64(tailSpare*q.Last)))
	}
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ClientID("tidemark-tail"), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(tailFetchBytes), kgo.FetchMaxPartitionBytes(tailFetchBytes),
	}, t.n.as("console")...)...)
	if err != nil {
		return fmt.Errorf("follow oplog: %w", err)
	}
	defer cl.Close()
	for ctx.Err() == nil {
		if err := pollTail(ctx, cl, readers, emit); err != nil {
			return err
		}
	}
	return nil
}

// pollTail hands on what one poll brings, or a sign of life.
func pollTail(ctx context.Context, cl *kgo.Client, readers map[int32]*tailReader, emit func(*console.TailEntry) error) error {
	wait, cancel := context.WithTimeout(ctx, tailIdle)
	defer cancel()
	fetches := cl.PollFetches(wait)
	for _, f := range fetches.Errors() {
		if !errors.Is(f.Err, context.DeadlineExceeded) && !errors.Is(f.Err, context.Canceled) {
			return fmt.Errorf("follow oplog partition %d: %w", f.Partition, f.Err)
		}
	}
	var entries []*console.TailEntry
	for it := fetches.RecordIter(); !it.Done(); {
		rec := it.Next()
		found, err := readers[rec.Partition].read(rec)
		if err != nil {
			return err
		}
		entries = append(entries, found...)
	}
	if fetches.Empty() { // then there is nothing behind the history either
		for _, r := range readers {
			entries = append(entries, r.history()...)
		}
	}
	for _, e := range entries {
		if err := emit(e); err != nil {
			return err
		}
	}
	return emit(nil)
}

// tailReader reads one partition: first the records before a known position,
// for the newest few entries, and then on by the reader's rule.
type tailReader struct {
	q      console.TailQuery
	at     view.Position
	before []*kgo.Record // up to at, not looked at yet
	past   bool          // history has been given
	rule   *chain.Reader
}

func newTailReader(at view.Position, q console.TailQuery) *tailReader {
	if at.Trusting { // the log's beginning has expired, and nothing came since
		return &tailReader{q: q, at: at, rule: chain.Trust()}
	}
	return &tailReader{q: q, at: at, rule: chain.Resume(at.Entry, at.Chain, at.Covered)}
}

// read takes the next record and gives the entries that may be shown now.
func (t *tailReader) read(rec *kgo.Record) ([]*console.TailEntry, error) {
	if rec.Offset < t.at.Oplog {
		t.before = append(t.before, rec) // at most tailSpare * Last
		return nil, nil
	}
	entries := t.history()
	var e schemas.Entry
	if err := e.Decode(rec.Value); err != nil {
		return nil, fmt.Errorf("follow oplog: decode record %d of partition %d: %w", rec.Offset, rec.Partition, err)
	}
	verdict, err := t.rule.Accept(rec.Value, &e)
	if err != nil {
		return nil, fmt.Errorf("follow oplog: partition %d: %w", rec.Partition, err)
	}
	if verdict == chain.Accept && t.takes(&e) {
		entries = append(entries, tailEntry(rec, &e))
	}
	return entries, nil
}

// history walks back from the known position by prev_offset, which leads only
// through accepted entries. What was written twice was written alike.
func (t *tailReader) history() []*console.TailEntry {
	if t.past {
		return nil
	}
	t.past = true
	var entries []*console.TailEntry
	want := t.at.Entry
	for _, rec := range slices.Backward(t.before) {
		if len(entries) >= t.q.Last {
			break
		}
		var e schemas.Entry
		if e.Decode(rec.Value) != nil || e.Marker() || e.RequestOffset != want {
			continue
		}
		want = e.PrevOffset
		if t.takes(&e) {
			entries = append(entries, tailEntry(rec, &e))
		}
	}
	t.before = nil
	slices.Reverse(entries)
	return entries
}

func (t *tailReader) takes(e *schemas.Entry) bool {
	q := &t.q
	return (q.InstanceID == "" || q.InstanceID == e.InstanceID) && (q.BizType == "" || q.BizType == e.BizType) &&
		(q.LinkToken == "" || q.LinkToken == e.LinkToken)
}

func tailEntry(rec *kgo.Record, e *schemas.Entry) *console.TailEntry {
	scope := e.Scope
	if scope == "" {
		scope = schemas.ScopeSpecified
	}
	return &console.TailEntry{
		Partition: rec.Partition, Offset: rec.Offset, RequestOffset: e.RequestOffset, InstanceID: e.InstanceID, BizType: e.BizType,
		LinkToken: e.LinkToken, Scope: scope, OplogID: e.OplogID, ThirdMsgID: e.ThirdMsgID, Payload: e.Payload, Binary: e.Binary,
		OSType: e.OSType, AppMinVersion: e.AppMinVersion, AppMaxVersion: e.AppMaxVersion, ValidTimeEnd: e.ValidTimeEnd,
		Time: e.StreamTime, NonPersistent: e.NonPersistent,
	}
}
