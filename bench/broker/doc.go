// Package broker runs a real Apache Kafka (KRaft, without ZooKeeper) on this
// machine's loopback, for tests and benchmarks.
//
// # Contract
//
// [Start] fetches Kafka's jars from Maven Central if they are not in the cache
// (once; two processes that start at the same moment fetch once), formats a
// directory, starts one node or three, and returns when every node answers
// and the group coordinator is there. It needs Java 17 or newer, and Maven for
// the first run.
//
// A [Broker] can be killed, paused, resumed, restarted on the same data and
// ports, and measured; so can each [Node]. Its processes die with ours, however
// we die. What a node printed is in its log file, and errors quote the end of it.
//
// Auto-creation of topics is off, as in production: create what you use.
//
// # Goroutines
//
// None of its own: package child keeps one per node.
//
// # Non-obvious
//
// Ports are taken from below the range that the kernel hands out to outgoing
// connections. Otherwise a client that reconnects in a loop while the broker is
// down can be given the broker's own port, and the restart fails.
//
// Nothing is fsynced by default, as Kafka's own defaults have it: kill -9 of a
// node loses nothing that was acknowledged, a power cut can.
package broker
