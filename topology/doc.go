// Package topology is the map: which topics there are, how many partitions,
// which key goes where, which store belongs to which topic.
//
// # Contract
//
// Pure: no IO. What cannot change after the first start (partition count, key
// hash, dedupe window, format versions) is one canonical JSON text;
// [Topology.Hash] of it is kept by the registry and in every partition's base,
// and a node that disagrees refuses to start and prints [Topology.Diff].
//
// # Non-obvious
//
// [Partition] is Kafka's own murmur2, so a plain Java producer lands on the
// right partition. librdkafka's default is CRC32: its records are forwarded by
// the task that meets them.
package topology
