package state

import (
	"github.com/tidemarkio/tidemark/schemas"
)

// Hash is a 128-bit name: of a dedupe key, or of a counter.
type Hash = [16]byte

// Position is where a task's state stands. It reaches the disk in the same
// batch as the state itself, so the store always knows what it contains.
type Position struct {
	Request     int64 // k: requests up to here are in; -1: none
	OplogOffset int64 // offset in the oplog of an accepted record, behind which stands all that is not in; -1: none
	Entry       int64 // request offset of the last entry; -1: none
	Chain       [schemas.ChainLen]byte
	StreamTime  int64 // epoch ms of the latest tick
	Revision    int64 // of the settings
	Rules       int64 // version of the decision rules
}

// Start is the position before the first request.
func Start() Position { return Position{Request: -1, OplogOffset: -1, Entry: -1} }

// Batch is what a run of positions changes. It is applied whole or not at all.
type Batch struct {
	Position Position
	Dedupe   []DedupePut
	Counters []CounterPut
	Changes  []schemas.Change // settings objects that changed, in order
	// ExpireBefore drops the dedupe buckets below it; 0: none.
	ExpireBefore int64
}

// DedupePut remembers that a key was accepted.
type DedupePut struct {
	Bucket int64 // stream time / bucket width at acceptance
	Key    Hash
	ID     int64 // the oplog id that it got
}

// CounterPut is a counter's new value.
type CounterPut struct {
	Hash     Hash   // XXH3-128 of Key
	Key      []byte // schemas.CounterKey; may be reused by the caller after Apply
	ID       int64  // last oplog id given
	Position int64  // request offset that gave it
}

// Reset empties the batch for the next use and keeps its memory.
func (b *Batch) Reset() {
	*b = Batch{Dedupe: b.Dedupe[:0], Counters: b.Counters[:0], Changes: b.Changes[:0]}
}

// Sweep is how far the counters of a store are saved in the changelog: all
// that changed up to the position are.
type Sweep struct {
	Position   int64
	StreamTime int64 // when the sweep began
}
