// Package processor is the sync task: the deterministic core that turns a
// partition of requests into a partition of oplog, exactly once by position.
//
// # Contract
//
// A [Task] is a state machine without IO of its own, clock or goroutine. Its
// owner calls, from one goroutine:
//
//	Input     the next request record, in offset order
//	Tail      while following: the next record of the own oplog, from ReadFrom on
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
// # When the log loses what it acknowledged
//
// A task that knows of entries which the log no longer has must not go on: its
// next entry would follow one that no reader can find. It parks when the
// record on which its store stands is another one, when the log does not lead
// from there to the store's last entry, and when an append is acknowledged at
// an offset that was taken. One case shows only to the task's owner: records
// that the task has read and not written itself, lost while it runs. So a
// change of the oplog partition's leader epoch must end the incarnation like a
// failed append; the next one reads the log again.
//
// # Non-obvious
//
// Two owners write the same entries, so an acknowledged append may be a repeat
// of what another owner wrote long before, with later entries in between. Its
// offset is no place from which to read on. That is why the store's oplog
// offset stands still from the first foreign record on ([Task.Alone]).
//
// A recovering task decides before it reads what it decided last time. Each
// decision is compared with the log, byte for byte by way of the chain: a
// release that decides differently, or a settings record that is gone, is
// found here and parks the task instead of writing a second truth.
package processor
