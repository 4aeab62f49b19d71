package state

import "encoding/binary"

// table holds a bucket's newest keys in memory, exactly: an open-addressed
// index over entries in the order in which they came.
type table struct {
	entries []entry
	slots   []uint32 // index + 1 of an entry; 0: free
}

type entry struct {
	key Hash
	id  int64
}

const tableSlotsMin = 1 << 8

func newTable() *table { return &table{slots: make([]uint32, tableSlotsMin)} }

func (t *table) len() int { return len(t.entries) }

// slot finds the key's slot, or the free one where it belongs.
func (t *table) slot(h *Hash) int {
	mask := len(t.slots) - 1
	i := int(binary.LittleEndian.Uint64(h[8:])) & mask
	for t.slots[i] != 0 && t.entries[t.slots[i]-1].key != *h {
		i = (i + 1) & mask
	}
	return i
}

// find gives the key's id; 0: it is not there.
func (t *table) find(h *Hash) int64 {
	if i := t.slots[t.slot(h)]; i != 0 {
		return t.entries[i-1].id
	}
	return 0
}

// put adds a key, or gives it another id.
func (t *table) put(h *Hash, id int64) {
	i := t.slot(h)
	if n := t.slots[i]; n != 0 {
		t.entries[n-1].id = id
		return
	}
	t.entries = append(t.entries, entry{*h, id})
	t.slots[i] = uint32(len(t.entries))
	if len(t.entries) > len(t.slots)/2 {
		t.grow()
	}
}

func (t *table) grow() {
	t.slots = make([]uint32, 2*len(t.slots))
	for i := range t.entries {
		t.slots[t.slot(&t.entries[i].key)] = uint32(i + 1)
	}
}

// reset empties the table and keeps its memory.
func (t *table) reset() {
	t.entries = t.entries[:0]
	clear(t.slots)
}
