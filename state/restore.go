package state

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
)

// Feed is a piece of what a store is rebuilt from. Pieces may come in any
// order and more than once.
type Feed struct {
	Dedupe   []DedupePut
	Counters []CounterPut // of several values of a counter the largest stays
	// Progress is where to go on after this piece, in the words of who feeds.
	// Nil leaves it as it was.
	Progress []byte
}

// Reset empties the feed for the next use and keeps its memory.
func (f *Feed) Reset() { *f = Feed{Dedupe: f.Dedupe[:0], Counters: f.Counters[:0]} }

// AheadError says that a rebuilt store has a counter that is newer than the
// position it was to get: some later record was fed, and deciding again from
// that position would give ids twice or leave a gap.
type AheadError struct {
	Key      []byte // schemas.CounterKey
	ID       int64
	Position int64 // request offset that gave the id
	At       int64 // request offset of the position
	Counters int64 // how many are ahead
}

// Error implements error.
func (e *AheadError) Error() string {
	return fmt.Sprintf("%d counters are ahead of request %d, such as %s: id %d by request %d; restore up to a later position",
		e.Counters, e.At, counterText(e.Key), e.ID, e.Position)
}

// Restoring reports that the store is being rebuilt, and how far that has come.
func (t *Task) Restoring() (progress []byte, ok bool) { return t.progress, t.restoring }

// BeginRestore starts to rebuild a store that has no position, or goes on with
// it. Until [Task.FinishRestore] the store answers nothing, whatever crashes.
func (t *Task) BeginRestore() error {
	if err := t.db.Failed(); err != nil {
		return err
	}
	if t.restoring {
		return nil
	}
	if t.at.Position != Start() {
		return fmt.Errorf("store %s stands at request %d: only an empty store is rebuilt; use another directory", t.db.dir, t.at.Request)
	}
	b := t.db.db.NewBatch()
	_ = b.Set(keyRestore, []byte{}, nil)
	if err := t.db.Commit(b, true); err != nil {
		return err
	}
	t.restoring, t.progress = true, []byte{}
	return nil
}

// Feed writes a piece. Some thousand puts at a time are fast.
func (t *Task) Feed(f *Feed) error {
	if err := t.feeding(); err != nil {
		return err
	}
	if err := admitPuts(f.Dedupe, f.Counters); err != nil {
		return fmt.Errorf("store %s: feed: %w", t.db.dir, err)
	}
	b := t.db.db.NewBatch()
	if err := t.stageFeed(b, f); err != nil {
		t.db.Fail(fmt.Errorf("feed: %w", errors.Join(err, b.Close())))
		return t.db.Failed()
	}
	if err := t.db.Commit(b, false); err != nil {
		return err
	}
	if f.Progress != nil {
		t.progress = append(t.progress[:0], f.Progress...)
	}
	return nil
}

func (t *Task) feeding() error {
	if !t.restoring {
		return fmt.Errorf("store %s is not being rebuilt: begin a restore first", t.db.dir)
	}
	return t.db.Failed()
}

func (t *Task) stageFeed(b *pebble.Batch, f *Feed) error {
	for i := range f.Counters {
		// The cache is of no other use now: it spares names that were written.
		if p := &f.Counters[i]; !t.counters.cache.has(&p.Hash) {
			stageName(b, p)
			t.counters.cache.put(&p.Hash, p.ID)
		}
	}
	t.counters.stage(b, f.Counters, true)
	if err := t.dedupe.work(b, len(f.Dedupe)); err != nil {
		return err
	}
	t.dedupe.put(b, f.Dedupe)
	if f.Progress != nil {
		_ = b.Set(keyRestore, f.Progress, nil)
	}
	return nil
}

// FinishRestore makes the store complete: it stands at the position, with
// these settings, and answers from now on. It is on disk when this returns. A
// counter that is ahead of the position is an [AheadError], and the store is
// still being rebuilt.
func (t *Task) FinishRestore(at Position, settings []schemas.Change) error {
	if err := t.feeding(); err != nil {
		return err
	}
	count, err := t.countCounters(at.Request)
	if err != nil {
		return fmt.Errorf("store %s: finish restore: %w", t.db.dir, err)
	}
	b := t.db.db.NewBatch()
	_ = b.DeleteRange([]byte{kindSetting}, []byte{kindSetting + 1}, nil)
	nothing := func(string) (bool, error) { return false, nil }
	if err := stageSettings(b, nothing, settings); err != nil {
		return errors.Join(err, b.Close())
	}
	t.counters.count.Store(count)
	_ = t.stagePosition(b, at)
	_ = b.Delete(keyRestore, nil)
	if err := t.db.Commit(b, true); err != nil {
		return err
	}
	t.counters.cache.reset()
	t.at.Position, t.restoring, t.progress = at, false, nil
	if t.settings, err = readSettings(t.db); err != nil {
		return err
	}
	return t.counters.load()
}

// countCounters counts, and checks that none is ahead of the position.
func (t *Task) countCounters(at int64) (count int64, err error) {
	var ahead *AheadError
	w := walker{db: t.db}
	err = t.db.scan([]byte{kindCounter}, []byte{kindCounter + 1}, func(it *pebble.Iterator) error {
		count++
		return w.visit(it, at, func(p CounterPut) error {
			if ahead == nil {
				ahead = &AheadError{Key: append([]byte(nil), p.Key...), ID: p.ID, Position: p.Position, At: at}
			}
			ahead.Counters++
			return nil
		})
	})
	if err = errors.Join(err, w.close()); err == nil && ahead != nil {
		err = ahead
	}
	return count, err
}

// HashKey is the hash of a counter's key, for what feeds a store from records
// that do not have it.
func HashKey(key []byte) Hash { return xxh3.Hash128(key).Bytes() }

func counterText(key []byte) string {
	instanceID, bizType, linkToken, err := schemas.ParseCounterKey(key)
	if err != nil {
		return fmt.Sprintf("%x", key)
	}
	return fmt.Sprintf("%q/%q/%q", instanceID, bizType, linkToken)
}
