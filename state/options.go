package state

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable/block"
)

const (
	// DefaultMemTableBytes is small on purpose: a process has many stores, and
	// what a task writes is small and mostly in order.
	DefaultMemTableBytes = 4 << 20
	// memTables is how many of a store may be full at once before writes wait
	// for a flush: one that fills and one that is written out.
	memTables = 2
	// stopLevel0 is never reached: see [DB.waitForCompaction].
	stopLevel0 = 1 << 20
)

// memtablesOf is what a store's memtables take at most: those of memTables,
// and one that is kept for reuse.
func memtablesOf(memTableBytes int64) int64 { return (memTables + 1) * memTableBytes }

// options are Pebble's, all of them on purpose.
func (db *DB) options(s *Shared, cfg *DBConfig) *pebble.Options {
	o := &pebble.Options{
		FS:        db.fs,
		Cache:     s.cache,
		FileCache: s.files,
		Logger:    quietLogger{db},
		Merger:    cfg.Merger,
		ReadOnly:  cfg.ReadOnly,

		// Columnar blocks, log chunks that tell a torn tail from damage, and
		// footers with a checksum. Nothing newer: value separation is the next
		// version's only gain, and it is experimental.
		FormatMajorVersion: pebble.FormatTableFormatV6,

		MemTableSize:                uint64(cfg.MemTableBytes),
		MemTableStopWritesThreshold: memTables,

		// A compaction as soon as a look-up would have to search two runs of
		// level 0: look-ups are what the hot path does most.
		L0CompactionThreshold: 4,
		// Pebble would make writers wait inside its lock, where no failure can
		// reach them. Ours wait outside.
		L0StopWritesThreshold:      stopLevel0,
		CompactionConcurrencyRange: func() (int, int) { return 1, s.cfg.Compactions },

		// An expired bucket gives its space back even if the store is quiet.
		FlushDelayDeleteRange: 10 * time.Second,

		EventListener: db.events(),
	}
	// Reads must not start compactions: most look for what is not there.
	o.Experimental.ReadSamplingMultiplier = -1
	o.Experimental.CompactionScheduler = s.compactions.compactor(db.fs.stopped)
	o.Experimental.EnableColumnarBlocks = func() bool { return true }
	o.Experimental.SpanPolicyFunc = cfg.Spans
	for i := range o.Levels {
		l := &o.Levels[i]
		l.BlockSize = 4 << 10 // one look-up reads one block; keys are spread by a hash
		l.IndexBlockSize = 32 << 10
		// Hashes do not compress; see bench/dedupe for what Snappy would save.
		l.Compression = func() *block.CompressionProfile { return block.NoCompression }
		l.FilterPolicy = bloom.FilterPolicy(10)
	}
	// Get never reads a filter of the last level, so none is written there.
	if !cfg.LastLevelFilters {
		o.Levels[len(o.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	}
	return o
}

// events hears of what Pebble does in the background.
func (db *DB) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) { db.fs.fail(err) },
		DataCorruption:  func(info pebble.DataCorruptionInfo) { db.fs.fail(info.Details) },
		FlushEnd: func(info pebble.FlushInfo) {
			if info.Err == nil {
				db.flushes.Add(1)
				db.level0Changed()
			}
		},
		CompactionEnd: func(pebble.CompactionInfo) { db.level0Changed() },
	}
}
