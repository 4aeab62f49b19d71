package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Layout of a record batch, format 2.
const (
	batchLength     = 8
	batchMagic      = 16
	batchCRC        = 17
	batchAttributes = 21
	batchLastDelta  = 23
	batchProducer   = 43
	batchCount      = 57
	batchHeader     = 61
)

// Attribute bits of a record batch.
const (
	attrCodec         = 0x07
	attrTransactional = 0x10
	attrControl       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checkBatch says what is wrong with a record batch that the broker would
// store all the same. What the broker checks for itself (length, format, CRC)
// is nil here too: it has the right answer for it.
func (c *codecs) checkBatch(b []byte) error {
	if len(b) < batchHeader || b[batchMagic] != 2 || int(binary.BigEndian.Uint32(b[batchLength:])) != len(b)-12 {
		return nil
	}
	attrs := binary.BigEndian.Uint16(b[batchAttributes:])
	count := int32(binary.BigEndian.Uint32(b[batchCount:]))
	switch {
	case attrs&attrControl != 0:
		return nil
	case attrs&attrTransactional != 0:
		return errors.New("transactions are not supported by the embedded broker")
	case count < 1:
		return fmt.Errorf("a batch of %d records", count)
	case int32(binary.BigEndian.Uint32(b[batchLastDelta:])) != count-1:
		return nil
	}
	if codec := attrs & attrCodec; codec != 0 {
		return c.check(codec, b[batchHeader:], count)
	}
	return checkRecords(b[batchHeader:], count)
}

// checkRecords walks the records of a batch, uncompressed.
func checkRecords(b []byte, count int32) error {
	for i := range count {
		n, w := binary.Varint(b)
		if w <= 0 || n < 0 || n > int64(len(b)-w) {
			return fmt.Errorf("record %d of %d: its length is wrong", i+1, count)
		}
		if err := checkRecord(b[w:w+int(n)], i); err != nil {
			return fmt.Errorf("record %d of %d: %w", i+1, count, err)
		}
		b = b[w+int(n):]
	}
	if len(b) > 0 {
		return fmt.Errorf("%d bytes after the last of %d records", len(b), count)
	}
	return nil
}

var errRecord = errors.New("a field inside is wrong")

func checkRecord(b []byte, i int32) error {
	if len(b) == 0 {
		return errRecord
	}
	b = b[1:] // attributes
	_, w := binary.Varint(b)
	if w <= 0 {
		return errRecord
	}
	b = b[w:]
	delta, w := binary.Varint(b)
	if w <= 0 || delta != int64(i) {
		return errors.New("its offset delta is wrong")
	}
	b = b[w:]
	var ok bool
	for range 2 { // key, value
		if b, ok = skipBytes(b, true); !ok {
			return errRecord
		}
	}
	headers, w := binary.Varint(b)
	if w <= 0 || headers < 0 || headers > int64(len(b)) {
		return errRecord
	}
	b = b[w:]
	for range headers {
		if b, ok = skipBytes(b, false); !ok {
			return errRecord
		}
		if b, ok = skipBytes(b, true); !ok {
			return errRecord
		}
	}
	if len(b) > 0 {
		return errRecord
	}
	return nil
}

// skipBytes passes over bytes after their length, -1 being null.
func skipBytes(b []byte, nullable bool) ([]byte, bool) {
	n, w := binary.Varint(b)
	switch {
	case w <= 0, n < -1, n == -1 && !nullable, n > int64(len(b)-w):
		return nil, false
	case n == -1:
		return b[w:], true
	}
	return b[w+int(n):], true
}

// refuse turns a batch into one that the broker refuses with INVALID_RECORD
// before it looks at the sequence: a control batch. A batch whose CRC is wrong
// stays as it is: damaged on the way, to be sent again.
func refuse(b []byte) {
	if crc32.Checksum(b[batchAttributes:], castagnoli) != binary.BigEndian.Uint32(b[batchCRC:]) {
		return
	}
	b[batchAttributes+1] |= attrControl
	binary.BigEndian.PutUint32(b[batchCRC:], crc32.Checksum(b[batchAttributes:], castagnoli))
}

// producerOf is the batch's producer id, -1 for none.
func producerOf(b []byte) int64 {
	if len(b) < batchHeader {
		return -1
	}
	return int64(binary.BigEndian.Uint64(b[batchProducer:]))
}
