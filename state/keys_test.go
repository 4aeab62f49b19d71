package state

import (
	"bytes"
	"math"
	"testing"
)

func FuzzDedupeKey(f *testing.F) {
	f.Add(recordKey(7))
	f.Add(journalKeyOf(7, 9))
	f.Add(pageKey(new([pageKeyLen]byte), 1, 2, 3))
	f.Add([]byte("d"))
	f.Fuzz(func(t *testing.T, key []byte) {
		k, err := parseDedupe(key)
		if err != nil {
			return
		}
		var again []byte
		switch k.tag {
		case tagRecord:
			again = recordKey(k.bucket)
		case tagJournal:
			again = journalKeyOf(k.bucket, k.entry)
		case tagPage:
			again = pageKey(new([pageKeyLen]byte), k.bucket, k.run, k.page)
		}
		if !bytes.Equal(key, again) {
			t.Errorf("%x reads as %+v, which is %x", key, k, again)
		}
	})
}

// FuzzSpanEnd: a table's end lies behind its first key, and no key of another
// kind, bucket or run lies between.
func FuzzSpanEnd(f *testing.F) {
	for _, key := range [][]byte{nil, {kindCounter}, {kindMeta}, {kindSetting}, recordKey(7), recordKey(math.MaxUint32), journalKeyOf(7, 9),
		pageKey(new([pageKeyLen]byte), 1, 2, 3), runKey(math.MaxUint32, math.MaxUint32), bucketKey(5), []byte("dxxxxxx")} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		end := spanEnd(key)
		if end == nil {
			if len(key) == 0 || key[0] < kindSetting {
				t.Errorf("a table that begins with %x never ends", key)
			}
			return
		}
		if bytes.Compare(key, end) >= 0 {
			t.Errorf("a table that begins with %x ends with %x", key, end)
		}
		k, err := parseDedupe(key)
		if err == nil && k.tag == tagPage && !bytes.Equal(end, runEnd(k.bucket, k.run)) {
			t.Errorf("the table of run %d ends with %x", k.run, end)
		}
	})
}

func FuzzSettingKey(f *testing.F) {
	f.Add("demo_APP1", "UCHAT")
	f.Add("a\x00", "\x00\xff")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, instance, biz string) {
		i, b, sync, err := parseSetting(syncKey(nil, instance, biz))
		if err != nil || i != instance || b != biz || !sync {
			t.Errorf("business %q %q reads as %q %q, %t, %v", instance, biz, i, b, sync, err)
		}
		key := instanceKey(nil, instance)
		i, b, sync, err = parseSetting(key)
		if err != nil || i != instance || b != "" || sync {
			t.Errorf("instance %q reads as %q %q, %t, %v", instance, i, b, sync, err)
		}
		if s := syncKey(nil, instance, biz); bytes.Compare(key, s) >= 0 || bytes.Compare(s, settingsEnd(instance)) >= 0 {
			t.Errorf("business %q is not among its instance's settings", biz)
		}
		_, _, _, _ = parseSetting([]byte(instance + biz)) // must not panic
	})
}

// FuzzSettingOrder: keys sort as names do, and no instance's settings are
// among another's.
func FuzzSettingOrder(f *testing.F) {
	f.Add("a", "a\x00", "x")
	f.Add("a", "ab", "\xff")
	f.Fuzz(func(t *testing.T, a, b, biz string) {
		if a >= b {
			return
		}
		if bytes.Compare(instanceKey(nil, a), instanceKey(nil, b)) >= 0 || bytes.Compare(settingsEnd(a), instanceKey(nil, b)) > 0 && bytes.Compare(instanceKey(nil, b), instanceKey(nil, a)) > 0 && bytes.Compare(syncKey(nil, a, biz), instanceKey(nil, b)) >= 0 {
			t.Errorf("instances %q and %q, business %q: out of order", a, b, biz)
		}
	})
}

