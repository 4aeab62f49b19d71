// Package processor is the sync task: the deterministic core that turns a
// partition of requests into a partition of oplog, exactly once by position.
//
// # Contract
//
// A [Task] is a state machine without IO of its own, clock or goroutine. Its
// owner calls, from one goroutine:
//
//	Input     the next request record, in offset order
//	Tail      while following: the next record of the own oplog
//	Own       the log's end is reached: from here on the task appends
//	Appended  an append was acknowledged
//	Sent      a side output was acknowledged
//	Take      the outputs to perform, in order
//	Apply     write all that is complete to the store
//
// Package runtime is that owner in production; the simulator in cmd/sim and
// the tests drive the same Task.
//
// # Life of a position
//
//	decided → appended → logged → side outputs sent → complete → applied
//
// State up to the decided position is the store plus an overlay in memory.
// Nothing reaches the store before it is complete (design I5), so the store is
// never ahead of what readers can see, and dropping a Task loses nothing: a new
// one starts from the store, decides the same again, and recognises in the log
// what was appended already. That is the only way of recovery there is; a
// restart, a takeover and a standby differ only in when [Task.Own] is called.
//
// # Non-obvious
//
// A recovering task decides before it reads what it decided last time. Each
// decision is compared with the log, byte for byte by way of the chain: a
// release that decides differently, or a settings record that is gone, is
// found here and parks the task instead of writing a second truth.
package processor
