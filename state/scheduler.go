package state

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// compactions limits how many compactions run at once over all stores of a
// process. Pebble's own scheduler knows one store only, and wakes up ten times
// a second for each.
//
// It has no goroutine: a store is refused only while another compaction runs,
// and the end of that one looks for who is waiting.
type compactions struct {
	limit int

	mu      sync.Mutex
	running int
	stores  []*compactor
}

// compactor is one store's part: its pebble.CompactionScheduler.
type compactor struct {
	all     *compactions
	stopped func() bool // the store has failed: no compactions any more

	db      pebble.DBForCompaction
	running int  // with all.mu
	calls   int  // into db, under way; with all.mu
	gone    bool // unregistered; with all.mu
	idle    *sync.Cond
}

var (
	_ pebble.CompactionScheduler   = (*compactor)(nil)
	_ pebble.CompactionGrantHandle = (*compactor)(nil)
)

func (c *compactions) compactor(stopped func() bool) *compactor {
	return &compactor{all: c, stopped: stopped, idle: sync.NewCond(&c.mu)}
}

// Register implements pebble.CompactionScheduler.
func (s *compactor) Register(_ int, db pebble.DBForCompaction) {
	c := s.all
	c.mu.Lock()
	defer c.mu.Unlock()
	s.db = db
	c.stores = append(c.stores, s)
}

// Unregister implements pebble.CompactionScheduler: it waits for calls into
// the store to end.
func (s *compactor) Unregister() {
	c := s.all
	c.mu.Lock()
	defer c.mu.Unlock()
	s.gone = true
	for i := range c.stores {
		if c.stores[i] == s {
			c.stores = append(c.stores[:i], c.stores[i+1:]...)
			break
		}
	}
	for s.calls > 0 {
		s.idle.Wait()
	}
}

// TrySchedule implements pebble.CompactionScheduler.
func (s *compactor) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	if !s.reserve() {
		return false, nil
	}
	return true, s
}

// free reports whether the process and the store have a slot. With all.mu:
// what the store allows is the one question that takes none of its locks.
func (s *compactor) free() bool {
	return !s.gone && !s.stopped() && s.all.running < s.all.limit && s.running < s.db.GetAllowedWithoutPermission()
}

// reserve takes a slot, if there is one.
func (s *compactor) reserve() bool {
	if !s.free() {
		return false
	}
	s.all.running++
	s.running++
	return true
}

func (s *compactor) release() {
	s.all.running--
	s.running--
}

// UpdateGetAllowedWithoutPermission implements pebble.CompactionScheduler. A
// store that may run more now gets it when one of its compactions ends: it
// waits only if one is running.
func (s *compactor) UpdateGetAllowedWithoutPermission() {}

// Started implements pebble.CompactionGrantHandle.
func (s *compactor) Started() {}

// MeasureCPU implements pebble.CompactionGrantHandle.
func (s *compactor) MeasureCPU(pebble.CompactionGoroutineKind) {}

// CumulativeStats implements pebble.CompactionGrantHandle.
func (s *compactor) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done implements pebble.CompactionGrantHandle: it gives the slot to the store
// with the most pressing compaction.
func (s *compactor) Done() {
	s.all.mu.Lock()
	s.release()
	s.all.mu.Unlock()
	for s.all.grant() {
	}
}

// grant starts the most pressing compaction that waits, and reports whether to
// look again. Stores are asked without the lock: theirs come before it. After
// an offer that was not taken there must be another look, since a store may
// have been refused in the meantime because of it.
func (c *compactions) grant() bool {
	stores := c.enter()
	defer c.leave(stores)
	best := mostPressing(stores)
	return best != nil && best.offer()
}

// enter lists the stores that may run a compaction, and holds them registered.
func (c *compactions) enter() []*compactor {
	c.mu.Lock()
	defer c.mu.Unlock()
	var stores []*compactor
	for _, s := range c.stores {
		if s.free() {
			s.calls++
			stores = append(stores, s)
		}
	}
	return stores
}

func (c *compactions) leave(stores []*compactor) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range stores {
		s.calls--
		s.idle.Broadcast()
	}
}

// offer runs the store's waiting compaction in a slot of its own. If the slot
// went to another, that one's end looks again.
func (s *compactor) offer() (again bool) {
	c := s.all
	c.mu.Lock()
	ok := s.reserve()
	c.mu.Unlock()
	if !ok {
		return false
	}
	if !s.db.Schedule(s) {
		c.mu.Lock()
		s.release()
		c.mu.Unlock()
	}
	return true
}

// mostPressing finds the store whose waiting compaction comes first, or nil.
func mostPressing(stores []*compactor) *compactor {
	var best *compactor
	var first pebble.WaitingCompaction
	for _, s := range stores {
		if waits, w := s.db.GetWaitingCompaction(); waits && (best == nil || before(w, first)) {
			best, first = s, w
		}
	}
	return best
}

func before(a, b pebble.WaitingCompaction) bool {
	if a.Optional != b.Optional {
		return !a.Optional
	}
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.Score > b.Score
}