func FuzzValues(f *testing.F) {
	f.Add((&stand{Position: Start()}).append(nil))
	f.Add(appendCounter(nil, 7, 9))
	f.Add(appendEntry(nil, &Hash{1}, 300))
	f.Add((&bucket{journal: 1, next: 3, runs: []*run{{id: 1, bits: 6, keys: 900}}}).record())
	f.Fuzz(func(t *testing.T, v []byte) {
		var s stand
		if s.parse(v) == nil && !bytes.Equal(s.append(nil), v) {
			t.Errorf("position %x reads as %+v", v, s)
		}
		if id, position, err := parseCounter(v); err == nil {
			if i, p, err := parseCounter(appendCounter(nil, id, position)); err != nil || i != id || p != position {
				t.Errorf("counter %x reads as %d, %d", v, id, position)
			}
		}
		n, bytesLen := 0, 0
		if eachEntry(v, func(h *Hash, id int64) { n++; bytesLen += entryLen(id) }) == nil && n > 0 && bytesLen > len(v) {
			t.Errorf("page of %d bytes has %d entries, which take %d", len(v), n, bytesLen)
		}
		var b bucket
		if b.parse(v) == nil {
			var again bucket
			if err := again.parse(b.record()); err != nil || len(again.runs) != len(b.runs) || again.next != b.next || again.journal != b.journal {
				t.Errorf("record %x reads as %+v, and that as %+v, %v", v, b, again, err)
			}
		}
	})
}

// TestCounterCache holds the cache against a map, with batches that are larger
// than it is: what a batch put must stay until its end.
func TestCounterCache(t *testing.T) {
	c := newCounterCache(4 * counterSetBytes)
	g := newSource(3, 200)
	names := make([]Hash, 200)
	for i := range names {
		names[i] = g.key()
	}
	truth := make(map[Hash]int64)
	for range 200 {
		c.begin()
		batch := make(map[Hash]int64)
		for range g.rng.IntN(300) {
			h := names[g.rng.IntN(len(names))]
			id, ok := c.get(&h)
			if want, put := batch[h]; put && (!ok || id != want) {
				t.Fatalf("within a batch: %d, %t; want %d", id, ok, want)
			}
			if ok && id != truth[h] {
				t.Fatalf("the cache has %d, want %d", id, truth[h])
			}
			truth[h]++
			batch[h] = truth[h]
			c.put(&h, truth[h])
		}
		c.end()
		for _, h := range names {
			if id, ok := c.get(&h); ok && id != truth[h] {
				t.Fatalf("after a batch the cache has %d, want %d", id, truth[h])
			}
		}
	}
	if len(c.spilled) != 0 {
		t.Errorf("%d are spilled after the last batch", len(c.spilled))
	}
}

// TestCounterCacheWhole holds a cache that has all counters against a map: it
// knows what there is not, until there are too many, and is never wrong.
func TestCounterCacheWhole(t *testing.T) {
	const sets = 1024
	c := newCounterCache(sets * counterSetBytes)
	c.whole = true
	g := newSource(4, 200)
	truth := make(map[Hash]int64)
	var names []Hash
	whole := 0
	for c.whole || len(names) < 2*whole {
		h := g.key()
		if id, ok := c.get(&h); c.whole && (!ok || id != 0) {
			t.Fatalf("a key that is not there: %d, %t", id, ok)
		}
		names = append(names, h)
		c.begin()
		batch := make(map[Hash]int64)
		for _, h := range []Hash{h, names[g.rng.IntN(len(names))], names[g.rng.IntN(len(names))]} {
			truth[h]++
			batch[h] = truth[h]
			c.put(&h, truth[h])
			for h, want := range batch {
				if id, ok := c.get(&h); !ok || id != want {
					t.Fatalf("within a batch: %d, %t; want %d", id, ok, want)
				}
			}
		}
		c.end()
		if len(names)%1000 == 0 {
			for _, h := range names {
				if id, ok := c.get(&h); ok && id != truth[h] || c.whole && !ok {
					t.Fatalf("of %d: %d, %t; want %d", len(names), id, ok, truth[h])
				}
			}
		}
		if c.whole {
			whole = len(names)
		}
	}
	if int64(whole) < c.room() {
		t.Errorf("the cache was whole up to %d counters, and says that it has room for %d", whole, c.room())
	}
}
