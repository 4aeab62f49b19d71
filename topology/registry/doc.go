// Package registry is the pure model of runtime configuration: instances and
// their businesses, keys, users, switches, and the audit of every change.
//
// # Contract
//
// Pure: no IO, no clock, no goroutine. A [Model] changes only by [Model.Apply],
// which is a function of the model and the command. Package quorum replicates
// the commands; nothing else may apply them.
//
// [Settings] are the part that requests are decided by. They are immutable and
// carry a revision. A sync task does not read them from here: they reach it as
// control records in its own partition, so that a replay decides the same.
package registry
