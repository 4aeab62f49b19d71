package state

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// tableKeys is how many keys of a bucket are kept in memory before they go to
// a run. More makes fewer runs to ask and to merge, and costs 40 bytes each at most.
const tableKeys = 32 << 10

// tableBytes is what the table of a full bucket takes: entries, and an index
// that is at most half full.
const tableBytes = tableKeys*24 + 4*tableKeys*4

// dedupe is the dedupe keys of a task.
//
// Keys of a bucket are first in a [table] in memory, and batch by batch in the
// journal on disk. A full table becomes a run: pages of keys by the first bits
// of their hash, written once and sorted by nothing else. Four runs of a size
// are merged into one, some pages with every batch. So Pebble moves pages of
// some hundred keys instead of keys, which is what makes a put cheap, and a
// look-up that finds something reads one page.
//
// Every run has a filter in memory, so that a key that is not there, which is
// nearly always the case, costs a cache line per run and no read. Filters are
// made anew from the runs at open; over the memory limit the largest runs have
// none, and each of them costs every look-up a page. One that has none gets it
// when there is room again.
//
// All that changes on disk, changes with the batch that it comes from: what a
// crash leaves is always a journal and runs that belong together, and perhaps
// pages of a merge that was not finished, which are removed at open.
type dedupe struct {
	db        *DB
	limit     int64
	tableKeys int // keys of a table; smaller in tests

	buckets []*bucket // by number
	merges  []*merge  // under way, smallest first
	fill    *fill     // a filter that is made up for; nil: none
	freed   bool      // memory of filters was given back since a fill was looked for
	spare   *table    // for the next bucket
	key     [pageKeyLen]byte

	// For [Task.Stats], which another goroutine may call.
	memory         atomic.Int64 // bytes of filters
	total          atomic.Int64 // keys
	runs           atomic.Int64
	falsePositives atomic.Int64
	unfiltered     atomic.Int64 // pages read because there was no filter
}

// bucket is the keys of one stretch of time.
type bucket struct {
	number  uint32
	open    *table // what is in the journal; nil: nothing
	journal uint32 // its first entry
	written uint32 // the entry after its last
	runs    []*run // older first
	next    uint32 // the next run's id
}

// run is keys on disk that do not change.
type run struct {
	id      uint32
	bits    uint8 // of the hash that name a page
	keys    int
	filter  *filter // nil: every look-up reads a page
	merging bool
}

// find looks a key up in the buckets from oldest to newest, newest first.
func (d *dedupe) find(h *Hash, oldest, newest int64) (int64, error) {
	for i := len(d.buckets) - 1; i >= 0; i-- {
		b := d.buckets[i]
		if int64(b.number) > newest {
			continue
		}
		if int64(b.number) < oldest {
			break
		}
		if b.open != nil {
			if id := b.open.find(h); id != 0 {
				return id, nil
			}
		}
		for j := len(b.runs) - 1; j >= 0; j-- {
			r := b.runs[j]
			if r.filter != nil && !r.filter.has(h) {
				continue
			}
			if id, err := d.read(b, r, h); id != 0 || err != nil {
				return id, err
			}
		}
	}
	return 0, nil
}

// read looks a key up in a run that may have it.
func (d *dedupe) read(b *bucket, r *run, h *Hash) (int64, error) {
	v, closer, err := d.db.get(pageKey(&d.key, b.number, r.id, pageOf(h, r.bits)))
	if err != nil {
		return 0, err
	}
	var id int64
	if closer != nil {
		id, err = findInPage(v, h)
		err = errors.Join(err, closer.Close())
	}
	switch {
	case r.filter == nil:
		d.unfiltered.Add(1)
	case id == 0:
		d.falsePositives.Add(1)
	}
	return id, err
}

// put stages keys. Those of one bucket should stand together.
func (d *dedupe) put(pb *pebble.Batch, puts []DedupePut) {
	for len(puts) > 0 {
		n := 1
		for n < len(puts) && puts[n].Bucket == puts[0].Bucket {
			n++
		}
		d.putBucket(pb, d.bucket(pb, uint32(puts[0].Bucket)), puts[:n])
		puts = puts[n:]
	}
}

func (d *dedupe) putBucket(pb *pebble.Batch, b *bucket, puts []DedupePut) {
	had := b.open.len()
	for i := range puts {
		b.open.put(&puts[i].Key, puts[i].ID)
	}
	d.total.Add(int64(b.open.len() - had))
	if b.open.len() >= d.tableKeys {
		d.close(pb, b)
		return
	}
	size := 0
	for i := range puts {
		size += entryLen(puts[i].ID)
	}
	op := pb.SetDeferred(journalKeyLen, size)
	putJournalKey(op.Key, b.number, b.written)
	v := op.Value[:0]
	for i := range puts {
		v = appendEntry(v, &puts[i].Key, puts[i].ID)
	}
	_ = op.Finish() // fails for indexed batches only
	b.written++
}

// bucket gives a bucket with an open table. What is open in older ones will
// hardly get another key, and gives its table to the new one.
func (d *dedupe) bucket(pb *pebble.Batch, number uint32) *bucket {
	i, ok := slices.BinarySearchFunc(d.buckets, number, func(b *bucket, n uint32) int { return int(int64(b.number) - int64(n)) })
	if !ok {
		d.buckets = slices.Insert(d.buckets, i, &bucket{number: number})
	}
	b := d.buckets[i]
	if b.open == nil {
		for _, older := range d.buckets[:i] {
			if older.open != nil {
				d.close(pb, older)
			}
		}
		b.open, d.spare = d.spare, nil
		if b.open == nil {
			b.open = newTable()
		}
	}
	return b
}

