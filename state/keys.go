package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/tidemarkio/tidemark/schemas"
)

// The first byte of a key is its kind. README.md draws them all.
const (
	kindCounter = 'c'
	kindDedupe  = 'd'
	kindMeta    = 'm'
	kindSetting = 's'
)

// What stands behind bucket and segment in a dedupe key.
const (
	tagSegment = 0 // the segment's record
	tagPage    = 1 // a page of its filter
	tagKey     = 2 // a dedupe key
)

const (
	segmentKeyLen = 1 + 4 + 2 + 1
	pageKeyLen    = segmentKeyLen + 4
	dedupeKeyLen  = segmentKeyLen + len(Hash{})
)

var errKey = errors.New("not a key of this layout")

// segmentID names a segment of the dedupe keys.
type segmentID struct {
	bucket uint32
	number uint16
}

func (s segmentID) before(t segmentID) bool {
	return s.bucket < t.bucket || s.bucket == t.bucket && s.number < t.number
}

// put writes the key's head; b has room for it.
func (s segmentID) put(b []byte, tag byte) {
	b[0] = kindDedupe
	binary.BigEndian.PutUint32(b[1:], s.bucket)
	binary.BigEndian.PutUint16(b[5:], s.number)
	b[7] = tag
}

func (s segmentID) key(tag byte) []byte {
	b := make([]byte, segmentKeyLen)
	s.put(b, tag)
	return b
}

func (s segmentID) pageKey(b *[pageKeyLen]byte, page int) []byte {
	s.put(b[:], tagPage)
	binary.BigEndian.PutUint32(b[segmentKeyLen:], uint32(page))
	return b[:]
}

func (s segmentID) dedupeKey(b *[dedupeKeyLen]byte, h *Hash) []byte {
	s.put(b[:], tagKey)
	copy(b[segmentKeyLen:], h[:])
	return b[:]
}

// parseSegment reads the head of a dedupe key, and gives the rest.
func parseSegment(key []byte) (id segmentID, tag byte, rest []byte, err error) {
	if len(key) < segmentKeyLen || key[0] != kindDedupe {
		return id, 0, nil, fmt.Errorf("dedupe key %x: %w", key, errKey)
	}
	id = segmentID{binary.BigEndian.Uint32(key[1:]), binary.BigEndian.Uint16(key[5:])}
	tag, rest = key[7], key[segmentKeyLen:]
	ok := false
	switch tag {
	case tagSegment:
		ok = len(rest) == 0
	case tagPage:
		ok = len(rest) == pageKeyLen-segmentKeyLen
	case tagKey:
		ok = len(rest) == len(Hash{})
	}
	if !ok {
		return id, 0, nil, fmt.Errorf("dedupe key %x: %w", key, errKey)
	}
	return id, tag, rest, nil
}

// start is where the segment's keys begin; that of the next is where they end.
func (s segmentID) start() []byte { return s.key(0)[:segmentKeyLen-1] }

// nextSegment is where the keys behind a segment's begin.
func nextSegment(s segmentID) []byte {
	s.number++
	if s.number == 0 {
		s.bucket++
		if s.bucket == 0 {
			return []byte{kindDedupe + 1}
		}
	}
	return s.start()
}

// spanEnd says where the table that starts with key must end, so that tables
// do not mix kinds or segments: a segment that is full is then never written
// again by compactions of newer keys, and an expired bucket is whole tables.
func spanEnd(key []byte) []byte {
	switch {
	case len(key) == 0 || key[0] < kindCounter:
		return []byte{kindCounter}
	case key[0] == kindDedupe:
		var head [segmentKeyLen - 1]byte
		copy(head[:], key)
		return nextSegment(segmentID{binary.BigEndian.Uint32(head[1:]), binary.BigEndian.Uint16(head[5:])})
	case key[0] < kindSetting:
		return []byte{key[0] + 1}
	}
	return nil
}

// counterKey is the store's key of a counter.
func counterKey(b, key []byte) []byte {
	b = append(b[:0], kindCounter)
	return append(b, key...)
}

// appendCounter is a counter's value. A request offset is at least -1.
func appendCounter(b []byte, id, position int64) []byte {
	b = binary.AppendUvarint(b, uint64(id))
	return binary.AppendUvarint(b, uint64(position+1))
}

