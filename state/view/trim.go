package view

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidemarkio/tidemark/schemas"
)

// trimGrown cuts the logs that the last batch made longer than their threshold
// by an eighth. If a crash comes before, the next push or the sweep does it.
func (v *View) trimGrown() error {
	for l := range v.grown {
		if err := v.trim(l); err != nil {
			return err
		}
	}
	clear(v.grown)
	return nil
}

// trim deletes what is beyond a log's threshold.
func (s *logs) trim(l Log) error {
	floor, err := s.Floor(l, s.newest(l.InstanceID, l.BizType))
	if err != nil || floor == 0 {
		return err
	}
	var room [2][256]byte
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{
		LowerBound: l.entryKey(room[0][:0], 0), UpperBound: l.entryKey(room[1][:0], floor+1),
	})
	if err != nil {
		return fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	b := s.db.Pebble().NewBatch()
	for ok := it.First(); ok; ok = it.Next() {
		_ = b.Delete(it.Key(), nil)
	}
	if err := s.done(it, nil); err != nil {
		b.Close()
		return err
	}
	return s.db.Commit(b, false)
}

// sweeper goes through a store slowly, again and again, and deletes what has
// expired. An index by expiry would cost a second key for every entry; reading
// the store through once a day costs next to nothing.
type sweeper struct {
	at []byte // where the next Sweep begins
}

// Swept is what a [View.Sweep] did.
type Swept struct {
	Keys    int  // looked at
	Deleted int  // entries and counters
	Round   bool // the end was reached: the next begins anew
}

// Sweep looks at up to n keys, from where the last one stopped, and deletes the
// entries whose validity has ended at now (epoch ms) or that are beyond their
// log's threshold, and the counters that statistics no longer look at.
func (v *View) Sweep(now int64, n int) (Swept, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sweepSome(now, n)
}

// sweepSome does the work of a Sweep. It begins with kindEntry and ends behind
// kindStats; what lies between is passed over.
func (s *logs) sweepSome(now int64, n int) (Swept, error) {
	if s.sweep.at == nil {
		s.sweep.at = []byte{kindEntry}
	}
	it, err := s.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: s.sweep.at, UpperBound: []byte{kindStats + 1}})
	if err != nil {
		return Swept{}, fmt.Errorf("read view %s: %w", s.db.Dir(), err)
	}
	w := sweepWork{logs: s, it: it, b: s.db.Pebble().NewBatch(), now: now, first: firstHour(now)}
	ok := it.First()
	for ; ok && w.done.Keys < n && w.err == nil; ok = w.next() {
		w.look()
	}
	w.leaveLog(ok)
	s.sweep.at = nil
	if ok {
		s.sweep.at = bytes.Clone(it.Key())
	}
	w.done.Round = !ok
	if err := s.done(it, w.err); err != nil {
		w.b.Close()
		return w.done, err
	}
	return w.done, s.db.Commit(w.b, false)
}

// sweepWork is one Sweep.
type sweepWork struct {
	*logs
	it    *pebble.Iterator
	b     *pebble.Batch
	now   int64
	first int64 // hour that statistics begin with
	done  Swept
	err   error

	log     Log    // that the iterator is in
	prefix  []byte // of its entries' keys; nil: none
	floor   int64
	dropped int64 // the id, if the last entry looked at was deleted; else 0
}

// look decides about the key that the iterator stands on.
func (w *sweepWork) look() {
	w.done.Keys++
	switch key := w.it.Key(); key[0] {
	case kindEntry:
		w.entry(key)
	case kindStats:
		if len(key) > 4 && int64(binary.BigEndian.Uint32(key[len(key)-4:])) < w.first-1 {
			w.delete(key)
		}
	}
}

// next goes to the next key that can be of interest.
func (w *sweepWork) next() bool {
	if k := w.it.Key()[0]; k != kindEntry && k != kindStats {
		return w.it.SeekGE([]byte{kindStats})
	}
	return w.it.Next()
}

func (w *sweepWork) delete(key []byte) {
	w.done.Deleted++
	_ = w.b.Delete(key, nil)
}

func (w *sweepWork) entry(key []byte) {
	if w.prefix == nil || !bytes.HasPrefix(key, w.prefix) || len(key) != len(w.prefix)+8 {
		if w.enterLog(key); w.err != nil {
			return
		}
	}
	var e schemas.Entry
	id := idOf(key)
	value, err := w.it.ValueAndErr()
	if err == nil {
		err = e.Decode(value)
	}
	if err != nil {
		w.err = fmt.Errorf("entry %d of %v: %w", id, w.log, err)
		return
	}
	w.dropped = 0
	if id <= w.floor || e.ValidTimeEnd != 0 && w.now > e.ValidTimeEnd {
		w.delete(key)
		w.dropped = id
	}
}

func (w *sweepWork) enterLog(key []byte) {
	w.leaveLog(false)
	if w.log, _, w.err = parseEntryKey(key); w.err != nil {
		return
	}
	w.prefix = bytes.Clone(key[:len(key)-8])
	w.floor, w.err = w.Floor(w.log, w.newest(w.log.InstanceID, w.log.BizType))
}

// leaveLog notes a log's head if its last entry goes: ids must not start
// again. same says that the iterator may still be in the log.
func (w *sweepWork) leaveLog(same bool) {
	if same && w.prefix != nil && bytes.HasPrefix(w.it.Key(), w.prefix) && len(w.it.Key()) == len(w.prefix)+8 {
		return
	}
	if w.dropped > 0 {
		w.raiseHead()
	}
	w.dropped, w.prefix = 0, nil
}

// raiseHead keeps the larger of the dropped id and what is noted already: a
// non-persistent id may lie above.
func (w *sweepWork) raiseHead() {
	noted, err := w.getID(w.log.key(nil, kindHead))
	if err != nil {
		w.err = err
		return
	}
	w.stageHead(w.b, &w.log, max(noted, w.dropped))
}
