package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// Sizes of a segment, in keys. The first of a bucket is small, each further
// one twice as large, so that neither few keys cost much memory nor many keys
// make many segments to ask.
const (
	segmentKeysMin = 64 << 10
	segmentKeysMax = 4 << 20
	// pagesPerApply bounds what a batch carries of filters that are to be kept.
	pagesPerApply = 8
)

// dedupe is the dedupe keys of a task: an index of their segments.
//
// A bucket of time is cut into segments, in the order in which keys came. Each
// has a filter, so that a key that is not there, which is nearly always the
// case, costs one cache line per segment and no look-up. A segment that is full
// is sealed: its keys do not change any more, and its filter is written beside
// them. A filter on disk is believed only if the segment's record says that it
// is whole, and that is written after the filter's last page and taken back in
// the batch that adds the next key. Pebble loses only newest batches, so a
// filter that is believed is never behind its keys.
//
// Over the memory limit the oldest filters stay on disk, and one page of them
// is read instead.
type dedupe struct {
	db      *DB
	limit   int64
	keysMin int          // keys of a bucket's first segment
	memory  atomic.Int64 // bytes of filters

	segments []*segment // in order
	unkept   []*segment // sealed, and their filters are not on disk yet

	key  [dedupeKeyLen]byte
	page [pageKeyLen]byte
	buf  []byte

	// For [Task.Stats], which another goroutine may call.
	total          atomic.Int64
	falsePositives atomic.Int64
	diskPages      atomic.Int64
}

// segment is one run of keys.
type segment struct {
	segmentID
	capacity int
	keys     int
	sealed   bool
	whole    bool    // the filter on disk is that of the keys
	filter   *filter // nil: on disk only
	pages    int     // of the filter, written since it was sealed
}

