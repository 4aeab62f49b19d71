package ingress

import (
	"math"
	"sync"
	"time"
)

// DefaultReplaysMax is how many signatures a process remembers.
const DefaultReplaysMax = 2 << 20

// replays remembers signatures, a map for each minute in which they were made,
// until they would be refused for their age. A clock that jumps back makes them
// young again: so what was made in a minute up to the newest that was ever
// forgotten is refused, whatever the clock says.
type replays struct {
	max int

	mu      sync.Mutex
	n       int
	floor   int64 // the newest minute that was forgotten
	minutes map[int64]map[[16]byte]struct{}
}

func newReplays(limit int) *replays {
	return &replays{max: limit, floor: math.MinInt64, minutes: make(map[int64]map[[16]byte]struct{})}
}

// add remembers a signature that was made at a time; the error says that it is
// known, or that there is no room: forgetting one to make room would let it be
// replayed. The first half of a signature stands for all of it: nobody can make
// two valid ones that share it.
func (r *replays) add(sig [16]byte, at, now time.Time) error {
	minute := at.Unix() / 60
	oldest := now.Add(-SignatureWindow).Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.minutes[minute][sig]; known {
		return errReplayed
	}
	if r.minutes[minute] == nil || r.n >= r.max {
		r.forget(oldest)
	}
	if minute <= r.floor {
		return errTime
	}
	if r.n >= r.max {
		return errReplaysFull
	}
	if r.minutes[minute] == nil {
		r.minutes[minute] = make(map[[16]byte]struct{})
	}
	r.minutes[minute][sig] = struct{}{}
	r.n++
	return nil
}

// forget drops the minutes before the oldest that is accepted.
func (r *replays) forget(oldest int64) {
	for m, sigs := range r.minutes {
		if m < oldest {
			r.n -= len(sigs)
			r.floor = max(r.floor, m)
			delete(r.minutes, m)
		}
	}
}

func (r *replays) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
