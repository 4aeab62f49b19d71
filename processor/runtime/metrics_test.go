package runtime

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
)

// gather reads all series, by name and labels: counters and gauges their
// value, histograms their count.
func gather(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "tidemark_processor_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestMetricsSayWhatBecameOfRequests(t *testing.T) {
	w := newWorld(t, 2)
	w.settings()
	r := prometheus.NewRegistry()
	before := time.Now().Add(-time.Second)
	w.node("a", func(c *Config) { c.Metrics = r })
	w.push("m", 40)
	w.push("m", 40) // all duplicates
	w.produce(w.request("no such business", "u1", "x"))
	for name, want := range map[string]float64{
		"requests_total " + string(schemas.Success):         40,
		"requests_total " + string(schemas.DuplicatedBizID): 40,
		"requests_total " + string(schemas.BizNotOnline):    1,
		"outputs_total append":                              40,
		"partitions running":                                2,
		"partitions parked":                                 0,
		"lag_requests 0":                                    0,
		"restore_remaining_records 1":                       0,
	} {
		w.eventually(fmt.Sprint(name, " is ", want, ": ", gather(t, r)[name]), func() bool { return gather(t, r)[name] == want })
	}
	w.eventually("appends were timed", func() bool { return gather(t, r)["append_seconds"] > 0 })
	w.eventually("checkpoints of both partitions", func() bool {
		all := gather(t, r)
		return all["checkpoint_timestamp_seconds 0"] > seconds(before) && all["checkpoint_timestamp_seconds 1"] > seconds(before)
	})

	// Whoever pushes what to whom: the series are the same.
	series := len(gather(t, r))
	var records []*kgo.Record
	for i := range 100 {
		records = append(records, w.request("A", fmt.Sprint("user", i), fmt.Sprint("id", i)), w.request(fmt.Sprint("B", i), "u", fmt.Sprint("id", i)))
	}
	w.produce(records...)
	w.waitEntries(140)
	w.eventually("the unknown businesses are counted", func() bool { return gather(t, r)["requests_total "+string(schemas.BizNotOnline)] == 101 })
	if now := len(gather(t, r)); now != series {
		t.Errorf("%d series before many users and businesses came, %d after", series, now)
	}
}

// TestStatusNeverInventsAPosition: whoever reads the log on from it (the tail of
// the oplog does) must not take "not known yet" for an entry.
func TestStatusNeverInventsAPosition(t *testing.T) {
	w := newWorld(t, 1)
	w.settings()
	rt, _ := w.node("a")
	w.eventually("the partition runs", func() bool {
		for _, s := range rt.Status() {
			if s.Position.Entry != -1 {
				t.Fatalf("%s at %+v, and there is no entry yet", s.State, s.Position)
			}
			if s.State == StateRunning {
				return true
			}
		}
		return false
	})
}

// hanging is a store whose disk hangs while its gate is shut.
type hanging struct {
	*memStore
	gate chan struct{}
	hung *atomic.Int32
}

func (h hanging) Apply(b *state.Batch) error {
	h.hung.Add(1)
	<-h.gate
	h.hung.Add(-1)
	return h.memStore.Apply(b)
}

func TestATaskWhoseDiskHangsIsStuck(t *testing.T) {
	w := newWorld(t, 1)
	w.settings()
	gate, hung, ahead := make(chan struct{}), new(atomic.Int32), new(atomic.Int64)
	rt, _ := w.node("a", func(c *Config) {
		c.Open = func(p int32) (Store, error) { return hanging{w.open("a", p), gate, hung}, nil }
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	w.eventually("the store hangs", func() bool { return hung.Load() > 0 })
	if err := rt.Stuck(); err != nil {
		t.Errorf("stuck at once: %v", err)
	}
	ahead.Store(int64(2 * StuckAfter))
	if err := rt.Stuck(); err == nil || !strings.Contains(err.Error(), "partition 0") {
		t.Errorf("hanging for %s: got %v, want that it is stuck", 2*StuckAfter, err)
	}
	ahead.Store(0)
	close(gate)
	w.push("m", 10)
	w.waitEntries(10)
	w.eventually("it waits for input, and not for its disk", func() bool {
		ahead.Store(int64(2 * StuckAfter))
		defer ahead.Store(0)
		return rt.Stuck() == nil
	})
}
