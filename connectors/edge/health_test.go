package edge

import (
	"strings"
	"testing"
	"time"
)

func TestStuckWhenHousekeepingDoesNotComeBack(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := &Server{cfg: Config{Now: func() time.Time { return now }}}
	for _, c := range []struct {
		since time.Time
		want  string // empty: not stuck
	}{
		{time.Time{}, ""},
		{now.Add(-StuckAfter), ""},
		{now.Add(-StuckAfter - time.Second), "looked after one store for 1m1s"},
	} {
		s.housekeeping.Store(0)
		if !c.since.IsZero() {
			s.housekeeping.Store(c.since.UnixMilli())
		}
		if err := s.Stuck(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("a round that began at %v: %v, want %q", c.since, err, c.want)
		}
	}
}
