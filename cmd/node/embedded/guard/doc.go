// Package guard stands between a socket and the embedded broker. The broker
// trusts what it reads: an unknown API key, a tag count of four billion or a
// batch that claims minus five records ends the process, burns a core or
// moves an end offset backwards. The guard lets only requests through that
// cannot.
//
// # Contract
//
// [New] wraps a listener. Every connection it hands out reads whole frames
// that have been checked: a known request in a known version, bodies walked
// field by field without allocating, arrays and tags counted, record batches
// decompressed (bounded) and walked record by record. A frame that fails
// closes its connection; a record batch that fails is marked so that the broker
// refuses it alone, with INVALID_RECORD. [Versions] is what the broker must
// advertise: exactly the shapes known here.
//
// The memory that clients can make the process hold is bounded by the limits
// in this package: connections, frames in flight, answers to fetches.
//
// # Goroutines
//
// None of its own: the work is done in the caller's Read. [Listener.Wait]
// returns when all connections have been closed.
//
// # Non-obvious
//
// Four things are changed in passing. Fetches are made sessionless, because a
// session remembers every partition ever named, existing or not. A fetch's
// answer is capped. Group types are put into lower case, since the broker
// compares them letter by letter and Java's tools write "Classic". A request
// for API versions newer than we know is cut down to its header, which is all
// that the answer (UNSUPPORTED_VERSION, with our range) depends on.
package guard
