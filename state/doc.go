// Package state keeps what a task and an edge must remember, in Pebble. It
// knows no Kafka: a restore takes a sequence of records, whoever reads them.
//
// # Contract
//
// A store is the shadow of a log (design I5). A batch reaches it only after
// the log has acknowledged what the batch says, with the log's position inside
// the batch; a crash may lose the newest batches, never half of one. A store
// is never wiped because a process died.
package state
