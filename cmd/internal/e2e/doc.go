// Package e2e looks at a whole Tidemark from outside, as its users do: it
// starts the program as a child process, calls its doors, listens to its
// streams, and judges what it left in the topics. Tests only.
//
// # Contract
//
//	Dev      a `tidemark dev` that can be killed, paused and started again
//	Door     the HTTP push API and the Kafka requests topic
//	Stream   one SSE connection, event by event
//	Auditor  an independent reader: says what the topics should hold
//
// The auditor shares no code with what it judges. It decodes the public topics
// by their .proto, derives from the requests topic alone what every other topic
// must hold, byte for byte, and compares. Of the internal formats it knows
// one: control records, without which it could not tell a request that was
// refused rightly from one that was not. Partitions are computed by the Kafka
// client library, JSON is read by the standard one.
//
// # Goroutines
//
// Package child keeps one per process; Stream and Auditor work in their
// caller's.
package e2e
