// Package edge holds the long connections: it follows the oplog into local
// views, and pushes to every client what it has not got yet, in order.
//
// # Contract
//
// A [Server] consumes the oplog, acks and broadcast topics by assignment (no
// consumer group), from the offsets in its views; one fetch becomes one batch.
// What cannot go on (an offset out of range, a chain that does not follow, a
// record of a newer release) parks the partition with a reason: its clients
// stay connected and get what the view holds, the others notice nothing, and
// nothing is wiped.
//
// Clients come by Server-Sent Events (GET /sync/stream, POST /sync/ack) or by
// the native protocol of schemas/session.proto over WebSocket (GET /sync/ws)
// or TCP. Behind all of them is one session.Session. Acknowledged sync points
// go to the acks topic and are answered when that has them; who is online goes
// to the presence topic, from which every edge also knows who is online at the
// others: the data query answers for all, and a session in the background is
// seen only where it is.
//
// # Goroutines
//
// Run owns all: one reads the topics, one reads who is online at other edges, a
// few flush (one per processor), one turns the timing wheel, one writes leases
// and sweeps; and per connection one that waits for bytes from the client,
// without a buffer. Run returns when all have ended.
//
// # How a push travels
//
//	feed       a fetch is applied to the view: reader's rule, one batch
//	partition  sessions that follow the log get a bit set, and are queued
//	flusher    asks the session what to write from its cursor on, and writes
//	           it without blocking; all that is there goes in one write
//
// There is no queue per client. One that does not read costs its cursor, the
// rest of one write, and a goroutine that waits for its socket.
//
// # Redelivery
//
// An operator moves sync points back with [Server.PlanRewinds] and
// [Server.Rewind], at any edge. A rewind is a record of the acks topic, so it is
// in order with acknowledgements, survives whatever dies, and reaches every edge
// and every view that is built anew. It has a compaction key of its own and a
// number, larger than the last:
//
//	rewind     the view takes the lower point and the number
//	edge       tells the sessions that follow the log; they go back, and their
//	           spans carry the number from then on
//	client     sees a larger number, takes what it holds already as new, and
//	           says the number with its acknowledgements and points
//	view       passes over acknowledgements whose writers knew a smaller number
//
// What comes again is what is stored and still valid for the client, within the
// threshold; of a global business with its next foreground. An edge that has
// not read the rewind yet goes on as before, and what it acknowledges meanwhile
// does not count. Clients that know nothing of rewinds just see ids again; an
// acknowledgement that they sent before a rewind and that arrives when the
// entries were written again counts for those, and a client that claims points
// and never acknowledges gets them again with every connect. In a single-device
// business the point is the user's ('t' in the view), not a device's.
//
// # Non-obvious
//
// Locks are taken in this order: a client's, then a partition's, then a
// flusher's. Whoever holds a partition's lock touches clients only through
// their atomic bits.
//
// Who a user is can end while connected. The session itself stops at that
// millisecond, whatever is asked of it; the wheel only sees to it that the
// client is told. What a tenant has not answered is asked again from the wheel,
// too: no timer and no goroutine waits for a session.
//
// Device ids are claimed in the acks topic, whose partitions every edge reads in
// the same order: the first record of a device is its owner's (FirstConnect).
// Compaction may leave a later claim of the same id; a view built from that
// still knows that the id is taken.
//
// The newest entries of logs that somebody follows stay in memory for a while,
// encoded once per wire form: see tail. Non-persistent entries are nowhere
// else.
package edge
