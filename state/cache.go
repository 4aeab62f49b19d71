package state

import (
	"encoding/binary"
	"math/bits"
)

const (
	// cacheWays is how many counters share a set of the cache.
	cacheWays = 8
	// overflowMax is how many counters that found no place in their set are
	// kept beside them, so that the cache stays whole.
	overflowMax = 4096
)

// counterCache is a table of sets of eight counters, which grows to a limit.
// What was not used since the hand last came by is replaced.
//
// As long as all counters of a store fit in, the cache is whole: what it does
// not have the store does not have either, and nobody needs to look there.
//
// Between begin and end nothing that was put is forgotten, because Pebble does
// not have it yet: what is replaced in a set that was put into goes to spilled.
type counterCache struct {
	sets    []counterSet
	most    int // sets, when it has grown as far as it may
	n       int // counters in it
	spilled map[Hash]int64
	batch   uint32 // counts batches; never 0
	open    bool

	whole    bool           // it has all counters of the store
	overflow map[Hash]int64 // while it is whole: what found no place in its set
}

type counterSet struct {
	low, high  [cacheWays]uint64 // the hash, in halves
	id         [cacheWays]int64
	full, used uint8 // bit per way
	hand       uint8
	batch      uint32 // that last put into this set
}

const counterSetBytes = cacheWays*24 + 8

// newCounterCache takes at most so many bytes. It begins small.
func newCounterCache(bytes int64) counterCache {
	most := 1 << (bits.Len64(max(1, uint64(bytes/counterSetBytes))) - 1)
	return counterCache{sets: make([]counterSet, min(most, 64)), most: most, spilled: make(map[Hash]int64), overflow: make(map[Hash]int64)}
}

// room is how many counters the cache surely has place for.
func (c *counterCache) room() int64 { return int64(c.most) * cacheWays / 2 }

func (c *counterCache) bytes() int64 { return int64(len(c.sets)) * counterSetBytes }

func (c *counterCache) find(h *Hash) (*counterSet, int) {
	low, high := binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])
	s := &c.sets[low&uint64(len(c.sets)-1)]
	for i := range cacheWays {
		if s.low[i] == low && s.high[i] == high && s.full>>i&1 == 1 {
			return s, i
		}
	}
	return s, -1
}

func (c *counterCache) begin() {
	c.open = true
	if c.batch++; c.batch == 0 {
		c.batch = 1
	}
}

func (c *counterCache) end() {
	c.open = false
	clear(c.spilled)
}

func (c *counterCache) get(h *Hash) (int64, bool) {
	s, i := c.find(h)
	if i >= 0 {
		s.used |= 1 << i
		return s.id[i], true
	}
	if c.whole {
		return c.overflow[*h], true
	}
	if len(c.spilled) > 0 {
		id, ok := c.spilled[*h]
		return id, ok
	}
	return 0, false
}

func (c *counterCache) has(h *Hash) bool {
	_, i := c.find(h)
	return i >= 0
}

func (c *counterCache) put(h *Hash, id int64) {
	s, i := c.find(h)
	if i < 0 {
		if _, ok := c.overflow[*h]; ok {
			c.overflow[*h] = id
			return
		}
		i = s.victim()
		if s.full>>i&1 == 1 {
			c.replace(s, i)
		}
		if s.full>>i&1 == 0 {
			c.n++
		}
		s.low[i], s.high[i] = binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])
		s.full |= 1 << i
	}
	s.id[i] = id
	s.used |= 1 << i
	if c.open {
		s.batch = c.batch
	}
	// At half full few sets are, and what is replaced was not used.
	if c.n > len(c.sets)*cacheWays/2 && len(c.sets) < c.most {
		c.grow()
	}
}

// replace takes a counter out of its set.
func (c *counterCache) replace(s *counterSet, i int) {
	switch {
	case c.whole:
		c.overflow[s.hash(i)] = s.id[i]
		if len(c.overflow) > overflowMax {
			c.part()
		}
	case c.open && s.batch == c.batch:
		c.spilled[s.hash(i)] = s.id[i]
	}
}

// part says that the cache no longer has all counters.
func (c *counterCache) part() {
	if c.open { // what this batch has put is not in Pebble yet
		for h, id := range c.overflow {
			c.spilled[h] = id
		}
	}
	c.whole = false
	clear(c.overflow)
}

// grow doubles the number of sets. Each is split in two, and what had found no
// place may find one.
func (c *counterCache) grow() {
	defer func() {
		was := c.overflow
		c.overflow = make(map[Hash]int64, len(was))
		for h, id := range was {
			c.put(&h, id)
		}
	}()
	old := c.sets
	c.sets = make([]counterSet, 2*len(old))
	for i := range old {
		for way := range cacheWays {
			if from := &old[i]; from.full>>way&1 == 1 {
				to := &c.sets[from.low[way]&uint64(len(c.sets)-1)]
				n := to.victim()
				to.low[n], to.high[n], to.id[n] = from.low[way], from.high[way], from.id[way]
				to.full |= 1 << n
				to.used |= from.used >> way & 1 << n
				to.batch = from.batch
			}
		}
	}
}

func (s *counterSet) hash(i int) (h Hash) {
	binary.LittleEndian.PutUint64(h[:], s.low[i])
	binary.LittleEndian.PutUint64(h[8:], s.high[i])
	return h
}

// victim picks the way to replace: an empty one, or the next that was not used
// since the hand passed it.
func (s *counterSet) victim() int {
	if s.full != 1<<cacheWays-1 {
		return bits.TrailingZeros8(^s.full)
	}
	for {
		i := int(s.hand)
		s.hand = (s.hand + 1) % cacheWays
		if s.used>>i&1 == 0 {
			return i
		}
		s.used &^= 1 << i
	}
}

// reset forgets all.
func (c *counterCache) reset() {
	clear(c.sets)
	clear(c.overflow)
	c.n, c.whole = 0, false
}
