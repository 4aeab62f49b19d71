package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
)

// logs is what a view and the global store have in common: entries by log.
type logs struct {
	db     *state.DB
	newest func(instanceID, bizType string) int64
	key    []byte // the writer's
	sweep  sweeper
}

// Failed is why the store has stopped, or nil. It must then be opened again.
func (s *logs) Failed() error { return s.db.Failed() }

// stage puts an entry into a batch: its record, or, if it is not persistent,
// that its id is given. It reports whether the log should be looked at for
// its threshold.
func (s *logs) stage(b *pebble.Batch, l *Log, a *Accepted) bool {
	id := a.Entry.OplogID
	if a.Entry.NonPersistent {
		s.stageHead(b, l, id)
		return false
	}
	s.key = l.entryKey(s.key[:0], id)
	_ = b.Set(s.key, a.Record, nil)
	n := s.newest(l.InstanceID, l.BizType)
	return n > 0 && id > n && id%(n/8+1) == 0
}

// stageHead notes that ids up to id are given. Ids ascend, so nothing has to be
// compared.
func (s *logs) stageHead(b *pebble.Batch, l *Log, id int64) {
	s.key = l.key(s.key[:0], kindHead)
	_ = b.Set(s.key, binary.AppendUvarint(nil, uint64(id)), nil)
}

// get reads a value, copied; nil if the key is not there.
func (s *logs) get(key []byte) ([]byte, error) {
	v, closer, err := s.db.Pebble().Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	v = append([]byte{}, v...)
	return v, closer.Close()
}

// getID reads a key whose value is an id; 0 if it is not there.
func (s *logs) getID(key []byte) (int64, error) {
	v, closer, err := s.db.Pebble().Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	id, n := binary.Uvarint(v)
	if n != len(v) {
		err = fmt.Errorf("view %s, key %x: value %x is no id", s.db.Dir(), key, v)
	}
	return int64(id), errors.Join(err, closer.Close())
}

// over iterates over the keys with a prefix.
func (s *logs) over(prefix []byte) (*pebble.Iterator, error) {
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	return it, nil
}

// done ends an iteration.
func (s *logs) done(it *pebble.Iterator, err error) error {
	err = errors.Join(err, it.Error(), it.Close())
	if err != nil {
		return fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	return nil
}

// Head is the largest id that the log has been given, as far as the view
// knows; 0 for none.
func (s *logs) Head(l Log) (int64, error) {
	var room [256]byte
	head, err := s.getID(l.key(room[:0], kindHead))
	if err != nil {
		return 0, err
	}
	_, last, err := s.ends(&l)
	return max(head, last), err
}

// First is the smallest id that is retained; 0 for none.
func (s *logs) First(l Log) (int64, error) {
	first, _, err := s.ends(&l)
	return first, err
}

// ends gives the smallest and the largest retained id; 0 for none.
func (s *logs) ends(l *Log) (first, last int64, err error) {
	var room [256]byte
	it, err := s.over(l.key(room[:0], kindEntry))
	if err != nil {
		return 0, 0, err
	}
	if it.First() {
		first = idOf(it.Key())
		it.Last()
		last = idOf(it.Key())
	}
	return first, last, s.done(it, nil)
}

// idOf reads the id that an entry's key ends with.
func idOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

// Read visits the retained entries with after < id <= to in ascending order,
// until visit returns false. The entry aliases memory that is valid only
// during the call, record is what it was decoded from.
func (s *logs) Read(l Log, after, to int64, visit func(e *schemas.Entry, record []byte) bool) error {
	if after >= to {
		return nil
	}
	var room [2][256]byte
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{
		LowerBound: l.entryKey(room[0][:0], after+1), UpperBound: l.entryKey(room[1][:0], to+1),
	})
	if err != nil {
		return fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	var e schemas.Entry
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = e.Decode(value)
		}
		if err != nil {
			return s.done(it, fmt.Errorf("entry %d of %v: %w", idOf(it.Key()), l, err))
		}
		if !visit(&e, value) {
			break
		}
	}
	return s.done(it, nil)
}

// Floor is the largest id of the log that is not among its newest n retained
// entries; 0 if there are no more than n, or n is 0.
func (s *logs) Floor(l Log, n int64) (int64, error) {
	if n <= 0 {
		return 0, nil
	}
	var room [256]byte
	it, err := s.over(l.key(room[:0], kindEntry))
	if err != nil {
		return 0, err
	}
	floor := int64(0)
	if it.First() {
		first := idOf(it.Key())
		it.Last()
		if idOf(it.Key())-first >= n {
			floor = beyond(it, n)
		}
	}
	return floor, s.done(it, nil)
}

// beyond walks back from the last entry over n of them, to the id before.
func beyond(it *pebble.Iterator, n int64) int64 {
	for ; n > 0 && it.Valid(); n-- {
		it.Prev()
	}
	if !it.Valid() {
		return 0
	}
	return idOf(it.Key())
}

// Newest visits the retained entries of a log from the newest on, until visit
// returns false.
func (s *logs) Newest(l Log, visit func(e *schemas.Entry) bool) error {
	var room [256]byte
	it, err := s.over(l.key(room[:0], kindEntry))
	if err != nil {
		return err
	}
	var e schemas.Entry
	for ok := it.Last(); ok; ok = it.Prev() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = e.Decode(value)
		}
		if err != nil {
			return s.done(it, fmt.Errorf("entry %d of %v: %w", idOf(it.Key()), l, err))
		}
		if !visit(&e) {
			break
		}
	}
	return s.done(it, nil)
}

// cloneLog keeps a log whose names alias a record.
func cloneLog(l *Log) Log {
	return Log{strings.Clone(l.InstanceID), strings.Clone(l.Target), strings.Clone(l.BizType)}
}
