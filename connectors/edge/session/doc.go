// Package session decides what goes to a client next: given where its sync
// points are, what the logs hold, what it has acknowledged and what time it
// is. Every rule of delivery (spec 1.2, 1.4, rows S003-33 to S003-94) is here.
//
// # Contract
//
// Pure: no IO, no clock, no goroutine. A [Session] is one connection of one
// device. It changes only by [Session.Step], which takes an [Input] and gives
// an [Output]: batches to write, sync points to make durable, whether the
// session's presence has changed. Time comes in as an argument. What the logs
// hold comes in through a [Reader]; a remote one is as good as a local one.
// A Session is used by one goroutine at a time.
//
// # How far a client is, in four numbers per business
//
//	acked   confirmed by the client: what a new connection starts from
//	sent    covered by what was written: the client was told (…, sent]
//	scan    looked at: nothing in (sent, scan] is for this client now
//	floor   ids up to here are gone for it: beyond the threshold, or (single
//	        device) received on another device
//
// acked <= sent <= scan. Ids between sent and scan were filtered, held back or
// expired. They are not covered until a later id is delivered (spec D19): a
// client that upgrades its app may then get them after all. So scan goes back
// to sent whenever something changes that the rules look at.
//
// # Back again
//
// An operator may move a sync point back, so that entries come again. Every
// rewind has a number, larger than those before. The session goes back when it
// hears of it, spans carry the number, and what a client says that has seen only
// smaller ones (a point that it claims, an acknowledgement) is from before and
// does not count. Clients that tell no number are believed as far as they can
// be: their claims count up to the record, their acknowledgements up to what
// was sent since.
//
// # Non-obvious
//
// There is no queue. A client that does not acknowledge costs these numbers
// and a few segments of its window, whatever waits for it.
//
// A user who is proven until a time is unbound by the first Step at or after it,
// before that does anything else: a late Tick makes the news late, and nothing
// else.
//
// Non-persistent entries are in no log; a Reader shows them for a short while
// after they came, with the count of arrivals of their partition. A session
// takes only those that came after it was there.
package session
