package view

import (
	"encoding/binary"
	"fmt"
)

// positionVersion is the first byte of an encoded position.
const positionVersion = 1

const positionLen = 1 + 4*8 + 16 + 1

func (p *Position) append(b []byte) []byte {
	b = append(b, positionVersion)
	for _, n := range []int64{p.Oplog, p.Acks, p.Entry, p.Covered} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, p.Chain[:]...)
	if p.Trusting {
		return append(b, 1)
	}
	return append(b, 0)
}

func (p *Position) decode(b []byte) error {
	if len(b) != positionLen || b[0] != positionVersion {
		return fmt.Errorf("position %x: not one that this release wrote", b)
	}
	for i, to := range []*int64{&p.Oplog, &p.Acks, &p.Entry, &p.Covered} {
		*to = int64(binary.BigEndian.Uint64(b[1+8*i:]))
	}
	copy(p.Chain[:], b[33:])
	p.Trusting = b[49] == 1
	return nil
}
