package state

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// counters is the last id of every (instance, business, link token): keys in
// Pebble, and the hot ones in a cache that is written through.
//
// A counter's key is the hash of its name, which makes it short, and puts to
// it cheap: the name is written once, under a key of its own.
type counters struct {
	db    *DB
	cache counterCache
	count atomic.Int64 // how many there are
	key   [hashKeyLen]byte
	order []place

	hits, misses atomic.Int64
}

// place is where a put stands in its batch; for sorting.
type place struct {
	prefix uint64 // of the hash
	i      int
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
func (c *counters) last(h *Hash) (int64, error) {
	if id, ok := c.cache.get(h); ok {
		c.hits.Add(1)
		return id, nil
	}
	c.misses.Add(1)
	id, err := c.stored(h)
	if err == nil {
		c.cache.put(h, id)
	}
	return id, err
}

// load fills the cache with all counters of the store, if they fit: a target
// that is new then costs no look-up in Pebble.
func (c *counters) load() error {
	if c.count.Load() > c.cache.room() {
		return nil
	}
	c.cache.whole = true
	return c.db.scan([]byte{kindCounter}, []byte{kindCounter + 1}, func(it *pebble.Iterator) error {
		h, err := parseHash(kindCounter, it.Key())
		if err != nil {
			return err
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		id, _, err := parseCounter(v)
		if err == nil {
			c.cache.put(h, id)
		}
		return err
	})
}

func (c *counters) stored(h *Hash) (int64, error) {
	v, closer, err := c.db.get(hashKey(&c.key, kindCounter, h))
	if err != nil || closer == nil {
		return 0, err
	}
	id, _, err := parseCounter(v)
	return id, errors.Join(err, closer.Close())
}

// advance checks that a batch's counters grow, has the cache know them, and
// stages the names of new ones. A counter may be in it more than once.
func (c *counters) advance(b *pebble.Batch, puts []CounterPut) error {
	c.cache.begin()
	defer c.cache.end()
	for i := range puts {
		p := &puts[i]
		id, err := c.last(&p.Hash)
		if err != nil {
			return err
		}
		if p.ID <= id {
			return &CounterError{Key: append([]byte(nil), p.Key...), Stored: id, Given: p.ID, Position: p.Position}
		}
		if id == 0 {
			c.count.Add(1)
			stageName(b, p)
		}
		c.cache.put(&p.Hash, p.ID)
	}
	return nil
}

func stageName(b *pebble.Batch, p *CounterPut) {
	op := b.SetDeferred(hashKeyLen, len(p.Key))
	hashKey((*[hashKeyLen]byte)(op.Key), kindName, &p.Hash)
	copy(op.Value, p.Key)
	_ = op.Finish() // fails for indexed batches only
}

// stage adds the new values to a batch: to set them, or, while a store is
// rebuilt, for the larger to win when they are read. Sorted keys are cheaper
// for Pebble; and of a counter that is set more than once only the last counts.
func (c *counters) stage(b *pebble.Batch, puts []CounterPut, merge bool) {
	c.order = c.order[:0]
	for i := range puts {
		c.order = append(c.order, place{binary.BigEndian.Uint64(puts[i].Hash[:]), i})
	}
	slices.SortFunc(c.order, func(a, b place) int {
		if a.prefix != b.prefix {
			return cmp.Compare(a.prefix, b.prefix)
		}
		return cmp.Compare(a.i, b.i)
	})
	for n, o := range c.order {
		p := &puts[o.i]
		if !merge && n+1 < len(c.order) && puts[c.order[n+1].i].Hash == p.Hash {
			continue
		}
		stageCounter(b, p, merge)
	}
}

func stageCounter(b *pebble.Batch, p *CounterPut, merge bool) {
	var v [2 * binary.MaxVarintLen64]byte
	value := appendCounter(v[:0], p.ID, p.Position)
	var op *pebble.DeferredBatchOp
	if merge {
		op = b.MergeDeferred(hashKeyLen, len(value))
	} else {
		op = b.SetDeferred(hashKeyLen, len(value))
	}
	hashKey((*[hashKeyLen]byte)(op.Key), kindCounter, &p.Hash)
	copy(op.Value, value)
	_ = op.Finish()
}

// SweepCounters walks counters in a fixed order, from where the last call left
// off (nil: from the start), max of them at a time, and visits those that
// changed after a request position. It gives where to go on from; nil says that
// all were walked. A visited put is valid until visit returns.
func (t *Task) SweepCounters(from []byte, max int, changedAfter int64, visit func(CounterPut) error) (next []byte, err error) {
	if from == nil {
		from = []byte{kindCounter}
	}
	w := walker{db: t.db}
	n := 0
	err = t.db.scan(from, []byte{kindCounter + 1}, func(it *pebble.Iterator) error {
		if n == max {
			next = append([]byte(nil), it.Key()...)
			return errStop
		}
		n++
		return w.visit(it, changedAfter, visit)
	})
	return next, errors.Join(err, w.close())
}

// walker puts counters and their names together.
type walker struct {
	db    *DB
	names *pebble.Iterator
	key   [hashKeyLen]byte
}

// visit visits the counter that the iterator stands at, if it has changed.
func (w *walker) visit(it *pebble.Iterator, changedAfter int64, visit func(CounterPut) error) error {
	h, err := parseHash(kindCounter, it.Key())
	if err != nil {
		return err
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return err
	}
	p := CounterPut{Hash: *h}
	if p.ID, p.Position, err = parseCounter(v); err != nil || p.Position <= changedAfter {
		return err
	}
	if p.Key, err = w.name(h); err != nil {
		return err
	}
	return visit(p)
}

func (w *walker) name(h *Hash) ([]byte, error) {
	if w.names == nil {
		var err error
		if w.names, err = w.db.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindName}, UpperBound: []byte{kindName + 1}}); err != nil {
			return nil, err
		}
	}
	key := hashKey(&w.key, kindName, h)
	if !w.names.SeekGE(key) || !bytes.Equal(w.names.Key(), key) {
		return nil, errors.Join(fmt.Errorf("counter %x has no name: %w", *h, ErrFormat), w.names.Error())
	}
	return w.names.ValueAndErr()
}

func (w *walker) close() error {
	if w.names == nil {
		return nil
	}
	return w.names.Close()
}

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
