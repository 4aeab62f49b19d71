package embedded

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Layout of a partition's directory: files of record batches as they came over
// the wire, named by their first offset, each with an index beside it.
const (
	segmentSuffix = ".dat"
	indexSuffix   = ".idx"
	snapshotName  = "snapshot.json"
)

// Layout of a record batch, format 2.
const (
	batchOffset    = 0
	batchLength    = 8
	batchEpoch     = 12
	batchCRC       = 17
	batchLastDelta = 23
	batchProducer  = 43
	batchProdEpoch = 51
	batchSequence  = 53
	batchHeader    = 61
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is what a record batch's header says.
type batch struct {
	offset      int64 // of its first record
	records     int32
	leaderEpoch int32
	producer    int64 // -1: none
	epoch       int16
	sequence    int32 // of its first record
}

func (b *batch) end() int64 { return b.offset + int64(b.records) }

// parseBatches reads whole batches with a good CRC from the start of a file,
// up to the first that is not, and says how many bytes they take.
func parseBatches(raw []byte) (batches []batch, size int64) {
	for {
		rest := raw[size:]
		if len(rest) < batchHeader {
			return batches, size
		}
		n := int64(binary.BigEndian.Uint32(rest[batchLength:])) + batchEpoch
		if n < batchHeader || n > int64(len(rest)) {
			return batches, size
		}
		b := rest[:n]
		if crc32.Checksum(b[batchCRC+4:], castagnoli) != binary.BigEndian.Uint32(b[batchCRC:]) {
			return batches, size
		}
		batches = append(batches, batch{
			offset:      int64(binary.BigEndian.Uint64(b[batchOffset:])),
			records:     int32(binary.BigEndian.Uint32(b[batchLastDelta:])) + 1,
			leaderEpoch: int32(binary.BigEndian.Uint32(b[batchEpoch:])),
			producer:    int64(binary.BigEndian.Uint64(b[batchProducer:])),
			epoch:       int16(binary.BigEndian.Uint16(b[batchProdEpoch:])),
			sequence:    int32(binary.BigEndian.Uint32(b[batchSequence:])),
		})
		size += n
	}
}

// segment is one file of a partition.
type segment struct {
	base int64
	path string
	info os.FileInfo
}

// listSegments lists a partition's files in the order of their offsets.
func listSegments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []segment
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		if !ok {
			continue
		}
		base, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			continue // not the broker's
		}
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // trimmed just now
		}
		if err != nil {
			return nil, err
		}
		segs = append(segs, segment{base, filepath.Join(dir, e.Name()), info})
	}
	slices.SortFunc(segs, func(a, b segment) int { return int(min(1, max(-1, a.base-b.base))) })
	return segs, nil
}

// remove deletes the file and its index.
func (s *segment) remove() error {
	err := os.Remove(strings.TrimSuffix(s.path, segmentSuffix) + indexSuffix)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.Remove(s.path)
}

// read parses the file; a torn or damaged tail is cut off.
func (s *segment) read() ([]batch, error) {
	raw, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	batches, size := parseBatches(raw)
	if size < int64(len(raw)) {
		if err := os.Truncate(s.path, size); err != nil {
			return nil, fmt.Errorf("cut the torn tail off: %w", err)
		}
		if s.info, err = os.Stat(s.path); err != nil {
			return nil, err
		}
	}
	return batches, nil
}
