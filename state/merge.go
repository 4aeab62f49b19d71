package state

import (
	"errors"
	"math/bits"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// pageKeys is how many keys a page has on average, at most.
	pageKeys = 128
	// runBitsMin makes small runs of 64 pages, so that a step of a merge with
	// larger ones is not the whole run.
	runBitsMin = 6
	// mergeRuns of a size are merged into one: fewer make more work, more make
	// more runs to ask.
	mergeRuns = 4
	// mergeKeys are moved for each key that is put, if there is a merge. Every
	// key moves once per size, of which there are six at 200 million keys, so
	// merges keep up.
	mergeKeys = 8
)

// runBits is how many bits of the hash name a page of a run.
func runBits(keys int) uint8 {
	return uint8(max(runBitsMin, bits.Len(uint((keys-1)/pageKeys))))
}

// merge moves the keys of some runs of a bucket to a new one, page by page.
type merge struct {
	b    *bucket
	from []*run
	to   *run
	bits uint8  // of the hash that name a unit: what one step moves
	unit uint32 // the next one
}

// size is which runs are merged with each other: each is four times the last.
func (d *dedupe) size(r *run) int { return bits.Len(uint(r.keys/d.tableKeys)) / 2 }

// work moves some keys of the merges that are under way, and starts new ones.
// Everything it reads was committed before: it must come before other parts of
// a batch.
func (d *dedupe) work(pb *pebble.Batch, puts int) error {
	for _, b := range d.buckets {
		d.begin(b)
	}
	keys := max(1, puts*mergeKeys)
	for keys > 0 && len(d.merges) > 0 {
		m := d.merges[0]
		moved, err := d.step(pb, m)
		if err != nil {
			return err
		}
		keys -= moved
		if m.unit == 1<<m.bits {
			d.finish(pb, m)
			return nil // the new run is not committed yet
		}
	}
	return d.makeUp(keys)
}

// begin starts a merge in a bucket if there are runs for one.
func (d *dedupe) begin(b *bucket) {
	var n [32]int
	for _, r := range b.runs {
		if r.merging {
			continue
		}
		if s := d.size(r); n[s]+1 < mergeRuns {
			n[s]++
		} else {
			d.start(b, d.ofSize(b, s))
			n[s] = 0
		}
	}
}

// ofSize lists the bucket's first runs of a size.
func (d *dedupe) ofSize(b *bucket, size int) []*run {
	var runs []*run
	for _, r := range b.runs {
		if !r.merging && d.size(r) == size && len(runs) < mergeRuns {
			runs = append(runs, r)
		}
	}
	return runs
}

func (d *dedupe) start(b *bucket, from []*run) {
	m := &merge{b: b, from: from, to: &run{id: b.next}, bits: 32}
	b.next++
	for _, r := range from {
		r.merging = true
		m.to.keys += r.keys
		m.bits = min(m.bits, r.bits)
	}
	m.to.bits = runBits(m.to.keys)
	m.to.filter = d.newFilter(m.to.keys)
	i, _ := slices.BinarySearchFunc(d.merges, m.to.keys, func(m *merge, keys int) int { return m.to.keys - keys })
	d.merges = slices.Insert(d.merges, i, m)
}

// step moves one unit: the keys whose hashes begin with the same bits.
func (d *dedupe) step(pb *pebble.Batch, m *merge) (moved int, err error) {
	spread := m.to.bits - m.bits
	s := getScratch(1 << spread)
	defer scratches.Put(s)
	pages := s.pages
	for _, r := range m.from {
		for p := range uint32(1) << (r.bits - m.bits) {
			n, err := d.movePage(m, r, m.unit<<(r.bits-m.bits)+p, pages)
			if err != nil {
				return 0, err
			}
			moved += n
		}
	}
	stagePages(pb, m.b, m.to, m.unit<<spread, pages)
	m.unit++
	return max(moved, 1), nil
}

func (d *dedupe) movePage(m *merge, r *run, page uint32, to [][]byte) (moved int, err error) {
	v, closer, err := d.db.get(pageKey(&d.key, m.b.number, r.id, page))
	if err != nil || closer == nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	for len(v) > 0 {
		h, id, rest, err := nextEntry(v)
		if err != nil {
			return moved, err
		}
		p := &to[pageOf(h, m.to.bits)&uint32(len(to)-1)]
		*p = appendEntry(*p, h, id)
		if m.to.filter != nil {
			m.to.filter.add(h)
		}
		v = rest
		moved++
	}
	return moved, nil
}

// finish puts the new run in the place of the old ones.
func (d *dedupe) finish(pb *pebble.Batch, m *merge) {
	b := m.b
	for _, r := range m.from {
		d.remove(pb, b, r)
	}
	b.runs = slices.DeleteFunc(b.runs, func(r *run) bool { return slices.Contains(m.from, r) })
	b.runs = slices.Insert(b.runs, 0, m.to)
	d.runs.Add(1 - int64(len(m.from)))
	b.save(pb)
	d.merges = slices.DeleteFunc(d.merges, func(o *merge) bool { return o == m })
}

// abandon gives up the merges of a bucket that is removed.
func (d *dedupe) abandon(pb *pebble.Batch, b *bucket) {
	d.merges = slices.DeleteFunc(d.merges, func(m *merge) bool {
		if m.b == b {
			d.remove(pb, b, m.to)
		}
		return m.b == b
	})
}

// fill makes the filter of a run that has none, page by page.
type fill struct {
	b    *bucket
	r    *run
	f    *filter
	page uint32
}

// makeUp goes on with a fill, or starts one if there is room for it.
func (d *dedupe) makeUp(keys int) error {
	if d.fill == nil && d.freed {
		d.freed = false
		d.startFill()
	}
	for keys > 0 && d.fill != nil {
		f := d.fill
		v, closer, err := d.db.get(pageKey(&d.key, f.b.number, f.r.id, f.page))
		if err != nil {
			return err
		}
		if closer != nil {
			err := eachEntry(v, func(h *Hash, _ int64) { f.f.add(h) })
			if err := errors.Join(err, closer.Close()); err != nil {
				return err
			}
		}
		keys -= pageKeys
		if f.page++; f.page == 1<<f.r.bits {
			f.r.filter, d.fill = f.f, nil
		}
	}
	return nil
}

// startFill picks the smallest run that has no filter, if one fits.
func (d *dedupe) startFill() {
	var least fill
	for _, b := range d.buckets {
		for _, r := range b.runs {
			if r.filter == nil && !r.merging && (least.r == nil || r.keys < least.r.keys) {
				least = fill{b: b, r: r}
			}
		}
	}
	if least.r == nil || d.memory.Load()+filterBytes(least.r.keys) > d.limit {
		return
	}
	least.f = d.newFilter(least.r.keys)
	d.fill = &least
}
