package state

import (
	"encoding/binary"
	"math/bits"
)

const (
	// filterBits per key: with seven probes in one cache line, about one key
	// in 200 that is not there looks as if it were.
	filterBits   = 12
	filterProbes = 7

	blockWords = 8 // 64 bytes: a cache line
	blockKeys  = blockWords * 64 / filterBits
)

// filter is a Bloom filter of 64-byte blocks: a look-up touches one cache line.
// It knows hashes only, as they come: they are uniform already.
type filter struct {
	words []uint64
}

// newFilter has room for so many keys.
func newFilter(keys int) *filter { return &filter{make([]uint64, filterBytes(keys)/8)} }

// filterBytes is what newFilter takes.
func filterBytes(keys int) int64 {
	return int64((keys+blockKeys-1)/blockKeys) * blockWords * 8
}

func (f *filter) bytes() int64 { return int64(len(f.words)) * 8 }

// block is the key's: the hash's first half, scaled down to their number. Keys
// of a page have neighbouring blocks, so that a filter that is made from pages
// is made in order.
func (f *filter) block(h *Hash) []uint64 {
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(h[:]), uint64(len(f.words)/blockWords))
	i := hi * blockWords
	return f.words[i : i+blockWords : i+blockWords]
}

// add puts a key in: seven bits, by nine bits each of the hash's second half.
func (f *filter) add(h *Hash) {
	b := f.block(h)
	for i, x := 0, binary.LittleEndian.Uint64(h[8:]); i < filterProbes; i, x = i+1, x>>9 {
		b[x>>6&7] |= 1 << (x & 63)
	}
}

// has reports whether the key may be in.
func (f *filter) has(h *Hash) bool {
	b := f.block(h)
	for i, x := 0, binary.LittleEndian.Uint64(h[8:]); i < filterProbes; i, x = i+1, x>>9 {
		if b[x>>6&7]&(1<<(x&63)) == 0 {
			return false
		}
	}
	return true
}
