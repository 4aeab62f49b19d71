// Package chain is the oplog's chain: how a writer links entries, and the one
// rule by which every reader accepts each of them once (design section 4,
// "reader's rule"). Edges, standbys, restore, export and tests share it.
//
// # Contract
//
// Pure: no IO, no clock, no goroutine. A [Reader] is used by one goroutine.
//
// # Non-obvious
//
// Two owners of a partition may write at the same time. They decide the same,
// so they write the same bytes, and all that a reader has to do is to take
// each position once. That is why safety rests neither on fencing nor on the
// order of producers: it rests on prev_offset, and the chain proves it.
package chain

import (
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
)

// Value is one value of the rolling hash; the zero Value stands before the
// first entry.
type Value = [schemas.ChainLen]byte

// None is the position before a partition's first entry.
const None = int64(-1)

// Next links an entry: XXH3-128 over the chain before it and its canonical
// bytes, which must stand in buf behind 16 free bytes (they are overwritten).
// That layout spares the hot path a copy.
func Next(prev Value, buf []byte) Value {
	copy(buf, prev[:])
	return xxh3.Hash128(buf).Bytes()
}

// Verdict is what a reader does with a record.
type Verdict int

// The verdicts of the reader's rule.
const (
	Accept Verdict = iota // the next entry: take it
	Marker                // progress only: nothing to take
	Repeat                // seen before, written again by another owner or after a restart: drop
	Orphan                // an append before it failed; it will come again: drop, count, alarm
)

func (v Verdict) String() string {
	return [...]string{"accept", "marker", "repeat", "orphan"}[v]
}

// BrokenError is a log that contradicts itself: an invariant of ours does not
// hold. Whoever reads it parks and shows both sides.
type BrokenError struct {
	Position int64 // last accepted
	Chain    Value // after it
	Record   schemas.Entry
	Why      string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("oplog is broken: %s (last accepted position %d, chain %x; record: position %d, prev %d, oplog id %d, chain %x)",
		e.Why, e.Position, e.Chain, e.Record.RequestOffset, e.Record.PrevOffset, e.Record.OplogID, e.Record.Chain)
}

// recent is how many accepted positions a Reader remembers, to tell a repeat
// from a second, different truth.
const recent = 64

// Reader applies the reader's rule to one partition. The zero Reader starts
// nowhere: use [Start] or [Resume].
type Reader struct {
	position int64 // request offset of the last accepted entry
	chain    Value
	covered  int64 // every request up to here is covered
	trusting bool  // take the next entry on trust: the log's beginning is gone
	scratch  []byte
	seen     [recent]struct {
		position int64
		chain    Value
	}
}

// Start begins at the first record of a log that still has its beginning.
func Start() *Reader { return Resume(None, Value{}, None) }

// Resume goes on behind the entry at position, whose chain value is given;
// covered is how far requests are known to be covered (at least position).
func Resume(position int64, chain Value, covered int64) *Reader {
	r := &Reader{position: position, chain: chain, covered: max(position, covered)}
	for i := range r.seen {
		r.seen[i].position = None - 1
	}
	return r
}

// Trust begins in the middle of a log whose beginning has expired: the first
// entry is taken as it stands. Check [Reader.Position] and [Reader.Chain]
// against a base of changelog.counters when its position is reached.
func Trust() *Reader {
	r := Start()
	r.trusting = true
	return r
}

// Position is the request offset of the last accepted entry, [None] at first.
func (r *Reader) Position() int64 { return r.position }

// Chain is the rolling hash after that entry.
func (r *Reader) Chain() Value { return r.chain }

// Covered is the largest request offset known to be covered: an entry was
// made of it, or none ever will be.
func (r *Reader) Covered() int64 { return r.covered }

// Accept judges one record in log order. e must be the decoded record. The
// error is a [BrokenError].
func (r *Reader) Accept(record []byte, e *schemas.Entry) (Verdict, error) {
	if r.trusting && !e.Marker() {
		r.trusting = false
		r.take(e)
		return Accept, nil
	}
	switch {
	case r.trusting:
		return Marker, nil
	case e.PrevOffset < r.position:
		return Repeat, r.checkRepeat(e)
	case e.PrevOffset > r.position:
		return Orphan, nil
	case e.Marker():
		if e.Chain != r.chain {
			return Marker, r.broken(e, "a progress marker carries another chain")
		}
		r.covered = max(r.covered, e.RequestOffset)
		return Marker, nil
	}
	if e.RequestOffset <= r.covered {
		return Accept, r.broken(e, fmt.Sprintf("an entry at a position that was covered before (up to %d)", r.covered))
	}
	if got := r.link(record); got != e.Chain {
		return Accept, r.broken(e, fmt.Sprintf("the chain does not follow: computed %x", got))
	}
	r.take(e)
	return Accept, nil
}

func (r *Reader) take(e *schemas.Entry) {
	r.position, r.chain = e.RequestOffset, e.Chain
	r.covered = max(r.covered, e.RequestOffset)
	s := &r.seen[uint64(e.RequestOffset)%recent]
	s.position, s.chain = e.RequestOffset, e.Chain
}

// link computes the chain value that record should carry.
func (r *Reader) link(record []byte) Value {
	n := len(record) - schemas.ChainSuffixLen
	r.scratch = append(append(r.scratch[:0], r.chain[:]...), record[:n]...)
	return Next(r.chain, r.scratch)
}

// checkRepeat compares a repeat with what was accepted, as far as that is
// remembered. Whoever wrote it went on from an earlier entry; it must not have
// gone past the last accepted one.
func (r *Reader) checkRepeat(e *schemas.Entry) error {
	switch {
	case e.Marker() && e.RequestOffset >= r.position, e.RequestOffset > r.position:
		return r.broken(e, fmt.Sprintf("a second, different log: position %d follows %d here, and the accepted entry of %d is between them", e.RequestOffset, e.PrevOffset, r.position))
	case e.Marker():
		return nil
	}
	s := &r.seen[uint64(e.RequestOffset)%recent]
	if s.position == e.RequestOffset && s.chain != e.Chain {
		return r.broken(e, fmt.Sprintf("a second, different entry for position %d (accepted one has chain %x)", s.position, s.chain))
	}
	return nil
}

func (r *Reader) broken(e *schemas.Entry, why string) error {
	return &BrokenError{Position: r.position, Chain: r.chain, Record: *e, Why: why}
}
