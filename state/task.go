package state

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/topology"
)

// Defaults and limits of a [TaskConfig].
const (
	DefaultFilterBytes  = 16 << 20
	DefaultCounterBytes = 4 << 20
	minFilterBytes      = 512 << 10

	// MaxBatchBytes bounds what one batch may write. Half a memtable and more
	// is a detour for Pebble, so a tenth of this is a good size.
	MaxBatchBytes = 32 << 20
)

// KindTask is the [Identity.Kind] of a sync task's store.
const KindTask = "task"

// ErrRestoring says that a store is being rebuilt and has no position yet.
var ErrRestoring = errors.New("the store is being rebuilt: finish the restore first")

// TaskConfig says how to open a task's store.
type TaskConfig struct {
	// Dir is where it lives; FS the file system, default the system's.
	Dir string
	FS  vfs.FS
	// Topology and Partition say whose store it is.
	Topology  *topology.Topology
	Partition int32

	// FilterBytes bounds the filters of dedupe keys in memory, at 12 bits a
	// key; default 16 MiB, some 11 million keys. Past it the largest runs have
	// none, and each costs every look-up a page: slower, and bounded by the
	// cache.
	FilterBytes int64
	// CounterBytes bounds the cache of counters, at 25 to 50 bytes each;
	// default 4 MiB. A counter that is not in it costs a look-up in Pebble.
	CounterBytes int64
	// MemTableBytes: see [DBConfig].
	MemTableBytes int64
	// Log gets what Pebble has to say; default [slog.Default].
	Log *slog.Logger
}

func (c TaskConfig) withDefaults() TaskConfig {
	if c.FilterBytes == 0 {
		c.FilterBytes = DefaultFilterBytes
	}
	if c.CounterBytes == 0 {
		c.CounterBytes = DefaultCounterBytes
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = DefaultMemTableBytes
	}
	return c
}

// Validate names the field that cannot be.
func (c TaskConfig) Validate() error {
	c = c.withDefaults()
	switch {
	case c.Topology == nil:
		return errors.New("state: a task's store needs a topology")
	case c.Partition < 0 || c.Partition >= c.Topology.Partitions:
		return fmt.Errorf("state: partition %d: the topology has 0 to %d", c.Partition, c.Topology.Partitions-1)
	case c.FilterBytes < minFilterBytes:
		return fmt.Errorf("state: %d bytes for filters: at least %d", c.FilterBytes, minFilterBytes)
	case c.CounterBytes < counterSetBytes:
		return fmt.Errorf("state: %d bytes for counters: at least %d", c.CounterBytes, counterSetBytes)
	}
	return nil
}

// Account adds what n such stores use at most to the sum.
func (c TaskConfig) Account(l *Ledger, n int) {
	c = c.withDefaults()
	l.Add("task: filters of dedupe keys", n, c.FilterBytes)
	l.Add("task: newest dedupe keys", n, tableBytes)
	l.Add("task: cache of counters", n, c.CounterBytes)
	l.AddMemtables(n, c.MemTableBytes)
}

// Task is the store of a sync task. Its methods are for one goroutine at a
// time, but for [Task.Stats], [Task.Failed] and [Task.Dir].
type Task struct {
	db        *DB
	at        stand
	restoring bool
	progress  []byte
	settings  []schemas.Change
	dedupe    dedupe
	counters  counters
	shared    *Shared
}

// OpenTask opens a task's store, or makes it. What a store says about itself
// and this release does not know, or what belongs to another partition or
// topology, is refused: [ErrFormat], [ErrForeign].
func (s *Shared) OpenTask(cfg TaskConfig) (*Task, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	db, err := s.OpenDB(DBConfig{
		Dir: cfg.Dir, FS: cfg.FS, MemTableBytes: cfg.MemTableBytes, Log: cfg.Log,
		Identity: Identity{Kind: KindTask, Partition: cfg.Partition, Topology: cfg.Topology},
		Merger:   maxMerger, Spans: taskSpans,
	})
	if err != nil {
		return nil, err
	}
	t := &Task{db: db, shared: s}
	t.dedupe.db, t.dedupe.limit, t.dedupe.tableKeys = db, cfg.FilterBytes, tableKeys
	t.counters.db, t.counters.cache = db, newCounterCache(cfg.CounterBytes)
	if err := t.load(); err != nil {
		// Nothing was written: close without the flush.
		return nil, errors.Join(fmt.Errorf("open store %s: %w", cfg.Dir, err), db.db.Close())
	}
	return t, nil
}

func taskSpans(start []byte) (policy pebble.SpanPolicy, end []byte, err error) {
	return pebble.SpanPolicy{}, spanEnd(start), nil
}

// load reads what is kept in memory.
func (t *Task) load() (err error) {
	if t.at, err = readStand(t.db); err != nil {
		return err
	}
	t.counters.count.Store(t.at.counters)
	if t.progress, err = t.db.getCopy(keyRestore); err != nil {
		return err
	}
	t.restoring = t.progress != nil
	if t.settings, err = readSettings(t.db); err != nil {
		return err
	}
	if !t.restoring {
		if err := t.counters.load(); err != nil {
			return err
		}
	}
	return t.dedupe.load()
}

func readStand(db *DB) (stand, error) {
	at := stand{Position: Start()}
	v, err := db.getCopy(keyPosition)
	if err != nil || v == nil {
		return at, err
	}
	return at, at.parse(v)
}

// Position is where the state stands: [Start] in a store that is new or being
// rebuilt.
func (t *Task) Position() Position { return t.at.Position }

// Settings gives the settings whole, as changes that make them from nothing:
// each instance, and then its businesses, by name. It must not be changed.
func (t *Task) Settings() []schemas.Change { return t.settings }

// Original finds the oplog id that a dedupe key got, in the buckets from oldest
// to newest; 0: none. A key that is not there costs no look-up in Pebble, but
// for about one in 200 per segment.
func (t *Task) Original(key Hash, oldest, newest int64) (int64, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	return t.dedupe.find(&key, oldest, newest)
}

// Last is a counter's last oplog id; 0: none. h is the hash of its key, and the
// only name that is asked for.
func (t *Task) Last(h Hash, _ []byte) (int64, error) {
	if err := t.ready(); err != nil {
		return 0, err
	}
	return t.counters.last(&h)
}

func (t *Task) ready() error {
	if t.restoring {
		return fmt.Errorf("store %s: %w", t.db.dir, ErrRestoring)
	}
	return t.db.Failed()
}

// Dir is where the store lives.
func (t *Task) Dir() string { return t.db.dir }

// Failed is why the store has stopped, or nil: see [DB].
func (t *Task) Failed() error { return t.db.Failed() }

// Note reads what [Task.PutNote] kept; nil if nothing.
func (t *Task) Note(name string) ([]byte, error) { return t.db.Note(name) }

// PutNote keeps a small value beside the state: see [DB.PutNote].
func (t *Task) PutNote(name string, value []byte) error { return t.db.PutNote(name, value) }

// Flush writes the memtables out and waits for it.
func (t *Task) Flush() error { return t.db.Flush() }

// FlushQuiet flushes a store that is written to too little to flush itself:
// see [DB.FlushQuiet].
func (t *Task) FlushQuiet() (bool, error) { return t.db.FlushQuiet() }

// Close flushes, so that the next start has nothing to repeat, and closes. For
// a store that has failed it gives that error.
func (t *Task) Close() error { return t.db.Close() }

// Pebble gives the store itself, for reading and figures.
func (t *Task) Pebble() *pebble.DB { return t.db.Pebble() }
