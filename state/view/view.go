package view

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
	"github.com/tidemarkio/tidemark/topology"
)

// Config says how to open a view.
type Config struct {
	// Shared is what all stores of the process have in common. Required.
	Shared *state.Shared
	// Topology that the partitions belong to. Required.
	Topology *topology.Topology
	// Dir is where the store lives. It is made if missing.
	Dir string
	// FS is the file system; default the operating system's.
	FS vfs.FS
	// MemTableBytes is the size of a memtable; default 4 MiB. Larger makes for
	// fewer flushes and costs three times that memory per view.
	MemTableBytes int64
	// Newest is how many entries of a log a business keeps: its threshold, or
	// 0 for all. It may change at any time. Nil: all are kept.
	Newest func(instanceID, bizType string) int64
	// Log gets what the store has to say; default [slog.Default].
	Log *slog.Logger
	// ReadOnly opens a view that no process runs, to look at it.
	ReadOnly bool
}

// Validate names the field that cannot be.
func (c *Config) Validate() error {
	switch {
	case c.Shared == nil:
		return errors.New("view: Config.Shared is missing: make one with state.NewShared")
	case c.Topology == nil && !c.ReadOnly:
		return errors.New("view: Config.Topology is missing")
	case c.Dir == "":
		return errors.New("view: Config.Dir is missing: a view needs a directory")
	}
	return nil
}

func (c *Config) open(kind string, partition int32) (logs, error) {
	if err := c.Validate(); err != nil {
		return logs{}, err
	}
	db, err := c.Shared.OpenDB(state.DBConfig{
		Dir: c.Dir, FS: c.FS, MemTableBytes: c.MemTableBytes, Log: c.Log, Merger: countsMerger, ReadOnly: c.ReadOnly,
		Identity: state.Identity{Kind: kind, Partition: partition, Topology: c.Topology},
	})
	if err != nil {
		return logs{}, err
	}
	newest := c.Newest
	if newest == nil {
		newest = func(string, string) int64 { return 0 }
	}
	return logs{db: db, newest: newest}, nil
}

// Record is a record of a topic.
type Record struct {
	Offset int64
	Time   int64 // epoch ms, as the topic has it
	Value  []byte
}

// Position is where a view stands.
type Position struct {
	Oplog   int64       // next offset to read of the oplog partition
	Acks    int64       // next offset to read of the acks partition
	Entry   int64       // request offset of the last accepted entry; chain.None: none
	Chain   chain.Value // after it
	Covered int64       // requests up to here are covered
	// Trusting says that the log's beginning had expired when the view was
	// made, and that no entry was accepted since: the next one is taken as it
	// stands.
	Trusting bool
}

// View is the copy of one oplog partition.
type View struct {
	logs
	mu       sync.Mutex // the writer's; guards what follows
	position Position
	begun    bool // the view has a position
	reader   *chain.Reader
	scratch  []byte
	accepted []Accepted
	acks     ackBatch
	grown    map[Log]struct{} // logs to be trimmed after the batch
}

// Open opens the view of a partition, or makes it.
func Open(partition int32, cfg Config) (*View, error) {
	l, err := cfg.open("view", partition)
	if err != nil {
		return nil, err
	}
	v := &View{logs: l, grown: make(map[Log]struct{})}
	if err := v.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open view %s: %w", cfg.Dir, err), l.db.Close())
	}
	return v, nil
}

func (v *View) load() error {
	value, err := v.get(keyPosition)
	if err != nil || value == nil {
		return err
	}
	if err := v.position.decode(value); err != nil {
		return err
	}
	v.begin()
	return nil
}

func (v *View) begin() {
	v.begun = true
	if p := &v.position; p.Trusting {
		v.reader = chain.Trust()
	} else {
		v.reader = chain.Resume(p.Entry, p.Chain, p.Covered)
	}
}

// Begun reports whether the view has a position. One that was just made has
// none: give it one with [View.Begin].
func (v *View) Begun() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.begun
}

// Begin gives a new view its first position: the offsets at which the topics
// begin. An oplog that does not begin at 0 has lost its beginning to retention,
// so its first entry is taken on trust.
func (v *View) Begin(oplog, acks int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.begun {
		return fmt.Errorf("view has a position already: %+v", v.position)
	}
	v.position = Position{Oplog: oplog, Acks: acks, Entry: chain.None, Covered: chain.None, Trusting: oplog > 0}
	v.begin()
	b := v.db.Pebble().NewBatch()
	v.stagePosition(b)
	return v.db.Commit(b, true)
}

// Position is where the view stands.
func (v *View) Position() Position {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.position
}

// Flush writes out what is in memory only, so that a power cut loses nothing.
func (v *View) Flush() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.db.Flush()
}

// FlushQuiet flushes a view that is written to too little to flush itself; see
// [state.DB.FlushQuiet].
func (v *View) FlushQuiet() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, err := v.db.FlushQuiet()
	return err
}

// Close flushes and closes. No read may be under way.
func (v *View) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.db.Close()
}

var keyPosition = []byte("mview")

// stagePosition puts the position into a batch.
func (v *View) stagePosition(b *pebble.Batch) {
	v.scratch = v.position.append(v.scratch[:0])
	_ = b.Set(keyPosition, v.scratch, nil)
}
