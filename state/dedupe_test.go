package state

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// putKeys applies n new keys to a bucket, in batches.
func putKeys(t testing.TB, s *Task, bucket, from, n, size int64) {
	t.Helper()
	for at := from; at < from+n; at += size {
		b := &Batch{Position: s.Position()}
		for i := at; i < min(at+size, from+n); i++ {
			b.Position.Request++
			b.Dedupe = append(b.Dedupe, DedupePut{Bucket: bucket, Key: nthKey(uint64(i)), ID: i + 1})
		}
		if err := s.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
}

func checkKeys(t testing.TB, s *Task, bucket, from, n int64) {
	t.Helper()
	for i := from; i < from+n; i++ {
		if id, err := s.Original(nthKey(uint64(i)), bucket-1, bucket+1); id != i+1 || err != nil {
			t.Fatalf("key %d: id %d, %v", i, id, err)
		}
	}
}

// TestRunsStayFew: with 16 keys to a table, 20,000 keys are 1,250 tables.
func TestRunsStayFew(t *testing.T) {
	for _, size := range []int64{1, 7, 100, 1000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			shared := newShared(t)
			cfg := config(t, vfs.NewMem())
			s := open(t, shared, cfg)
			most := int64(0)
			for at := int64(0); at < 20_000; at += 1000 {
				putKeys(t, s, 5, at, 1000, size)
				most = max(most, s.Stats().DedupeRuns)
				if got := s.Stats().FilterBytes; got > s.dedupe.limit {
					t.Fatalf("filters take %d bytes, the limit is %d", got, s.dedupe.limit)
				}
			}
			if most > 30 {
				t.Errorf("%d runs at most", most)
			}
			checkKeys(t, s, 5, 0, 20_000)
			if s.Stats().DedupeKeys != 20_000 || s.Stats().UnfilteredReads == 0 {
				t.Errorf("%+v", s.Stats())
			}
			closeTask(t, s)
			s = open(t, shared, cfg)
			checkKeys(t, s, 5, 0, 20_000)
			closeTask(t, s)
		})
	}
}

