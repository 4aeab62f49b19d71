package runtime

import (
	"fmt"
	"time"
)

// StuckAfter is how long a task may be at one piece of its own work (deciding
// up to 512 requests, applying them, a flush) before it counts as stuck.
const StuckAfter = time.Minute

// Stuck is not nil when a task does not come back from its own work: its disk
// hangs, or we have a fault. Waiting for brokers is not being stuck, and
// neither is being parked: starting anew would mend neither.
func (rt *Runtime) Stuck() error {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	now := rt.cfg.Now()
	for p, r := range rt.runners {
		since := r.working.Load()
		if since == 0 {
			continue
		}
		if took := now.Sub(time.Unix(0, since)); took > StuckAfter {
			return fmt.Errorf("task of partition %d has been at one step for %s: look at its disk, and at /debug/pprof/goroutine?debug=2", p, took.Round(time.Second))
		}
	}
	return nil
}
