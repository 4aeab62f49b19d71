// Package roster is who is online, as the presence topic tells it: the one
// rule by which its readers (sync tasks for result codes, edges for the data
// query) count a session.
//
// # Contract
//
// A session counts while it was announced and not said to be gone, and while
// its edge's lease, with the same epoch, is fresh. So a dead edge takes all its
// sessions with it. A [Roster] holds one record for each session and target of
// the partitions that it is given, and forgets edges that are gone for
// [Lookback]; all its methods may be called from any goroutine.
//
// # Non-obvious
//
// A lease runs from when its record arrives, by the reader's clock: clocks of
// edges are not trusted. Who begins to read takes an old lease for a fresh one,
// for as long as a lease is long.
package roster
