package sim

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/zeebo/xxh3"
)

// The simulator reads and writes entries with code of its own, so that a
// mistake in the codec cannot hide itself. It follows schemas/tidemark.proto
// and nothing else.

// fields is an entry as the model wants it, by field number.
type fields struct {
	text map[int]string
	ints map[int]int64
}

// Field numbers of OplogEntry.
const (
	fieldInstance = 1
	fieldBiz      = 2
	fieldLink     = 3
	fieldThirdMsg = 4
	fieldPayload  = 5
	fieldBinary   = 6
	fieldOS       = 7
	fieldMin      = 8
	fieldMax      = 9
	fieldValid    = 10
	fieldScope    = 11
	fieldID       = 12
	fieldRequest  = 13
	fieldPrev     = 14
	fieldRevision = 15
	fieldTime     = 16
	fieldFleeting = 17
	fieldChain    = 30
)

// chainTail is the length of a record's last field.
const chainTail = 19

// encode writes the fields in ascending order, defaults left out.
func (f *fields) encode() []byte {
	var b []byte
	for num := 1; num < fieldChain; num++ {
		if s := f.text[num]; s != "" {
			b = binary.AppendUvarint(b, uint64(num)<<3|2)
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
		if v := f.ints[num]; v != 0 {
			b = binary.AppendUvarint(b, uint64(num)<<3)
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b
}

// link appends the chain to canonical bytes and gives its new value.
func link(canonical []byte, prev [16]byte) (record []byte, next [16]byte) {
	next = xxh3.Hash128(slices.Concat(prev[:], canonical)).Bytes()
	record = binary.AppendUvarint(slices.Clone(canonical), fieldChain<<3|2)
	record = append(record, 16)
	return append(record, next[:]...), next
}

// entry is what a reader needs of a record of the oplog.
type entry struct {
	instance, biz, linkToken, thirdMsg string
	id, request, prev                  int64
	chain                              [16]byte
	canonical                          []byte
}

func parse(record []byte) (entry, error) {
	var e entry
	if len(record) < chainTail {
		return e, fmt.Errorf("record of %d bytes", len(record))
	}
	e.canonical = record[:len(record)-chainTail]
	copy(e.chain[:], record[len(record)-16:])
	for b := e.canonical; len(b) > 0; {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return e, fmt.Errorf("bad tag")
		}
		b = b[n:]
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return e, fmt.Errorf("bad value of field %d", tag>>3)
		}
		b = b[n:]
		if tag&7 == 0 {
			e.setInt(int(tag>>3), int64(v))
			continue
		}
		if tag&7 != 2 || uint64(len(b)) < v {
			return e, fmt.Errorf("field %d: wire type %d, length %d of %d", tag>>3, tag&7, v, len(b))
		}
		e.setText(int(tag>>3), string(b[:v]))
		b = b[v:]
	}
	return e, nil
}

func (e *entry) setInt(num int, v int64) {
	switch num {
	case fieldID:
		e.id = v
	case fieldRequest:
		e.request = v
	case fieldPrev:
		e.prev = v
	}
}

func (e *entry) setText(num int, s string) {
	switch num {
	case fieldInstance:
		e.instance = s
	case fieldBiz:
		e.biz = s
	case fieldLink:
		e.linkToken = s
	case fieldThirdMsg:
		e.thirdMsg = s
	}
}
