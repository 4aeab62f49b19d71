package state

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// A page is some entries of a bucket, one behind the other, in no order: a
// hash, and the id as a varint. The journal's values have the same form.

// entryLen is how many bytes an entry takes.
func entryLen(id int64) int { return len(Hash{}) + (bits.Len64(uint64(id)|1)+6)/7 }

func appendEntry(b []byte, h *Hash, id int64) []byte {
	b = append(b, h[:]...)
	return binary.AppendUvarint(b, uint64(id))
}

// nextEntry reads the first entry of a page, and gives the rest.
func nextEntry(page []byte) (h *Hash, id int64, rest []byte, err error) {
	if len(page) > len(Hash{}) {
		n, used := binary.Uvarint(page[len(Hash{}):])
		if used > 0 && n > 0 && n <= math.MaxInt64 {
			return (*Hash)(page), int64(n), page[len(Hash{})+used:], nil
		}
	}
	return nil, 0, nil, fmt.Errorf("dedupe entry %x: %w", page[:min(len(page), 32)], ErrFormat)
}

// findInPage looks a key up; 0: it is not there.
func findInPage(page []byte, h *Hash) (int64, error) {
	for len(page) > 0 {
		key, id, rest, err := nextEntry(page)
		if err != nil {
			return 0, err
		}
		if *key == *h {
			return id, nil
		}
		page = rest
	}
	return 0, nil
}

// pageOf is the page of a key in a run of 1<<n pages: the hash's first bits.
func pageOf(h *Hash, n uint8) uint32 {
	return uint32(binary.BigEndian.Uint64(h[:]) >> (64 - n))
}

// eachEntry visits the entries of a page.
func eachEntry(page []byte, visit func(h *Hash, id int64)) error {
	for len(page) > 0 {
		h, id, rest, err := nextEntry(page)
		if err != nil {
			return err
		}
		visit(h, id)
		page = rest
	}
	return nil
}
