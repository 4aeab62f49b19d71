package processor

import (
	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/state"
)

// pending is a decided position that is not complete: it made an entry, has
// side outputs, or changed settings or time. Positions that did nothing
// (duplicates nobody asked about) leave no trace.
type pending struct {
	position int64

	entry       bool
	logged      bool  // the entry is known to be in the log
	oplogOffset int64 // where, if every reader has accepted it there; else unknown
	markers     int64 // handed out between the entry before and this one
	id          int64
	bucket      int64
	dedupe      state.Hash
	counter     state.Hash
	counterText []byte
	chain       chain.Value
	key, record []byte // dropped once logged

	control *control

	held     []Output // side outputs not yet released
	sides    int      // side outputs released and not yet sent
	released bool
}

// unknown is the offset of an entry of which only the position is known.
const unknown = int64(-1)

// control is what a control record made of settings and time.
type control struct {
	changes    []schemas.Change
	streamTime int64
	revision   int64
	rules      int64
}

// complete reports that nothing is outstanding.
func (p *pending) complete() bool {
	return (!p.entry || p.logged) && p.released && p.sides == 0
}

// flight is the queue of pending positions, in order.
type flight struct {
	ring     []pending // power of two
	head     int       // of the oldest
	n        int
	unlogged int // index (from the oldest) of the first entry that is not logged
	held     int // index of the first that is not released
	bytes    int // of entries handed out and not yet logged
}

func (f *flight) len() int { return f.n }

func (f *flight) at(i int) *pending { return &f.ring[(f.head+i)&(len(f.ring)-1)] }

func (f *flight) last() *pending {
	if f.n == 0 {
		return nil
	}
	return f.at(f.n - 1)
}

func (f *flight) push(p pending) *pending {
	if f.n == len(f.ring) {
		f.grow()
	}
	f.n++
	slot := f.at(f.n - 1)
	*slot = p
	return slot
}

func (f *flight) grow() {
	ring := make([]pending, max(16, 2*len(f.ring)))
	for i := range f.n {
		ring[i] = *f.at(i)
	}
	f.ring, f.head = ring, 0
}

// pop drops the oldest.
func (f *flight) pop() {
	f.ring[f.head] = pending{}
	f.head = (f.head + 1) & (len(f.ring) - 1)
	f.n--
	f.unlogged, f.held = max(0, f.unlogged-1), max(0, f.held-1)
}

// find gives the pending position, or nil.
func (f *flight) find(position int64) *pending {
	lo, hi := 0, f.n
	for lo < hi {
		mid := (lo + hi) / 2
		if f.at(mid).position < position {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < f.n && f.at(lo).position == position {
		return f.at(lo)
	}
	return nil
}

// nextUnlogged gives the oldest entry that is not known to be in the log.
func (f *flight) nextUnlogged() *pending {
	for ; f.unlogged < f.n; f.unlogged++ {
		if p := f.at(f.unlogged); p.entry && !p.logged {
			return p
		}
	}
	return nil
}