// TestFilterIsMadeUp: a merge needs the filters of what it merges and that of
// the result; when the first are gone, the second is made.
func TestFilterIsMadeUp(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	const keys = 4096
	s.dedupe.limit = filterBytes(keys) * 5 / 4
	putKeys(t, s, 5, 0, keys, 32)
	for i := 0; len(s.dedupe.merges) > 0 || s.dedupe.fill != nil || s.dedupe.freed; i++ {
		if i == 100_000 {
			t.Fatal("it is never done")
		}
		if err := s.Apply(&Batch{Position: s.Position()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range s.dedupe.buckets[0].runs {
		if r.filter == nil {
			t.Errorf("run %d of %d keys has no filter; %d of %d bytes are used", r.id, r.keys, s.Stats().FilterBytes, s.dedupe.limit)
		}
	}
	checkKeys(t, s, 5, 0, keys)
	var sum int64
	for _, r := range s.dedupe.buckets[0].runs {
		sum += r.filter.bytes()
	}
	if got := s.Stats().FilterBytes; got != sum || got > s.dedupe.limit {
		t.Errorf("filters are said to take %d bytes, they take %d, the limit is %d", got, sum, s.dedupe.limit)
	}
	closeTask(t, s)
}

// TestUnfinishedMerge: what a merge had written when the store was closed is
// gone after the next start.
func TestUnfinishedMerge(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	n := int64(0)
	for len(s.dedupe.merges) == 0 || s.dedupe.merges[0].unit == 0 {
		putKeys(t, s, 5, n, 1, 1)
		if n++; n > 10_000 {
			t.Fatal("no merge is ever half done")
		}
	}
	closeTask(t, s)
	s = open(t, shared, cfg)
	known := make(map[uint32]bool)
	for _, r := range s.dedupe.buckets[0].runs {
		known[r.id] = true
	}
	if err := s.db.scan([]byte{kindDedupe}, []byte{kindDedupe + 1}, func(it *pebble.Iterator) error {
		if k, err := parseDedupe(it.Key()); err != nil || k.tag == tagPage && !known[k.run] {
			return fmt.Errorf("page of run %d is left: %v", k.run, err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	checkKeys(t, s, 5, 0, n)
	putKeys(t, s, 5, n, 2000, 10)
	checkKeys(t, s, 5, 0, n+2000)
	closeTask(t, s)
}

// TestExpiry drops old buckets, in the midst of their merges too, and gives
// their space back.
func TestExpiry(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	for bucket := range int64(6) {
		putKeys(t, s, bucket, bucket*5000, 5000, 50)
	}
	before := dedupeKeys(t, s)
	b := &Batch{Position: s.Position(), ExpireBefore: 4}
	// One for a bucket that goes at once, and one that comes late to one that stays.
	b.Dedupe = []DedupePut{{Bucket: 1, Key: Hash{1}, ID: 1}, {Bucket: 4, Key: Hash{2}, ID: 2}}
	if err := s.Apply(b); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		for bucket := range int64(6) {
			for i := bucket * 5000; i < (bucket+1)*5000; i++ {
				id, err := s.Original(nthKey(uint64(i)), 0, 6)
				if want := i + 1; err != nil || (id != want) == (bucket >= 4) || bucket < 4 && id != 0 {
					t.Fatalf("bucket %d, key %d: id %d, %v", bucket, i, id, err)
				}
			}
		}
		for key, want := range map[Hash]int64{{1}: 0, {2}: 2} {
			if id, err := s.Original(key, 0, 6); id != want || err != nil {
				t.Fatalf("key %x: id %d, %v", key, id, err)
			}
		}
		if got := s.Stats().DedupeKeys; got != 10_001 {
			t.Fatalf("%d keys", got)
		}
	}
	check()
	if after := dedupeKeys(t, s); after > before/2 {
		t.Errorf("%d keys of Pebble before, %d after", before, after)
	}
	closeTask(t, s)
	s = open(t, shared, cfg)
	check()
	putKeys(t, s, 1, 90_000, 100, 10) // a bucket that was expired takes keys again
	checkKeys(t, s, 1, 90_000, 100)
	closeTask(t, s)
}

// dedupeKeys counts the keys in Pebble.
func dedupeKeys(t *testing.T, s *Task) (n int) {
	t.Helper()
	if err := s.db.scan([]byte{kindDedupe}, []byte{kindDedupe + 1}, func(*pebble.Iterator) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMissReadsNothing: a key that is not there costs no look-up in Pebble,
// but where a filter is wrong.
func TestMissReadsNothing(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	s.dedupe.tableKeys, s.dedupe.limit = 1000, 1<<20
	putKeys(t, s, 5, 0, 50_000, 100)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	const n = 100_000
	before := shared.Stats()
	for i := range uint64(n) {
		if id, err := s.Original(nthKey(1<<40+i), 4, 6); id != 0 || err != nil {
			t.Fatal(id, err)
		}
	}
	after, st := shared.Stats(), s.Stats()
	if st.FilterFalsePositives > n*st.DedupeRuns/100 || st.UnfilteredReads != 0 {
		t.Errorf("%d false positives and %d unfiltered reads in %d look-ups of %d runs", st.FilterFalsePositives, st.UnfilteredReads, n, st.DedupeRuns)
	}
	// An index and a data block, in some levels.
	if reads := after.Hits + after.Misses - before.Hits - before.Misses; reads > 20*st.FilterFalsePositives {
		t.Errorf("%d blocks were read for %d false positives", reads, st.FilterFalsePositives)
	}
	closeTask(t, s)
}

func TestFilter(t *testing.T) {
	for _, keys := range []int{1, 100, 50_000} {
		f := newFilter(keys)
		for i := range keys {
			h := nthKey(uint64(i))
			f.add(&h)
		}
		wrong := 0
		for i := range 50_000 {
			h := nthKey(uint64(i))
			if i < keys && !f.has(&h) {
				t.Fatalf("of %d keys, key %d was put in and is not there", keys, i)
			}
			if h = nthKey(uint64(1<<40 + i)); f.has(&h) {
				wrong++
			}
		}
		if wrong > 50_000/100 {
			t.Errorf("of %d keys: %d of 50,000 look as if they were there", keys, wrong)
		}
	}
}

func TestHotPathAllocatesNothing(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	s.dedupe.tableKeys, s.dedupe.limit = 1000, 1<<20
	putKeys(t, s, 5, 0, 5000, 100)
	i := uint64(1 << 40)
	if n := testing.AllocsPerRun(1000, func() {
		i++
		if id, err := s.Original(nthKey(i), 4, 6); id != 0 || err != nil {
			t.Error(id, err)
		}
	}); n != 0 {
		t.Errorf("Original of a new key: %v allocations", n)
	}
	h := nthKey(7)
	if n := testing.AllocsPerRun(1000, func() {
		if id, err := s.Last(h, nil); id != 0 || err != nil {
			t.Error(id, err)
		}
	}); n != 0 {
		t.Errorf("Last of a counter in the cache: %v allocations", n)
	}
	closeTask(t, s)
}
