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

	blockWords  = 8 // 64 bytes: a cache line
	pageBlocks  = 64
	pageBytes   = pageBlocks * blockWords * 8 // what is written as one value
	blockKeys   = blockWords * 64 / filterBits
	filterStyle = 1 // says how keys set bits; a filter of another style is made anew
)

// filter is a Bloom filter of 64-byte blocks: a look-up touches one cache line.
// It knows hashes only, as they come: they are uniform already.
type filter struct {
	words []uint64
}

// newFilter has room for so many keys.
func newFilter(keys int) *filter {
	blocks := (keys + blockKeys - 1) / blockKeys
	pages := (blocks + pageBlocks - 1) / pageBlocks
	return &filter{make([]uint64, pages*pageBlocks*blockWords)}
}

// filterBytes is what newFilter takes.
func filterBytes(keys int) int64 {
	blocks := (keys + blockKeys - 1) / blockKeys
	return int64((blocks+pageBlocks-1)/pageBlocks) * pageBytes
}

func (f *filter) bytes() int64 { return int64(len(f.words)) * 8 }

func (f *filter) pages() int { return len(f.words) / (pageBlocks * blockWords) }

// blockOf is the block of a key in a filter of so many blocks: the hash's
// first half, scaled down.
func blockOf(h *Hash, blocks int) int {
	hi, _ := bits.Mul64(binary.LittleEndian.Uint64(h[:]), uint64(blocks))
	return int(hi)
}

func (f *filter) block(h *Hash) []uint64 {
	i := blockOf(h, len(f.words)/blockWords) * blockWords
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

// page encodes one page, little-endian, into b.
func (f *filter) page(b []byte, page int) {
	for i, w := range f.words[page*pageBlocks*blockWords : (page+1)*pageBlocks*blockWords] {
		binary.LittleEndian.PutUint64(b[i*8:], w)
	}
}

// setPage is the reverse.
func (f *filter) setPage(page int, b []byte) {
	for i := range pageBlocks * blockWords {
		f.words[page*pageBlocks*blockWords+i] = binary.LittleEndian.Uint64(b[i*8:])
	}
}

// pageHas is [filter.has] on a page that was read from disk: the one that
// holds the key's block.
func pageHas(page []byte, h *Hash, block int) bool {
	b := page[block%pageBlocks*blockWords*8:]
	for i, x := 0, binary.LittleEndian.Uint64(h[8:]); i < filterProbes; i, x = i+1, x>>9 {
		if b[x>>3&63]&(1<<(x&7)) == 0 {
			return false
		}
	}
	return true
}
