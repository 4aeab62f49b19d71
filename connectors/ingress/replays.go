package ingress

import (
	"sync"
	"time"
)

// DefaultReplaysMax is how many signatures a process remembers.
const DefaultReplaysMax = 2 << 20

// replays remembers signatures, a map for each minute in which they were made,
// until they would be refused for their age.
type replays struct {
	max int

	mu      sync.Mutex
	n       int
	minutes map[int64]map[[16]byte]struct{}
}

func newReplays(limit int) *replays {
	return &replays{max: limit, minutes: make(map[int64]map[[16]byte]struct{})}
}

// add remembers a signature that was made at a time; the error says that it is
// known, or that there is no room: forgetting one to make room would let it be
// replayed. The first half of a signature stands for
// all of it: nobody can make two valid ones that share it.
func (r *replays) add(sig [16]byte, at, now time.Time) error {
	minute := at.Unix() / 60
	oldest := now.Add(-SignatureWindow).Unix() / 60
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.minutes[minute][sig]; known {
		return errReplayed
	}
	if r.minutes[minute] == nil || r.n >= r.max {
		for m, sigs := range r.minutes {
			if m < oldest {
				r.n -= len(sigs)
				delete(r.minutes, m)
			}
		}
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

func (r *replays) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}
