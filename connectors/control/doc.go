// Package control writes control records: the changes of settings and the
// ticks of time that sync tasks take from their own partition of the requests
// topic (design I4).
//
// # Contract
//
// A [Publisher] runs beside every registry node and works on the one that
// leads. It writes each pending control record of the registry's model to every
// partition, in the order of revisions, and tells the registry when all
// partitions have it. Who leads next goes on with what is pending: a record may
// be written twice, and tasks ignore revisions that they have. [Publisher.Run]
// owns all goroutines.
//
// # Non-obvious
//
// Partitions go ahead independently, one record in flight each: a partition
// whose broker is away holds up no other, but a change only counts as published
// when the last one has it.
//
// A tick goes to partitions that had input since the publisher's last record,
// which the end offsets tell: an idle system writes one record an hour.
//
// Settings that were published to one topic say nothing about another. The
// registry keeps the id of the topic that it published to; when the requests
// topic is another, the publisher first looks into changelog.counters whose
// topics these are, and then everything goes out anew.
package control
