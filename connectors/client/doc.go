// Package client receives pushes: it keeps a stream open, hands every entry to
// the application once and in order, and moves the sync point.
//
// # Contract
//
// [Client.Run] returns when its context ends, when the server says that
// trying again is useless (see [CloseError]), or when the handler fails. It
// reconnects by itself, with full jitter or when the server says, and goes on
// where it was. What no working server sends ends it with [ErrData].
//
// The handler sees the ids of one business in rising order, each once, until an
// operator asks for a redelivery: then it sees those again, in order and once
// for each redelivery (see [Event.Rewind]). What it has returned from without an
// error is acknowledged, if [Config.Ack] is on.
//
// # Goroutines
//
// None of its own: Run works in its caller's.
//
// # Non-obvious
//
// An id that is missing inside a covered range (from, to] was filtered,
// expired or trimmed: that is not a gap. A range that begins above what the
// client holds would be one, and ends the stream with [ErrGap].
package client
