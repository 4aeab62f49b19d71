package main

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/state"
)

// filtered is the flat layout behind own Bloom filters of 12 bits a key. They
// are as large as the keys in the end need: a real one would have to grow.
type filtered struct {
	*flat
	filters map[int64]bloom
}

// filterKeys is for how many keys a bucket's filter is made.
var filterKeys int64

func openFiltered(s *state.Shared, dir string) (store, error) {
	f, err := openFlat(s, dir, false, false)
	if err != nil {
		return nil, err
	}
	l := &filtered{flat: f.(*flat), filters: make(map[int64]bloom)}
	return l, l.load()
}

// load reads all keys.
func (l *filtered) load() (err error) {
	it, err := l.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: []byte{'d'}, UpperBound: []byte{'d' + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		k := it.Key()
		l.filter(int64(binary.BigEndian.Uint64(k[1:]))).add((*state.Hash)(k[9:]))
	}
	return it.Error()
}

func (l *filtered) filter(bucket int64) bloom {
	b := l.filters[bucket]
	if b == nil {
		b = make(bloom, (filterKeys*12/512+1)*8)
		l.filters[bucket] = b
	}
	return b
}

func (l *filtered) put(bucket int64, keys []state.Hash, firstID int64) error {
	f := l.filter(bucket)
	for i := range keys {
		f.add(&keys[i])
	}
	return l.flat.put(bucket, keys, firstID)
}

func (l *filtered) find(key state.Hash, oldest, newest int64) (int64, error) {
	for b := newest; b >= oldest; b-- {
		if f := l.filters[b]; f == nil || !f.has(&key) {
			continue
		}
		if id, err := l.one(l.fill(b, &key)); id != 0 || err != nil {
			return id, err
		}
	}
	return 0, nil
}

func (l *filtered) expire(before int64) error {
	for b := range l.filters {
		if b < before {
			delete(l.filters, b)
		}
	}
	return l.flat.expire(before)
}

func (l *filtered) memory() (n int64) {
	for _, f := range l.filters {
		n += int64(len(f)) * 8
	}
	return n
}

// bloom is a filter of blocks of a cache line, with seven probes.
type bloom []uint64

func (f bloom) block(h *state.Hash) bloom {
	i, _ := bits.Mul64(binary.LittleEndian.Uint64(h[:]), uint64(len(f)/8))
	return f[i*8 : i*8+8]
}

func (f bloom) add(h *state.Hash) {
	b := f.block(h)
	for i, x := 0, binary.LittleEndian.Uint64(h[8:]); i < 7; i, x = i+1, x>>9 {
		b[x>>6&7] |= 1 << (x & 63)
	}
}

func (f bloom) has(h *state.Hash) bool {
	b := f.block(h)
	for i, x := 0, binary.LittleEndian.Uint64(h[8:]); i < 7; i, x = i+1, x>>9 {
		if b[x>>6&7]&(1<<(x&63)) == 0 {
			return false
		}
	}
	return true
}
