package state

import "github.com/cockroachdb/pebble/v2"

// Stats are the figures of one task's store. Counts since it was opened, but
// for those of what it holds.
type Stats struct {
	DiskBytes   int64 // tables, log and what is about to be deleted
	DedupeKeys  int64
	Counters    int64
	FilterBytes int64 // of memory
	CacheBytes  int64 // counters' cache, of memory
	MemTables   int64 // bytes, of the shared cache

	CounterHits, CounterMisses int64 // of the counters' cache
	FilterFalsePositives       int64 // look-ups that a filter should have spared
	DedupeRuns                 int64 // that a look-up asks, in memory
	UnfilteredReads            int64 // pages read because a run's filter did not fit into memory
	Commits, Flushes           int64
	CompactionWaits            int64 // commits that waited for compactions
	CompactedBytes             int64 // written by compactions
	FlushedBytes               int64
	LogBytes                   int64 // written to the write-ahead log
	Level0Runs                 int64 // runs that a look-up may have to search, beside a table per level
	Tables                     int64
}

// Stats gives the store's figures. Any goroutine may ask.
func (t *Task) Stats() Stats {
	m := t.db.db.Metrics()
	all := m.Total()
	return Stats{
		DiskBytes:   int64(m.DiskSpaceUsage()),
		DedupeKeys:  t.dedupe.total.Load(),
		Counters:    t.counters.count.Load(),
		FilterBytes: t.dedupe.memory.Load(),
		CacheBytes:  t.counters.cache.bytes(),
		MemTables:   int64(m.MemTable.Size),

		CounterHits:          t.counters.hits.Load(),
		CounterMisses:        t.counters.misses.Load(),
		FilterFalsePositives: t.dedupe.falsePositives.Load(),
		DedupeRuns:           t.dedupe.runs.Load(),
		UnfilteredReads:      t.dedupe.unfiltered.Load(),
		Commits:              t.db.commits.Load(),
		Flushes:              t.db.flushes.Load(),
		CompactionWaits:      t.db.waits.Load(),
		CompactedBytes:       int64(all.TableBytesCompacted),
		FlushedBytes:         int64(all.TableBytesFlushed),
		LogBytes:             int64(m.WAL.BytesWritten),
		Level0Runs:           int64(m.Levels[0].Sublevels),
		Tables:               tables(m),
	}
}

func tables(m *pebble.Metrics) int64 {
	var n int64
	for i := range m.Levels {
		n += m.Levels[i].TablesCount
	}
	return n
}
