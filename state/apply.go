package state

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// ErrPosition says that a batch would take a store back.
var ErrPosition = errors.New("the batch's position is before the store's")

// Apply writes a batch, with the position that it leads to, whole or not at
// all. It does not wait for the disk: a crash may lose it, together with every
// later one. After an error the store has stopped and must be reopened, except
// that a batch is refused without harm which is too large, goes back
// ([ErrPosition]), or comes during a restore ([ErrRestoring]).
//
// A counter that does not grow is a [CounterError], not a panic: what is wrong
// may be the log that the batch was read from, and the other tasks of the
// process have no part in it. The store stops all the same, because an
// invariant is broken.
func (t *Task) Apply(b *Batch) error {
	if err := t.ready(); err != nil {
		return err
	}
	if err := t.admit(b); err != nil {
		return fmt.Errorf("store %s: apply batch up to request %d: %w", t.db.dir, b.Position.Request, err)
	}
	pb := t.db.db.NewBatch()
	if err := t.stage(pb, b); err != nil {
		t.db.Fail(fmt.Errorf("apply batch up to request %d: %w", b.Position.Request, errors.Join(err, pb.Close())))
		return t.db.Failed()
	}
	if err := t.db.Commit(pb, false); err != nil {
		return err
	}
	t.at.Position = b.Position
	if len(b.Changes) == 0 {
		return nil
	}
	var err error
	if t.settings, err = readSettings(t.db); err != nil {
		t.db.Fail(err)
	}
	return t.db.Failed()
}

// admit refuses a batch that cannot be right, before anything has changed.
func (t *Task) admit(b *Batch) error {
	if b.Position.Request < t.at.Request || b.Position.OplogOffset < t.at.OplogOffset || b.Position.Entry < t.at.Entry {
		return fmt.Errorf("%w: request %d, oplog offset %d, entry %d; the store's are %d, %d, %d", ErrPosition,
			b.Position.Request, b.Position.OplogOffset, b.Position.Entry, t.at.Request, t.at.OplogOffset, t.at.Entry)
	}
	return admitPuts(b.Dedupe, b.Counters)
}

func admitPuts(keys []DedupePut, counters []CounterPut) error {
	bytes := len(keys) * 32
	for i := range keys {
		if p := &keys[i]; p.Bucket < 0 || p.Bucket > math.MaxUint32 || p.ID < 1 {
			return fmt.Errorf("dedupe key %x: bucket %d (0 to %d), oplog id %d (from 1)", p.Key, p.Bucket, uint32(math.MaxUint32), p.ID)
		}
	}
	for i := range counters {
		p := &counters[i]
		if p.Position < -1 || p.ID < 1 {
			return fmt.Errorf("counter %s: oplog id %d (from 1), position %d (from -1)", counterText(p.Key), p.ID, p.Position)
		}
		bytes += len(p.Key) + 32
	}
	if bytes > MaxBatchBytes {
		return fmt.Errorf("batch of some %d bytes: at most %d", bytes, MaxBatchBytes)
	}
	return nil
}

// stage puts all of a batch into Pebble's.
func (t *Task) stage(pb *pebble.Batch, b *Batch) error {
	if err := t.counters.advance(pb, b.Counters); err != nil {
		return err
	}
	t.counters.stage(pb, b.Counters, false)
	if b.ExpireBefore > 0 {
		t.dedupe.expire(pb, b.ExpireBefore)
	}
	if err := t.dedupe.work(pb, len(b.Dedupe)); err != nil {
		return err
	}
	t.dedupe.put(pb, alive(b.Dedupe, b.ExpireBefore))
	if err := stageSettings(pb, t.hasInstance, b.Changes); err != nil {
		return err
	}
	return t.stagePosition(pb, b.Position)
}

func (t *Task) stagePosition(pb *pebble.Batch, at Position) error {
	next := stand{Position: at, counters: t.counters.count.Load()}
	op := pb.SetDeferred(len(keyPosition), positionLen)
	copy(op.Key, keyPosition)
	next.append(op.Value[:0])
	return op.Finish()
}

// alive leaves out keys that expire in the batch that brings them.
func alive(puts []DedupePut, before int64) []DedupePut {
	for i := range puts {
		if puts[i].Bucket < before {
			return slices.DeleteFunc(slices.Clone(puts), func(p DedupePut) bool { return p.Bucket < before })
		}
	}
	return puts
}
