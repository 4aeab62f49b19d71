// Package sim plays the sync protocol (design section 4) in one goroutine:
// real tasks ([processor.Task]) over stores in memory, and a log, a network
// and nodes that go wrong in every way that a seed can think of.
//
// # Contract
//
// A schedule is a function of its seed: the same seed plays the same schedule,
// byte for byte. Nothing here reads a clock or starts a goroutine. [Run] stops
// at the first schedule that breaks an invariant, cuts it down, and hands back
// a [*Violation] with a transcript for people.
//
// # What happens in a schedule
//
// Up to three replicas of each partition follow, own, stand still for a long
// time and go on, fail and restart, all independently: nothing keeps two or
// three of them from being owners at once. Stores survive, fall back to an
// older state, or are lost. Appends are lost, arrive twice, arrive long after
// their task has died; answers to them are lost; side outputs are lost or come
// again. The oplog may lose acknowledged records. Requests bring duplicates,
// poison, wrong partitions, changes of settings, and time that jumps.
//
// # What is checked
//
// A reader and a model that share no code with what they check: the reader
// parses records by hand, the model is the rules of sync over plain maps. After
// each step that matters, and at the end, the log, the answers and the stores
// are compared with them; see [Invariant].
//
// # Non-obvious
//
// Each choice is a number from a [tape], and 0 is always the harmless choice.
// So a failing schedule is cut down by cutting its tape.
package sim
