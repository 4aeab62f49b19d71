// Package flights is the data of the demo: one real day of flight operations as
// sync requests in the order of events. README.md beside it names the source
// and its licence.
//
// # Contract
//
// Pure: the data is embedded, nothing is read or timed. [Day] gives the same
// events each time, with the same thirdMsgIds, so that playing a day twice
// gives nothing but duplicates. [Config] is the instance that they are for.
//
// # What a flight becomes
//
// The link token is the aircraft, or the flight where the record names none (it
// never left). Per flight:
//
//   - SCHEDULE, three hours before it is to leave (at midnight, if that is later);
//   - DELAY, when it is still there 15 minutes after its time, and after each
//     full hour, or at its time when it is cancelled;
//   - DEPARTURE and ARRIVAL, when they happen.
//
// NOTICE is global: an airport's past hour in one line, at the end of each.
// About one request in fifty is sent a second time some minutes later, as
// systems do that are not sure; its thirdMsgId makes it a duplicate.
//
// # Non-obvious
//
// Times of arrival are local to the destination; to put them in order they are
// taken back to New York's clock (zones.go).
package flights
