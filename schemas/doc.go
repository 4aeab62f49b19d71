// Package schemas holds what crosses a topic or a socket: the records, their
// wire forms, their limits and the result codes. It imports nothing of ours
// and does no IO.
//
// # Contract
//
// Public records ([Request], [Entry], [Result]) are plain protobuf messages of
// tidemark.proto; a Request may also be JSON. The encoders are written by hand
// over protowire, for two reasons: an entry's bytes are hashed into the log's
// chain, so their order must be ours and not a library's; and encoding is most
// of what a sync task does. Tests hold them against the .proto file.
//
// Internal records ([Control], [Ack], [Presence], [Checkpoint]) start with a
// version byte; a reader that meets a version it does not know stops with
// [ErrVersion] instead of guessing.
//
// # Non-obvious
//
// Decoders alias: strings and byte slices of a decoded record point into the
// input. Clone what outlives it.
package schemas
