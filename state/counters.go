package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// counters is the last id of every (instance, business, link token): keys in
// Pebble, and the hot ones in a cache that is written through.
type counters struct {
	db    *DB
	cache counterCache
	count atomic.Int64 // how many there are
	buf   []byte

	hits, misses atomic.Int64
}

// CounterError says that a counter was to go back or stand still: an id would
// have been given twice. Nothing of the batch was written, and the store has
// stopped.
type CounterError struct {
	Key           []byte // schemas.CounterKey
	Stored, Given int64
	Position      int64 // request offset that the given id is for
}

// Error implements error.
func (e *CounterError) Error() string {
	return fmt.Sprintf("counter %s stands at id %d and was given id %d by request %d: an id would have been given twice",
		counterText(e.Key), e.Stored, e.Given, e.Position)
}

// last looks a counter up; 0: there is none.
func (c *counters) last(h *Hash, key []byte) (int64, error) {
	if id, ok := c.cache.get(h); ok {
		c.hits.Add(1)
		return id, nil
	}
	c.misses.Add(1)
	id, err := c.stored(key)
	if err == nil {
		c.cache.put(h, id)
	}
	return id, err
}

func (c *counters) stored(key []byte) (int64, error) {
	c.buf = counterKey(c.buf, key)
	v, closer, err := c.db.get(c.buf)
	if err != nil || closer == nil {
		return 0, err
	}
	id, _, err := parseCounter(v)
	return id, errors.Join(err, closer.Close())
}

// advance checks that a counter grows, and has the cache know it.
func (c *counters) advance(p *CounterPut) error {
	id, err := c.last(&p.Hash, p.Key)
	if err != nil {
		return err
	}
	if p.ID <= id {
		return &CounterError{Key: append([]byte(nil), p.Key...), Stored: id, Given: p.ID, Position: p.Position}
	}
	if id == 0 {
		c.count.Add(1)
	}
	c.cache.put(&p.Hash, p.ID)
	return nil
}

// advanceAll checks a whole batch. A counter may come in it more than once.
func (c *counters) advanceAll(puts []CounterPut) error {
	c.cache.begin()
	defer c.cache.end()
	for i := range puts {
		if err := c.advance(&puts[i]); err != nil {
			return err
		}
	}
	return nil
}

// stage adds a counter's new value to a batch: to set it, or, while a store is
// rebuilt, for the larger to win when it is read.
func stageCounter(b *pebble.Batch, p *CounterPut, merge bool) error {
	var v [2 * binary.MaxVarintLen64]byte
	value := appendCounter(v[:0], p.ID, p.Position)
	var op *pebble.DeferredBatchOp
	if merge {
		op = b.MergeDeferred(1+len(p.Key), len(value))
	} else {
		op = b.SetDeferred(1+len(p.Key), len(value))
	}
	op.Key[0] = kindCounter
	copy(op.Key[1:], p.Key)
	copy(op.Value, value)
	return op.Finish()
}

// SweepCounters walks counters in the order of their keys, from the key that
// the last call gave (nil: from the start), max of them at a time, and visits
// those that changed after a request position. It gives the key to go on from;
// nil says that all were walked. A visited put is valid until visit returns.
func (t *Task) SweepCounters(from []byte, max int, changedAfter int64, visit func(CounterPut) error) (next []byte, err error) {
	it, err := t.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: counterKey(nil, from), UpperBound: []byte{kindCounter + 1}})
	if err != nil {
		return nil, fmt.Errorf("read store %s: %w", t.db.dir, err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if n == max {
			return append([]byte(nil), it.Key()[1:]...), nil
		}
		n++
		if err := visitCounter(it, changedAfter, visit); err != nil {
			return nil, err
		}
	}
	return nil, it.Error()
}

func visitCounter(it *pebble.Iterator, changedAfter int64, visit func(CounterPut) error) error {
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	p := CounterPut{Key: it.Key()[1:]}
	if p.ID, p.Position, err = parseCounter(v); err != nil || p.Position <= changedAfter {
		return err
	}
	p.Hash = HashKey(p.Key)
	return visit(p)
}

// cacheWays is how many counters share a set of the cache.
const cacheWays = 8

// counterCache is a table of sets of eight counters. What was not used since
// the hand last came by is replaced.
//
// Between begin and end nothing that was put is forgotten, because Pebble does
// not have it yet: what is replaced in a set that was put into goes to spilled.
type counterCache struct {
	sets    []counterSet
	spilled map[Hash]int64
	batch   uint32 // counts batches; never 0
	open    bool
}

type counterSet struct {
	low, high  [cacheWays]uint64 // the hash, in halves
	id         [cacheWays]int64
	full, used uint8 // bit per way
	hand       uint8
	batch      uint32 // that last put into this set
}

const counterSetBytes = cacheWays*24 + 8

// newCounterCache takes at most so many bytes.
func newCounterCache(bytes int64) counterCache {
	n := max(1, uint64(bytes/counterSetBytes))
	return counterCache{sets: make([]counterSet, 1<<(bits.Len64(n)-1)), spilled: make(map[Hash]int64)}
}

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
	if len(c.spilled) > 0 {
		id, ok := c.spilled[*h]
		return id, ok
	}
	return 0, false
}

func (c *counterCache) put(h *Hash, id int64) {
	s, i := c.find(h)
	if i < 0 {
		i = s.victim()
		if c.open && s.batch == c.batch && s.full>>i&1 == 1 {
			c.spilled[s.hash(i)] = s.id[i]
		}
		s.low[i], s.high[i] = binary.LittleEndian.Uint64(h[:]), binary.LittleEndian.Uint64(h[8:])
		s.full |= 1 << i
	}
	s.id[i] = id
	s.used |= 1 << i
	if c.open {
		s.batch = c.batch
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
func (c *counterCache) reset() { clear(c.sets) }

// maxMerger keeps the larger of two values of a counter.
var maxMerger = &pebble.Merger{
	Name: "tidemark.counter.max",
	Merge: func(_, value []byte) (pebble.ValueMerger, error) {
		m := &maxValue{}
		return m, m.MergeNewer(value)
	},
}

// maxValue is one merge: by id, and of equal ids the first position.
type maxValue struct {
	id, position int64
}

func (m *maxValue) MergeNewer(value []byte) error {
	id, position, err := parseCounter(value)
	if err != nil {
		return err
	}
	if id > m.id || id == m.id && position < m.position {
		m.id, m.position = id, position
	}
	return nil
}

func (m *maxValue) MergeOlder(value []byte) error { return m.MergeNewer(value) }

func (m *maxValue) Finish(bool) ([]byte, io.Closer, error) {
	return appendCounter(nil, m.id, m.position), nil, nil
}
