package state

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// fakeStore is a store as the scheduler sees it: with a lock of its own, and
// compactions that wait.
type fakeStore struct {
	mu      sync.Mutex
	waiting int // compactions to run
	asked   bool
	s       *compactor
	running *atomic.Int32 // over all stores
	most    *atomic.Int32
	ended   sync.WaitGroup
}

func (f *fakeStore) GetAllowedWithoutPermission() int { return 2 }

func (f *fakeStore) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked && f.waiting > 0, pebble.WaitingCompaction{Score: float64(f.waiting)}
}

func (f *fakeStore) Schedule(h pebble.CompactionGrantHandle) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.asked || f.waiting == 0 {
		f.asked = false
		return false
	}
	f.run(h)
	return true
}

// run starts a compaction. With mu.
func (f *fakeStore) run(h pebble.CompactionGrantHandle) {
	f.waiting--
	for n := f.running.Add(1); ; {
		old := f.most.Load()
		if n <= old || f.most.CompareAndSwap(old, n) {
			break
		}
	}
	go func() {
		f.running.Add(-1)
		h.Done()
		f.try()
		f.ended.Done()
	}()
}

// try is what a store does whenever it may have something to compact.
func (f *fakeStore) try() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.asked && f.waiting > 0 {
		ok, h := f.s.TrySchedule()
		if !ok {
			f.asked = true
			return
		}
		f.run(h)
	}
	if f.waiting == 0 {
		f.asked = false
	}
}

// TestCompactions runs many stores' compactions: never more than the limit at
// once, and all of them in the end.
func TestCompactions(t *testing.T) {
	for _, limit := range []int{1, 3} {
		all := &compactions{limit: limit}
		var running, most atomic.Int32
		var stores []*fakeStore
		for range 6 {
			f := &fakeStore{running: &running, most: &most, s: all.compactor(func() bool { return false })}
			f.s.Register(2, f)
			stores = append(stores, f)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		for range 300 {
			f := stores[rng.IntN(len(stores))]
			n := 1 + rng.IntN(3)
			f.ended.Add(n)
			f.mu.Lock()
			f.waiting += n
			f.mu.Unlock()
			f.try()
		}
		for _, f := range stores {
			f.ended.Wait()
			f.s.Unregister()
		}
		if got := most.Load(); got > int32(limit) || got == 0 {
			t.Errorf("%d compactions at once, the limit is %d", got, limit)
		}
		if all.running != 0 || len(all.stores) != 0 {
			t.Errorf("%d are running and %d stores registered at the end", all.running, len(all.stores))
		}
	}
}

// scripted is a store whose Schedule does what a test says.
type scripted struct {
	waits    bool
	schedule func(pebble.CompactionGrantHandle) bool
}

func (s *scripted) GetAllowedWithoutPermission() int { return 1 }

func (s *scripted) GetWaitingCompaction() (bool, pebble.WaitingCompaction) {
	return s.waits, pebble.WaitingCompaction{}
}

func (s *scripted) Schedule(h pebble.CompactionGrantHandle) bool { return s.schedule(h) }

// TestOfferNotTaken: while a slot is held for a store that then does not want
// it, another is refused. It must be asked afterwards.
func TestOfferNotTaken(t *testing.T) {
	all := &compactions{limit: 1}
	running := func() bool { return false }
	a, b := all.compactor(running), all.compactor(running)
	first, other := &scripted{waits: true}, &scripted{}
	ran := false
	first.schedule = func(pebble.CompactionGrantHandle) bool {
		first.waits = false
		if ok, _ := b.TrySchedule(); ok {
			t.Error("two slots where the limit is one")
		}
		other.waits = true
		return false
	}
	other.schedule = func(pebble.CompactionGrantHandle) bool {
		other.waits, ran = false, true
		return true
	}
	a.Register(2, first)
	b.Register(2, other)
	ok, h := a.TrySchedule()
	if !ok {
		t.Fatal("refused")
	}
	h.Done()
	if !ran {
		t.Error("the store that was refused is forgotten")
	}
	b.Done()
	a.Unregister()
	b.Unregister()
}

func TestMostPressing(t *testing.T) {
	for _, c := range []struct{ first, second pebble.WaitingCompaction }{
		{pebble.WaitingCompaction{Score: 2}, pebble.WaitingCompaction{Score: 1}},
		{pebble.WaitingCompaction{Priority: 2}, pebble.WaitingCompaction{Priority: 1, Score: 9}},
		{pebble.WaitingCompaction{}, pebble.WaitingCompaction{Optional: true, Priority: 9}},
	} {
		if !before(c.first, c.second) || before(c.second, c.first) {
			t.Errorf("%+v is not before %+v", c.first, c.second)
		}
	}
}

// TestStoppedStoreRunsNothing: a store that has failed gets no compactions.
func TestStoppedStoreRunsNothing(t *testing.T) {
	all := &compactions{limit: 1}
	stopped := false
	f := &fakeStore{s: all.compactor(func() bool { return stopped })}
	f.s.Register(2, f)
	ok, h := f.s.TrySchedule()
	if !ok {
		t.Fatal("refused")
	}
	f.waiting, f.asked = 1, true
	stopped = true
	h.Done()
	if ok, _ := f.s.TrySchedule(); ok || f.waiting != 1 {
		t.Error("a store that has failed compacts")
	}
	f.s.Unregister()
}
