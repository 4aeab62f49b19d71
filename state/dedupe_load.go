package state

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// save stages the bucket's record: which runs there are, and where the journal
// begins.
func (b *bucket) save(pb *pebble.Batch) { _ = pb.Set(recordKey(b.number), b.record(), nil) }

func (b *bucket) record() []byte {
	v := binary.AppendUvarint(nil, uint64(b.journal))
	v = binary.AppendUvarint(v, uint64(b.next))
	v = binary.AppendUvarint(v, uint64(len(b.runs)))
	for _, r := range b.runs {
		v = binary.AppendUvarint(v, uint64(r.id))
		v = append(v, r.bits)
		v = binary.AppendUvarint(v, uint64(r.keys))
	}
	return v
}

// parse reads a record.
func (b *bucket) parse(v []byte) error {
	ok := true
	next := func(most uint64) uint64 {
		n, used := binary.Uvarint(v)
		if used <= 0 || n > most {
			ok = false
			return 0
		}
		v = v[used:]
		return n
	}
	b.journal, b.next = uint32(next(1<<32-1)), uint32(next(1<<32-1))
	b.written = b.journal
	for range next(1 << 16) {
		r := &run{id: uint32(next(1<<32 - 1)), bits: uint8(next(31))}
		r.keys = int(next(1 << 40))
		if !ok || r.id >= b.next || r.keys == 0 || r.bits < runBitsMin {
			return b.bad(r.id, "record")
		}
		b.runs = append(b.runs, r)
	}
	if !ok || len(v) > 0 {
		return b.bad(0, "record")
	}
	return nil
}

// loader reads the dedupe keys of a store at open.
type loader struct {
	d     *dedupe
	it    *pebble.Iterator
	batch *pebble.Batch // removes what unfinished merges left
}

func (l *loader) run() error {
	for ok := l.it.First(); ok; ok = l.it.SeekGE(bucketKey(int64(l.last().number) + 1)) {
		k, err := parseDedupe(l.it.Key())
		if err != nil {
			return err
		}
		b := &bucket{number: k.bucket}
		if k.tag == tagRecord {
			if err := b.parse(l.it.Value()); err != nil {
				return err
			}
		}
		l.d.buckets = append(l.d.buckets, b)
	}
	l.admit()
	for _, b := range l.d.buckets {
		if err := l.bucket(b); err != nil {
			return err
		}
		l.d.total.Add(b.keys())
		l.d.runs.Add(int64(len(b.runs)))
	}
	return l.it.Error()
}

func (l *loader) last() *bucket { return l.d.buckets[len(l.d.buckets)-1] }

// admit gives filters to the smallest runs, as far as the limit goes.
func (l *loader) admit() {
	var runs []*run
	for _, b := range l.d.buckets {
		runs = append(runs, b.runs...)
	}
	slices.SortFunc(runs, func(a, b *run) int { return cmp.Compare(a.keys, b.keys) })
	for _, r := range runs {
		r.filter = l.d.newFilter(r.keys)
	}
}

// bucket reads a bucket's journal and pages, in the order of their keys.
func (l *loader) bucket(b *bucket) error {
	counts := make(map[uint32]int)
	for ok := l.it.SeekGE(bucketKey(int64(b.number))); ok; {
		k, err := parseDedupe(l.it.Key())
		if err != nil {
			return err
		}
		if k.bucket != b.number {
			break
		}
		switch k.tag {
		case tagJournal:
			err = l.journal(b, k)
		case tagPage:
			r := b.find(k.run)
			if r == nil || r.filter == nil {
				ok = l.skip(b, k.run, r == nil)
				continue
			}
			var n int
			n, err = l.page(r)
			counts[r.id] += n
		}
		if err != nil {
			return err
		}
		ok = l.it.Next()
	}
	for _, r := range b.runs {
		if r.filter != nil && counts[r.id] != r.keys {
			return b.bad(r.id, "keys are missing")
		}
	}
	return l.it.Error()
}

func (b *bucket) find(id uint32) *run {
	for _, r := range b.runs {
		if r.id == id {
			return r
		}
	}
	return nil
}

func (l *loader) journal(b *bucket, k dedupeKey) error {
	if k.entry < b.journal {
		return b.bad(0, "journal before its beginning")
	}
	if b.open == nil {
		b.open = newTable()
	}
	b.written = k.entry + 1
	return eachEntry(l.it.Value(), func(h *Hash, id int64) { b.open.put(h, id) })
}

func (l *loader) page(r *run) (n int, err error) {
	err = eachEntry(l.it.Value(), func(h *Hash, _ int64) {
		r.filter.add(h)
		n++
	})
	return n, err
}

// skip goes to the next run. Pages of one that no record names are from a
// merge that a crash cut short.
func (l *loader) skip(b *bucket, id uint32, remove bool) bool {
	if remove {
		l.d.remove(l.batch, b, &run{id: id})
	}
	return l.it.SeekGE(runEnd(b.number, id))
}