// close makes a run of a bucket's table.
func (d *dedupe) close(pb *pebble.Batch, b *bucket) {
	t := b.open
	r := &run{id: b.next, keys: t.len(), bits: runBits(t.len())}
	b.next++
	r.filter = d.newFilter(r.keys)
	if r.filter != nil {
		for i := range t.entries {
			r.filter.add(&t.entries[i].key)
		}
	}
	s := getScratch(1 << r.bits)
	defer scratches.Put(s)
	pages := s.pages
	for i := range t.entries {
		e := &t.entries[i]
		p := &pages[pageOf(&e.key, r.bits)]
		*p = appendEntry(*p, &e.key, e.id)
	}
	stagePages(pb, b, r, 0, pages)
	if b.written > b.journal {
		var from, to [journalKeyLen]byte
		putJournalKey(from[:], b.number, b.journal)
		putJournalKey(to[:], b.number, b.written)
		_ = pb.DeleteRange(from[:], to[:], nil)
	}
	b.journal = b.written
	b.open = nil
	t.reset()
	d.spare = t
	b.runs = append(b.runs, r)
	d.runs.Add(1)
	b.save(pb)
}

// stagePages writes the pages that hold something, from the first one on.
func stagePages(pb *pebble.Batch, b *bucket, r *run, first uint32, pages [][]byte) {
	for i, p := range pages {
		if len(p) > 0 {
			op := pb.SetDeferred(pageKeyLen, len(p))
			putPageKey(op.Key, b.number, r.id, first+uint32(i))
			copy(op.Value, p)
			_ = op.Finish()
		}
	}
}

// scratch is room for pages that are put together. It is megabytes, and no
// store needs it for long.
type scratch struct{ room, pages [][]byte }

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// getScratch gives n empty pages.
func getScratch(n int) *scratch {
	s := scratches.Get().(*scratch)
	if len(s.room) < n {
		s.room = append(s.room, make([][]byte, n-len(s.room))...)
	}
	s.pages = s.room[:n]
	for i := range s.pages {
		s.pages[i] = s.pages[i][:0]
	}
	return s
}

// newFilter gives a filter for so many keys, unless the limit is reached and
// no run with a larger one can do without.
func (d *dedupe) newFilter(keys int) *filter {
	need := filterBytes(keys)
	for d.memory.Load()+need > d.limit {
		largest := d.largest()
		if largest == nil || largest.filter.bytes() <= need {
			return nil
		}
		d.drop(largest)
	}
	d.memory.Add(need)
	return newFilter(keys)
}

// largest is the run with the largest filter.
func (d *dedupe) largest() (most *run) {
	for _, b := range d.buckets {
		for _, r := range b.runs {
			if r.filter != nil && (most == nil || r.filter.bytes() > most.filter.bytes()) {
				most = r
			}
		}
	}
	return most
}

func (d *dedupe) drop(r *run) {
	if r.filter != nil {
		d.memory.Add(-r.filter.bytes())
		r.filter = nil
		d.freed = true
	}
}

// expire stages the removal of the buckets before one. Tables end where runs
// do, so a range over a whole bucket would be cut into a piece for every run
// that there ever could have been; each that there is gets its own.
func (d *dedupe) expire(pb *pebble.Batch, before int64) {
	n := 0
	for ; n < len(d.buckets) && int64(d.buckets[n].number) < before; n++ {
		b := d.buckets[n]
		_ = pb.DeleteRange(bucketKey(int64(b.number)), runKey(b.number, 0)[:recordKeyLen], nil)
		d.abandon(pb, b)
		for _, r := range b.runs {
			d.remove(pb, b, r)
		}
		d.runs.Add(-int64(len(b.runs)))
		d.total.Add(-b.keys())
	}
	d.buckets = slices.Delete(d.buckets, 0, n)
}

// remove stages the removal of a run's pages.
func (d *dedupe) remove(pb *pebble.Batch, b *bucket, r *run) {
	_ = pb.DeleteRange(runKey(b.number, r.id), runEnd(b.number, r.id), nil)
	d.drop(r)
	if d.fill != nil && d.fill.r == r {
		d.memory.Add(-d.fill.f.bytes())
		d.fill = nil
	}
}

func (b *bucket) keys() int64 {
	var n int64
	if b.open != nil {
		n = int64(b.open.len())
	}
	for _, r := range b.runs {
		n += int64(r.keys)
	}
	return n
}

// load finds the buckets of a store that was opened.
func (d *dedupe) load() error {
	it, err := d.db.Pebble().NewIter(&pebble.IterOptions{LowerBound: []byte{kindDedupe}, UpperBound: []byte{kindDedupe + 1}})
	if err != nil {
		return err
	}
	l := loader{d: d, it: it, batch: d.db.Pebble().NewBatch()}
	err = errors.Join(l.run(), it.Close())
	if err == nil && !l.batch.Empty() && !d.db.readOnly {
		return d.db.Commit(l.batch, false)
	}
	return errors.Join(err, l.batch.Close())
}

func (b *bucket) bad(r uint32, what string) error {
	return fmt.Errorf("dedupe bucket %d, run %d: %s: %w", b.number, r, what, ErrFormat)
}
