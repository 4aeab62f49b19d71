package main

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// store is one layout, open.
type store interface {
	// put adds keys to a bucket, as one batch.
	put(bucket int64, keys []state.Hash, firstID int64) error
	// find looks a key up in the buckets from oldest to newest.
	find(key state.Hash, oldest, newest int64) (int64, error)
	expire(before int64) error
	flush() error
	pebble() *pebble.Metrics
	memory() int64 // own memory, beside Pebble's
	close() error
}

// layouts by name, in the order of the report.
var layouts = []struct {
	name, what string
	open       func(shared *state.Shared, dir string) (store, error)
}{
	{"get", "flat keys `bucket, hash`; one `Get` a bucket", func(s *state.Shared, dir string) (store, error) {
		return openFlat(s, dir, false, false)
	}},
	{"seek", "the same, with filters on the last level too; `SeekPrefixGE` on a new iterator", func(s *state.Shared, dir string) (store, error) {
		return openFlat(s, dir, true, false)
	}},
	{"seek, kept", "the same, with one iterator until the next batch", func(s *state.Shared, dir string) (store, error) {
		return openFlat(s, dir, true, true)
	}},
	{"filter", "flat keys, with an own filter per bucket in memory, made anew from the keys at open", openFiltered},
	{"runs", "pages of keys by hash, merged by ourselves, with an own filter per run in memory (package state)", func(s *state.Shared, dir string) (store, error) {
		return openRuns(s, dir, 1<<30)
	}},
	{"runs, half", "the same with memory for half of the filters: the largest runs have none", func(s *state.Shared, dir string) (store, error) {
		return openRuns(s, dir, max(512<<10, filterKeys*2*12/8/2))
	}},
}

// chosen is the layout that package state has.
const chosen = "runs"

var bench = must(topology.New(topology.Config{Window: time.Hour}))

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constants of ours
	}
	return v
}

// flat is a plain Pebble store, opened with the same options as package
// state's.
type flat struct {
	db     *state.DB
	seek   bool
	kept   bool
	it     *pebble.Iterator
	key    [1 + 8 + 16]byte
	oldest int64
}

func openFlat(s *state.Shared, dir string, seek, kept bool) (store, error) {
	db, err := s.OpenDB(state.DBConfig{
		Dir: dir, LastLevelFilters: seek, Identity: state.Identity{Kind: "flat", Topology: bench},
	})
	return &flat{db: db, seek: seek, kept: kept}, err
}

func (f *flat) fill(bucket int64, h *state.Hash) []byte {
	f.key[0] = 'd'
	binary.BigEndian.PutUint64(f.key[1:], uint64(bucket))
	copy(f.key[9:], h[:])
	return f.key[:]
}

func (f *flat) put(bucket int64, keys []state.Hash, firstID int64) error {
	if err := f.drop(); err != nil {
		return err
	}
	if f.oldest == 0 {
		f.oldest = bucket
	}
	b := f.db.Pebble().NewBatch()
	for i := range keys {
		var id [binary.MaxVarintLen64]byte
		n := binary.PutUvarint(id[:], uint64(firstID+int64(i)))
		if err := b.Set(f.fill(bucket, &keys[i]), id[:n], nil); err != nil {
			return err
		}
	}
	return f.db.Commit(b, false)
}

func (f *flat) find(key state.Hash, oldest, newest int64) (int64, error) {
	for b := newest; b >= oldest; b-- {
		id, err := f.one(f.fill(b, &key))
		if id != 0 || err != nil {
			return id, err
		}
	}
	return 0, nil
}

func (f *flat) one(key []byte) (int64, error) {
	if f.seek {
		return f.seekOne(key)
	}
	v, closer, err := f.db.Pebble().Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	id, _ := binary.Uvarint(v)
	return int64(id), closer.Close()
}

func (f *flat) seekOne(key []byte) (id int64, err error) {
	if f.it == nil {
		if f.it, err = f.db.Pebble().NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
			return 0, err
		}
	}
	if f.it.SeekPrefixGE(key) {
		v, _ := binary.Uvarint(f.it.Value())
		id = int64(v)
	}
	err = f.it.Error()
	if !f.kept {
		err = errors.Join(err, f.drop())
	}
	return id, err
}

func (f *flat) drop() error {
	if f.it == nil {
		return nil
	}
	err := f.it.Close()
	f.it = nil
	return err
}

func (f *flat) expire(before int64) error {
	b := f.db.Pebble().NewBatch()
	var zero state.Hash
	from := append([]byte(nil), f.fill(f.oldest, &zero)...)
	f.oldest = before
	if err := b.DeleteRange(from, f.fill(before, &zero), nil); err != nil {
		return err
	}
	return errors.Join(f.drop(), f.db.Commit(b, false))
}

func (f *flat) flush() error            { return f.db.Flush() }
func (f *flat) pebble() *pebble.Metrics { return f.db.Pebble().Metrics() }
func (f *flat) memory() int64           { return 0 }
func (f *flat) close() error            { return errors.Join(f.drop(), f.db.Close()) }

// runs is package state's store, with no counters.
type runs struct {
	task  *state.Task
	batch state.Batch
}

func openRuns(s *state.Shared, dir string, filterBytes int64) (store, error) {
	task, err := s.OpenTask(state.TaskConfig{Dir: dir, Topology: bench, FilterBytes: filterBytes})
	if err != nil {
		return nil, err
	}
	return &runs{task: task, batch: state.Batch{Position: task.Position()}}, nil
}

func (s *runs) put(bucket int64, keys []state.Hash, firstID int64) error {
	at := s.batch.Position
	s.batch.Reset()
	for i := range keys {
		s.batch.Dedupe = append(s.batch.Dedupe, state.DedupePut{Bucket: bucket, Key: keys[i], ID: firstID + int64(i)})
	}
	at.Request += int64(len(keys))
	s.batch.Position = at
	return s.task.Apply(&s.batch)
}

func (s *runs) find(key state.Hash, oldest, newest int64) (int64, error) {
	return s.task.Original(key, oldest, newest)
}

func (s *runs) expire(before int64) error {
	at := s.batch.Position
	s.batch.Reset()
	s.batch.Position, s.batch.ExpireBefore = at, before
	return s.task.Apply(&s.batch)
}

func (s *runs) flush() error            { return s.task.Flush() }
func (s *runs) pebble() *pebble.Metrics { return s.task.Pebble().Metrics() }
func (s *runs) memory() int64           { return s.task.Stats().FilterBytes }
func (s *runs) close() error            { return s.task.Close() }
