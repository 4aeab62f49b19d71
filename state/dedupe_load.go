package state

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// load finds the segments of a store that was opened, and brings their filters
// into memory, newest first.
func (d *dedupe) load() error {
	it, err := d.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: []byte{kindDedupe}, UpperBound: []byte{kindDedupe + 1}})
	if err != nil {
		return err
	}
	err = d.loadFrom(it)
	return errors.Join(err, it.Close())
}

func (d *dedupe) loadFrom(it *pebble.Iterator) error {
	for ok := it.First(); ok; ok = it.SeekGE(nextSegment(d.segments[len(d.segments)-1].segmentID)) {
		s, err := readSegment(it)
		if err != nil {
			return err
		}
		d.segments = append(d.segments, s)
	}
	if err := it.Error(); err != nil {
		return err
	}
	for i := len(d.segments) - 1; i >= 0; i-- {
		if err := d.loadFilter(it, d.segments[i]); err != nil {
			return err
		}
		d.total.Add(int64(d.segments[i].keys))
	}
	return nil
}

// readSegment reads the record that the iterator stands at.
func readSegment(it *pebble.Iterator) (*segment, error) {
	id, tag, _, err := parseSegment(it.Key())
	if err != nil {
		return nil, err
	}
	if tag != tagSegment {
		return nil, fmt.Errorf("segment %d of bucket %d has no record: %w", id.number, id.bucket, ErrFormat)
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return nil, err
	}
	s := &segment{segmentID: id}
	return s, s.parse(v)
}

// loadFilter brings a segment's filter into memory: from its pages if they are
// whole and the limit allows, else from its keys.
func (d *dedupe) loadFilter(it *pebble.Iterator, s *segment) error {
	if s.whole {
		if s.sealed && d.memory.Load()+filterBytes(s.capacity) > d.limit {
			return nil
		}
		return d.loadPages(it, s)
	}
	f := newFilter(s.capacity)
	keys := 0
	for ok := it.SeekGE(s.segmentID.key(tagKey)); ok; ok = it.Next() {
		id, _, rest, err := parseSegment(it.Key())
		if err != nil {
			return err
		}
		if id != s.segmentID {
			break
		}
		f.add((*Hash)(rest))
		keys++
	}
	s.keys = keys
	d.setFilter(s, f)
	if s.sealed {
		d.unkept = append(d.unkept, s)
	}
	return it.Error()
}

func (d *dedupe) loadPages(it *pebble.Iterator, s *segment) error {
	f := newFilter(s.capacity)
	ok := it.SeekGE(s.pageKey(&d.page, 0))
	for page := range f.pages() {
		if !ok || string(it.Key()) != string(s.pageKey(&d.page, page)) || len(it.Value()) != pageBytes {
			return errors.Join(fmt.Errorf("segment %d of bucket %d: page %d of its filter is missing: %w", s.number, s.bucket, page, ErrFormat), it.Error())
		}
		f.setPage(page, it.Value())
		ok = it.Next()
	}
	d.setFilter(s, f)
	return it.Error()
}
