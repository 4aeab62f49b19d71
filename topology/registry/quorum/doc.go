// Package quorum replicates the registry's model with Raft, so that it
// survives the loss of a minority of its nodes.
//
// # Contract
//
// [Open] starts a node; [Node.Run] waits and closes it, [Node.Close] closes it
// at once. A node owns all the goroutines that it starts, and both return when
// those have ended.
//
// A command may be proposed on any node ([Node.Propose]): it is forwarded to
// the leader and applied once, however often it had to be sent. [Node.Read]
// gives a model that holds every command that was answered before the call;
// [Node.Model] gives what this node has, at once. [Node.Watch] follows changes
// from a revision on, with as few steps as the watcher can take.
//
// # On the wire
//
// One listener serves both Raft and our own calls, told apart by a connection's
// first byte. Outside of loopback both are inside mutual TLS.
//
// # Non-obvious
//
// Reads are linearizable without a log entry and without a clock: the leader
// asks a majority for its term, and answers from a model that it knows to be
// whole since a barrier of its own term (read.go has the argument, and why
// Raft's VerifyLeader is not enough). A follower asks the leader how many
// commands that model is made of, and waits until it has applied as many; if it
// has more, until the leader has too.
//
// A restore of a backup is a row of commands in the log. Raft's own restore
// takes the new state on the leader before a majority has it: if that leader
// dies, it comes back with a state that nobody else ever had.
//
// The log is kept in bbolt by a small adapter of ours. raft-wal v0.4.0, the
// newest that can be had as a module, seals a truncated segment without its
// index: after a follower had to drop the end of its log, which every change of
// leaders can ask of it, a restart cannot read what was left (ten entries
// stored, three dropped, reopened: entry 1 to 7 "sealed segment has no index
// block"). raft-boltdb v2.3.1 imports a package that the go-metrics of raft
// v1.8 no longer has. Pebble, which our other stores use, cannot be told of a
// failed write; a log must be able to report one and live.
package quorum
