package state

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
)

func nthKey(i uint64) Hash {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], i)
	return xxh3.Hash128(b[:]).Bytes()
}

// load is the state of a task at work: a window of keys and many counters.
type load struct {
	counters [][]byte
	hashes   []Hash
	last     []int64
	next     uint64
	rng      *rand.Rand
	batch    Batch
}

func newLoad(counters int) *load {
	l := &load{rng: rand.New(rand.NewPCG(1, 2)), last: make([]int64, counters)}
	for i := range counters {
		key := schemas.CounterKey(nil, "demo_APP1", fmt.Sprintf("BIZ%d", i%4), fmt.Sprintf("user-%08d", i/4))
		l.counters, l.hashes = append(l.counters, key), append(l.hashes, HashKey(key))
	}
	l.batch.Position = Start()
	return l
}

func (l *load) fill(n int) *Batch {
	b := &l.batch
	at := b.Position
	b.Reset()
	for range n {
		at.Request++
		at.OplogOffset++
		at.Entry = at.Request
		c := l.rng.IntN(len(l.counters))
		l.last[c]++
		b.Dedupe = append(b.Dedupe, DedupePut{Bucket: 7, Key: nthKey(l.next), ID: l.last[c]})
		b.Counters = append(b.Counters, CounterPut{Hash: l.hashes[c], Key: l.counters[c], ID: l.last[c], Position: at.Request})
		l.next++
	}
	b.Position = at
	return b
}

func openBench(b *testing.B) *Task {
	shared, err := NewShared(SharedConfig{})
	if err != nil {
		b.Fatal(err)
	}
	task, err := shared.OpenTask(TaskConfig{Dir: b.TempDir(), Topology: newTopology(b), Partition: 3})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := task.Close(); err != nil {
			b.Error(err)
		}
		if err := shared.Close(); err != nil {
			b.Error(err)
		}
	})
	return task
}

const benchKeys = 1_000_000

func fillBench(b *testing.B, s *Task, l *load, keys int) {
	for l.next < uint64(keys) {
		if err := s.Apply(l.fill(2000)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOriginalMiss(b *testing.B) {
	s, l := openBench(b), newLoad(100_000)
	fillBench(b, s, l, benchKeys)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if id, err := s.Original(nthKey(1<<40+uint64(i)), 5, 7); id != 0 || err != nil {
			b.Fatal(id, err)
		}
	}
}

func BenchmarkOriginalHit(b *testing.B) {
	s, l := openBench(b), newLoad(100_000)
	fillBench(b, s, l, benchKeys)
	b.ReportAllocs()
	for b.Loop() {
		if id, err := s.Original(nthKey(l.rng.Uint64N(benchKeys)), 5, 7); id == 0 || err != nil {
			b.Fatal(id, err)
		}
	}
}

func BenchmarkLastHot(b *testing.B) {
	s, l := openBench(b), newLoad(50_000)
	fillBench(b, s, l, benchKeys)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := i % len(l.counters)
		if id, err := s.Last(l.hashes[c], l.counters[c]); id == 0 || err != nil {
			b.Fatal(id, err)
		}
	}
}

func BenchmarkLastCold(b *testing.B) {
	s, l := openBench(b), newLoad(50_000)
	fillBench(b, s, l, benchKeys)
	b.ReportAllocs()
	for b.Loop() {
		c := l.rng.IntN(len(l.counters))
		if id, err := s.counters.stored(&l.hashes[c]); id == 0 || err != nil {
			b.Fatal(id, err)
		}
	}
}

// BenchmarkApply reports the cost of one request's share of a batch.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{100, 1000, 8000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, l := openBench(b), newLoad(50_000)
			fillBench(b, s, l, 100_000)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += size {
				b.StopTimer()
				batch := l.fill(size)
				b.StartTimer()
				if err := s.Apply(batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFeed reports the cost of one entry of an oplog that a store is
// rebuilt from: a dedupe key and a counter.
func BenchmarkFeed(b *testing.B) {
	s, l := openBench(b), newLoad(200_000)
	if err := s.BeginRestore(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	const size = 4096
	for n := 0; n < b.N; n += size {
		b.StopTimer()
		batch := l.fill(size)
		b.StartTimer()
		if err := s.Feed(&Feed{Dedupe: batch.Dedupe, Counters: batch.Counters}); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.FinishRestore(l.batch.Position, nil); err != nil {
		b.Fatal(err)
	}
}