func parseCounter(v []byte) (id, position int64, err error) {
	a, n := binary.Uvarint(v)
	if n > 0 {
		p, m := binary.Uvarint(v[n:])
		if m > 0 && n+m == len(v) && a <= math.MaxInt64 && p <= math.MaxInt64 {
			return int64(a), int64(p) - 1, nil
		}
	}
	return 0, 0, fmt.Errorf("counter value %x: %w", v, ErrFormat)
}

// parseID reads the value of a dedupe key.
func parseID(v []byte) (int64, error) {
	id, n := binary.Uvarint(v)
	if n <= 0 || n != len(v) || id == 0 || id > math.MaxInt64 {
		return 0, fmt.Errorf("dedupe value %x: %w", v, ErrFormat)
	}
	return int64(id), nil
}

// Settings keys are an instance, or an instance and a business. Names are
// ended so that keys sort as the names do and no name is the beginning of
// another: a zero byte in a name is 00 FF, the end is 00 01.
func instanceKey(b []byte, instanceID string) []byte {
	return appendName(append(b[:0], kindSetting), instanceID)
}

func syncKey(b []byte, instanceID, bizType string) []byte {
	return appendName(instanceKey(b, instanceID), bizType)
}

func appendName(b []byte, name string) []byte {
	for {
		i := strings.IndexByte(name, 0)
		if i < 0 {
			b = append(b, name...)
			return append(b, 0, 1)
		}
		b = append(b, name[:i]...)
		b = append(b, 0, 0xFF)
		name = name[i+1:]
	}
}

func parseName(b []byte) (name string, rest []byte, err error) {
	var out []byte
	for {
		i := bytes.IndexByte(b, 0)
		if i < 0 || i+1 == len(b) {
			return "", nil, errKey
		}
		out = append(out, b[:i]...)
		end := b[i+1]
		b = b[i+2:]
		switch end {
		case 1:
			return string(out), b, nil
		case 0xFF:
			out = append(out, 0)
		default:
			return "", nil, errKey
		}
	}
}

// parseSetting reads a settings key: of an instance, or of a business.
func parseSetting(key []byte) (instanceID, bizType string, sync bool, err error) {
	if len(key) == 0 || key[0] != kindSetting {
		return "", "", false, fmt.Errorf("settings key %x: %w", key, errKey)
	}
	instanceID, rest, err := parseName(key[1:])
	if err == nil && len(rest) > 0 {
		sync = true
		bizType, rest, err = parseName(rest)
		if err == nil && len(rest) > 0 {
			err = errKey
		}
	}
	if err != nil {
		return "", "", false, fmt.Errorf("settings key %x: %w", key, err)
	}
	return instanceID, bizType, sync, nil
}

// settingsEnd is where the keys of an instance's settings end.
func settingsEnd(instanceID string) []byte {
	b := instanceKey(nil, instanceID)
	b[len(b)-1]++
	return b
}

var (
	keyPosition = []byte{kindMeta, 'p', 'o', 's', 'i', 't', 'i', 'o', 'n'}
	keyRestore  = []byte{kindMeta, 'r', 'e', 's', 't', 'o', 'r', 'e'}
)

// positionVersion is the first byte of a position.
const positionVersion = 1

const positionLen = 1 + 8*3 + schemas.ChainLen + 8*3 + 8

// stand is a position with what else is counted at it.
type stand struct {
	Position
	counters int64 // how many there are
}

func (s *stand) append(b []byte) []byte {
	b = append(b, positionVersion)
	for _, n := range []int64{s.Request, s.OplogOffset, s.Entry} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, s.Chain[:]...)
	for _, n := range []int64{s.StreamTime, s.Revision, s.Rules, s.counters} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func (s *stand) parse(v []byte) error {
	if len(v) != positionLen || v[0] != positionVersion {
		return fmt.Errorf("position %x: %w", v, ErrFormat)
	}
	v = v[1:]
	next := func() int64 {
		n := int64(binary.BigEndian.Uint64(v))
		v = v[8:]
		return n
	}
	s.Request, s.OplogOffset, s.Entry = next(), next(), next()
	v = v[copy(s.Chain[:], v):]
	s.StreamTime, s.Revision, s.Rules, s.counters = next(), next(), next(), next()
	return nil
}
