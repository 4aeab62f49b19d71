// Package view is an edge's copy of an oplog partition: what its clients have
// to get, how far each of them is, and how much that was. There is one [View]
// per partition, and one [Global] for the entries that are for everybody.
//
// # Contract
//
// A view is the shadow of two topics, oplog p and acks p (a Global: of all of
// broadcast). [View.Apply] takes their records in log order, applies the
// reader's rule, and writes what it makes of them together with the positions
// behind them in one batch; so after a crash the view is exactly what it was
// at some earlier position, and goes on from there. Applying the same records
// again changes nothing.
//
// It knows no Kafka and starts no goroutine. Apply, Touch and Sweep must come
// from one goroutine at a time (a mutex makes sure); reads may come from any.
//
// # What leaves a view, and when
//
//   - Beyond the threshold: the newest N of a log stay, when a push makes it
//     longer by an eighth, and at the latest when the sweep comes by. Readers
//     that must be exact ask for [View.Floor].
//   - Expired: when the sweep comes by. Readers look at the validity.
//   - Sync points and heads stay: ids must not start again.
//
// # Non-obvious
//
// No counter is read to write an entry: the head of a log is its last key,
// its first retained entry the first one. Only what is in no log (non-persistent
// ids, and the head of a log that was swept empty) has a record of its own.
// Statistics are added by a merge operator, also without reading.
package view
