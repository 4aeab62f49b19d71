// Package state keeps what a task and an edge must remember, in Pebble. It
// knows no Kafka: a restore takes a sequence of records, whoever reads them.
//
// # Contract
//
// A store is the shadow of a log (design I5). A batch reaches it only after
// the log has acknowledged what the batch says, with the log's position inside
// the batch; a crash may lose the newest batches, never half of one. A store
// is never wiped because a process died.
//
// [Shared] is what the stores of a process have in common, and its [Ledger]
// the sum of what they may use. [Task] is a sync task's store: position,
// settings, dedupe keys, counters. Package state/view has an edge's. Both stand
// on [DB], one Pebble store that says whose it is and fails only once. README.md
// draws every key, and [Inspect] prints a store.
//
// # Goroutines
//
// None of its own. A Task is called by one goroutine at a time, but for its
// figures. Pebble runs flushes and compactions, as many of these at once as
// Shared allows.
//
// # Non-obvious
//
// Nobody waits for the disk: the write-ahead log is written without sync, and
// Pebble keeps its last 32 KiB in memory, so even SIGKILL loses the newest
// batches. They are decided again from the log.
//
// Pebble ends the process when a write fails, or blocks for ever. A store of
// ours stands on a file system that keeps the first failure for itself and
// pretends from then on; see failstop.go. Whoever meets an error closes the
// store and opens it again.
//
// Dedupe keys are not keys of Pebble: it would move each of them several times
// while levels merge. They go to disk by the page; see dedupe.go, and
// bench/dedupe for what the other ways cost.
package state