func (s *segment) record() []byte {
	b := []byte{flag(s.sealed), flag(s.whole), filterStyle}
	b = binary.AppendUvarint(b, uint64(s.capacity))
	return binary.AppendUvarint(b, uint64(s.keys))
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// parse reads a record. Keys are exact if the filter is whole, or as of the
// segment's beginning.
func (s *segment) parse(v []byte) error {
	bad := fmt.Errorf("segment %d of bucket %d: record %x: %w", s.number, s.bucket, v, ErrFormat)
	if len(v) < 5 || v[0] > 1 || v[1] > 1 {
		return bad
	}
	s.sealed, s.whole = v[0] == 1, v[1] == 1 && v[2] == filterStyle
	capacity, n := binary.Uvarint(v[3:])
	if n <= 0 || capacity == 0 || capacity > 1<<31 {
		return bad
	}
	keys, m := binary.Uvarint(v[3+n:])
	if m <= 0 || 3+n+m != len(v) || keys > 1<<40 {
		return bad
	}
	s.capacity, s.keys = int(capacity), int(keys)
	return nil
}

// find looks a key up in the buckets from oldest to newest, newest first.
func (d *dedupe) find(h *Hash, oldest, newest int64) (int64, error) {
	for i := len(d.segments) - 1; i >= 0; i-- {
		s := d.segments[i]
		if int64(s.bucket) > newest {
			continue
		}
		if int64(s.bucket) < oldest {
			break
		}
		if s.filter != nil && !s.filter.has(h) {
			continue
		}
		if id, err := d.probe(s, h); id != 0 || err != nil {
			return id, err
		}
	}
	return 0, nil
}

// probe looks a key up in a segment that may have it.
func (d *dedupe) probe(s *segment, h *Hash) (int64, error) {
	if s.filter == nil {
		if has, err := d.diskHas(s, h); !has {
			return 0, err
		}
	}
	v, closer, err := d.db.get(s.dedupeKey(&d.key, h))
	if err != nil {
		return 0, err
	}
	if closer == nil {
		d.falsePositives.Add(1)
		return 0, nil
	}
	id, err := parseID(v)
	return id, errors.Join(err, closer.Close())
}

// diskHas is the filter's answer when it is on disk only.
func (d *dedupe) diskHas(s *segment, h *Hash) (bool, error) {
	block := blockOf(h, int(filterBytes(s.capacity)/(blockWords*8)))
	d.diskPages.Add(1)
	v, closer, err := d.db.get(s.pageKey(&d.page, block/pageBlocks))
	if err != nil {
		return false, err
	}
	if closer == nil || len(v) != pageBytes {
		return false, fmt.Errorf("segment %d of bucket %d: page %d of its filter has %d bytes: %w", s.number, s.bucket, block/pageBlocks, len(v), ErrFormat)
	}
	has := pageHas(v, h, block)
	return has, closer.Close()
}

// put stages a key.
func (d *dedupe) put(b *pebble.Batch, p *DedupePut) error {
	s, err := d.open(b, uint32(p.Bucket))
	if err != nil {
		return err
	}
	if s.whole { // not any more: see dedupe
		s.whole = false
		d.save(b, s)
	}
	s.filter.add(&p.Key)
	s.keys++
	d.total.Add(1)
	var id [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(id[:], uint64(p.ID))
	op := b.SetDeferred(dedupeKeyLen, n)
	s.put(op.Key, tagKey)
	copy(op.Key[segmentKeyLen:], p.Key[:])
	copy(op.Value, id[:n])
	return op.Finish()
}

func (s *segment) put(key []byte, tag byte) { s.segmentID.put(key, tag) }

// open gives the segment that takes a bucket's next key.
func (d *dedupe) open(b *pebble.Batch, bucket uint32) (*segment, error) {
	var last *segment
	for i := len(d.segments) - 1; i >= 0 && d.segments[i].bucket >= bucket; i-- {
		if d.segments[i].bucket == bucket {
			last = d.segments[i]
			break
		}
	}
	if last != nil && !last.sealed {
		if last.keys < last.capacity {
			return last, nil
		}
		d.seal(b, last)
	}
	next := segmentID{bucket: bucket}
	if last != nil {
		if last.number == math.MaxUint16 {
			return nil, fmt.Errorf("state: dedupe bucket %d has %d segments, which is all it can have", bucket, 1<<16)
		}
		next.number = last.number + 1
	}
	return d.begin(b, next), nil
}

// begin starts a segment. What is open in older buckets will hardly get
// another key.
func (d *dedupe) begin(b *pebble.Batch, id segmentID) *segment {
	for _, s := range d.segments {
		if s.bucket < id.bucket && !s.sealed {
			d.seal(b, s)
		}
	}
	keys := min(d.keysMin<<min(id.number, 16), segmentKeysMax)
	for keys > d.keysMin && filterBytes(keys) > d.limit/4 {
		keys /= 2
	}
	s := &segment{segmentID: id, capacity: keys}
	d.makeRoom(filterBytes(keys))
	d.setFilter(s, newFilter(keys))
	d.insert(s)
	d.save(b, s)
	return s
}

func (d *dedupe) insert(s *segment) {
	i, _ := slices.BinarySearchFunc(d.segments, s.segmentID, func(a *segment, id segmentID) int {
		if a.before(id) {
			return -1
		}
		return 1
	})
	d.segments = slices.Insert(d.segments, i, s)
}

func (d *dedupe) seal(b *pebble.Batch, s *segment) {
	s.sealed, s.pages = true, 0
	d.save(b, s)
	if !s.whole {
		d.unkept = append(d.unkept, s)
	}
}

func (d *dedupe) save(b *pebble.Batch, s *segment) {
	_ = b.Set(s.segmentID.key(tagSegment), s.record(), nil)
}

// setFilter keeps the sum of memory right.
func (d *dedupe) setFilter(s *segment, f *filter) {
	if s.filter != nil {
		d.memory.Add(-s.filter.bytes())
	}
	if f != nil {
		d.memory.Add(f.bytes())
	}
	s.filter = f
}

// makeRoom forgets the oldest filters that are on disk.
func (d *dedupe) makeRoom(need int64) {
	for _, s := range d.segments {
		if d.memory.Load()+need <= d.limit {
			return
		}
		if s.sealed && s.whole && s.filter != nil {
			d.setFilter(s, nil)
		}
	}
}

// keep stages some pages of filters that are not on disk yet.
func (d *dedupe) keep(b *pebble.Batch, pages int) {
	for len(d.unkept) > 0 && pages > 0 {
		s := d.unkept[0]
		for ; pages > 0 && s.pages < s.filter.pages(); s.pages++ {
			d.keepPage(b, s, s.pages)
			pages--
		}
		if s.pages < s.filter.pages() {
			return
		}
		s.whole = true
		d.save(b, s)
		d.unkept = d.unkept[1:]
		d.makeRoom(0)
	}
}

func (d *dedupe) keepPage(b *pebble.Batch, s *segment, page int) {
	op := b.SetDeferred(pageKeyLen, pageBytes)
	s.pageKey(&d.page, page)
	copy(op.Key, d.page[:])
	s.filter.page(op.Value, page)
	_ = op.Finish() // fails for indexed batches only
}

// keepAll writes every filter that is not on disk, before the store is closed,
// so that the next start need not read the keys.
func (d *dedupe) keepAll() error {
	for _, s := range d.segments {
		if s.whole || s.filter == nil {
			continue
		}
		b := d.db.Pebble().NewBatch()
		for page := range s.filter.pages() {
			d.keepPage(b, s, page)
			if b.Len() > 1<<20 {
				if err := d.db.Commit(b, false); err != nil {
					return err
				}
				b = d.db.Pebble().NewBatch()
			}
		}
		s.whole = true
		d.save(b, s)
		if err := d.db.Commit(b, false); err != nil {
			return err
		}
	}
	return nil
}

// expire stages the removal of the buckets before one: a range for each, which
// ends with the bucket's last segment. Tables end where segments do, so a range
// to the bucket's end would make a table for each segment that there could be.
func (d *dedupe) expire(b *pebble.Batch, before int64) {
	n, first := 0, 0
	for ; n < len(d.segments) && int64(d.segments[n].bucket) < before; n++ {
		s := d.segments[n]
		if n+1 == len(d.segments) || d.segments[n+1].bucket != s.bucket {
			_ = b.DeleteRange(d.segments[first].start(), nextSegment(s.segmentID), nil)
			first = n + 1
		}
	}
	gone := d.segments[:n]
	d.unkept = slices.DeleteFunc(d.unkept, func(s *segment) bool { return slices.Contains(gone, s) })
	for _, s := range gone {
		d.setFilter(s, nil)
		d.total.Add(-int64(s.keys))
	}
	d.segments = slices.Delete(d.segments, 0, n)
}
