// Package ingress is the HTTP push API (spec 1.3): it turns a call into a
// record of the requests topic and answers when the task's result is there.
//
// # Contract
//
// [New], then [Server.Run] beside an HTTP server that serves
// [Server.Handler]. A call is answered after its entry is acknowledged in the
// oplog, with the code that the task gave; a call that gets no answer in time
// is answered SYSTEM_ERROR, which says "outcome unknown, send it again".
//
// # Goroutines
//
// Run owns one consumer of this process's partition of the results topic. The
// HTTP server owns the handlers, which wait each for its own result.
//
// # Non-obvious
//
// Faults of the arguments are answered at once. Everything that depends on
// settings is left to the task, although ingress has settings too: its own may
// be a moment older or newer than those that the partition's order gives.
package ingress
