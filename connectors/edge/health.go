package edge

import (
	"fmt"
	"time"
)

// StuckAfter is how long the housekeeping, which looks at a store every
// second, may take for one round before it counts as stuck.
const StuckAfter = time.Minute

// Stuck is not nil when the edge does not come back from looking after its
// stores: a disk hangs, or we have a fault. Standing still for lack of brokers
// is not being stuck.
func (s *Server) Stuck() error {
	since := s.housekeeping.Load()
	if since == 0 {
		return nil
	}
	if took := s.cfg.Now().Sub(time.UnixMilli(since)); took > StuckAfter {
		return fmt.Errorf("edge has looked after one store for %s: look at its disk, and at /debug/pprof/goroutine?debug=2", took.Round(time.Second))
	}
	return nil
}
