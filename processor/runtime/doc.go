// Package runtime runs sync tasks against Kafka: it is the thin shell around
// [processor.Task].
//
// # Contract
//
// [New] and then [Runtime.Run], which returns when every goroutine it started
// has ended. Stopping its context drains: what is in flight is finished, state
// is flushed, offsets are committed, the group is left.
//
// # Goroutines
//
//	placement   one group member; says which partitions this process owns or
//	            stands by for (kgo's own goroutines call us back)
//	runner      one per partition here: the only one that touches its Task and
//	            its store
//	input       one consumer of the requests topic for all runners; a runner
//	            that is behind has its partition paused
//	presence    one consumer of presence for all runners
//	committer   moves the group's offsets every 100 ms
//
// # Non-obvious
//
// Membership and reading are two clients. The group member has everything
// paused and reads nothing: it exists so that ownership moves by Kafka's own
// rules and standard tools see lag. Reading is direct, at offsets that the
// stores say. So a group offset that is lost or late cannot hurt, and a task
// can be rewound without touching the group.
//
// Nothing here fences a zombie. Two owners write the same bytes; see
// package chain.
package runtime
