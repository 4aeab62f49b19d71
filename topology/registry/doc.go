// Package registry is the pure model of runtime configuration: instances and
// their businesses, keys, users, switches, and the audit of every change.
//
// # Contract
//
// Pure: no IO, no clock, no randomness, no goroutine. A [Model] does not
// change: [Model.Apply] is a function of a model and a [Command] and gives the
// next model. Package quorum replicates the commands; nothing else may apply
// them.
//
// [Settings] are the part that requests are decided by. They are immutable and
// carry a revision. A sync task does not read them from here: they reach it as
// control records in its own partition, so that a replay decides the same. A
// command that changes them queues such records in the model
// ([Model.NextPending]); who writes them says so with [MarkPublished].
//
// # Where to start
//
// command.go has what goes in, apply.go what happens to it, object.go what is
// kept. The operations are in ops_*.go, the rules of their fields in check.go.
// testdata/*.txt are conversations with a model.
//
// # Non-obvious
//
// All revisions are of one row: the registry's, an object's, and that of the
// settings which an entry was decided under. So the audit record behind an
// entry is found by the entry's settings revision.
//
// What a command needs of the world stands in it, times and random material
// included. A command has an ID, and the newest answers are remembered by it:
// a proposer that lost an answer proposes the same again.
//
// Maps of the model are persistent trees in key order, its lists persistent
// queues: no result can hang on Go's map order, and a snapshot is a pointer.
package registry
