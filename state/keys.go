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
	kindName    = 'n'
	kindSetting = 's'
)

// What stands behind the bucket in a dedupe key.
const (
	tagRecord  = 'b' // the bucket's runs
	tagJournal = 'j' // keys of one batch
	tagPage    = 'p' // a page of a run
)

const (
	bucketKeyLen  = 1 + 4
	recordKeyLen  = bucketKeyLen + 1
	journalKeyLen = bucketKeyLen + 1 + 4
	pageKeyLen    = bucketKeyLen + 1 + 4 + 4
)

var errKey = errors.New("not a key of this layout")

// dedupeKey is a dedupe key, taken apart.
type dedupeKey struct {
	bucket    uint32
	tag       byte
	entry     uint32 // tagJournal
	run, page uint32 // tagPage
}

func parseDedupe(key []byte) (k dedupeKey, err error) {
	if len(key) < recordKeyLen || key[0] != kindDedupe {
		return k, fmt.Errorf("dedupe key %x: %w", key, errKey)
	}
	k.bucket, k.tag = binary.BigEndian.Uint32(key[1:]), key[bucketKeyLen]
	switch rest := key[recordKeyLen:]; {
	case k.tag == tagJournal && len(key) == journalKeyLen:
		k.entry = binary.BigEndian.Uint32(rest)
	case k.tag == tagPage && len(key) == pageKeyLen:
		k.run, k.page = binary.BigEndian.Uint32(rest), binary.BigEndian.Uint32(rest[4:])
	case k.tag == tagRecord && len(key) == recordKeyLen:
	default:
		return k, fmt.Errorf("dedupe key %x: %w", key, errKey)
	}
	return k, nil
}

// bucketKey is where a bucket's keys begin; that of the next is where they end.
func bucketKey(bucket int64) []byte {
	if bucket > math.MaxUint32 {
		return []byte{kindDedupe + 1}
	}
	return binary.BigEndian.AppendUint32([]byte{kindDedupe}, uint32(bucket))
}

func recordKey(bucket uint32) []byte { return append(bucketKey(int64(bucket)), tagRecord) }

// putJournalKey and putPageKey write into keys that have their length.
func putJournalKey(key []byte, bucket, entry uint32) {
	key[0], key[bucketKeyLen] = kindDedupe, tagJournal
	binary.BigEndian.PutUint32(key[1:], bucket)
	binary.BigEndian.PutUint32(key[recordKeyLen:], entry)
}

func putPageKey(key []byte, bucket, run, page uint32) {
	key[0], key[bucketKeyLen] = kindDedupe, tagPage
	binary.BigEndian.PutUint32(key[1:], bucket)
	binary.BigEndian.PutUint32(key[recordKeyLen:], run)
	binary.BigEndian.PutUint32(key[recordKeyLen+4:], page)
}

func pageKey(b *[pageKeyLen]byte, bucket, run, page uint32) []byte {
	putPageKey(b[:], bucket, run, page)
	return b[:]
}

// spanEnd says where the table that starts with key must end. Tables do not mix
// kinds, nor runs: a run that is written has no table in common with a later
// one, so Pebble never has to write it again, and one that is removed is whole
// tables, which go without being read.
func spanEnd(key []byte) []byte {
	switch {
	case len(key) == 0 || key[0] < kindCounter:
		return []byte{kindCounter}
	case key[0] == kindDedupe:
		var k [pageKeyLen]byte
		copy(k[:], key)
		bucket := binary.BigEndian.Uint32(k[1:])
		switch tag := k[bucketKeyLen]; {
		case tag < tagPage:
			return append(bucketKey(int64(bucket)), tagPage)
		case tag == tagPage:
			return runEnd(bucket, binary.BigEndian.Uint32(k[recordKeyLen:]))
		}
		return bucketKey(int64(bucket) + 1)
	case key[0] < kindSetting:
		return []byte{key[0] + 1}
	}
	return nil
}

// runKey is where the pages of a run begin.
func runKey(bucket, run uint32) []byte {
	return binary.BigEndian.AppendUint32(append(bucketKey(int64(bucket)), tagPage), run)
}

// runEnd is where they end.
func runEnd(bucket, run uint32) []byte {
	if run == math.MaxUint32 {
		return bucketKey(int64(bucket) + 1)
	}
	return runKey(bucket, run+1)
}

// hashKeyLen is the length of keys of counters and of their names.
const hashKeyLen = 1 + len(Hash{})

func hashKey(b *[hashKeyLen]byte, kind byte, h *Hash) []byte {
	b[0] = kind
	copy(b[1:], h[:])
	return b[:]
}

func parseHash(kind byte, key []byte) (*Hash, error) {
	if len(key) != hashKeyLen || key[0] != kind {
		return nil, fmt.Errorf("key %x of kind %c: %w", key, kind, errKey)
	}
	return (*Hash)(key[1:]), nil
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
