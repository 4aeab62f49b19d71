package runtime

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
)

// push writes n requests for several targets and returns what should be accepted.
func (w *world) push(prefix string, n int) {
	var records []*kgo.Record
	for i := range n {
		records = append(records, w.request("A", fmt.Sprint("u", i%5), fmt.Sprint(prefix, i)))
	}
	w.produce(records...)
}

func (w *world) waitEntries(n int) []string {
	w.t.Helper()
	var got []string
	w.eventually(fmt.Sprintf("%d entries", n), func() bool { got = w.entries(); return len(got) >= n })
	if len(got) != n {
		w.t.Fatalf("%d entries, want %d", len(got), n)
	}
	return got
}

func TestRequestsBecomeEntries(t *testing.T) {
	w := newWorld(t, 4)
	w.settings()
	w.node("a")
	w.push("m", 100)
	w.push("m", 100) // all duplicates
	w.produce(w.request("G", "", "g1"))
	w.waitEntries(101)
	w.eventually("markers cover everything and the group has committed it", func() bool {
		return w.lag() == 0
	})
	w.waitEntries(101)
}

// lag is what a standard tool shows for the group.
func (w *world) lag() int64 {
	var total int64
	for p := range w.topo.Partitions {
		b, err := readBounds(w.t.Context(), w.admin(), w.topo, "tidemark.processor", p)
		if err != nil {
			w.t.Fatal(err)
		}
		total += b.requests.end - 1 - b.committed
	}
	return total
}

func TestARestartWithItsStoreReplaysTheTailOnly(t *testing.T) {
	w := newWorld(t, 2)
	w.settings()
	_, stop := w.node("a")
	w.push("m", 50)
	w.waitEntries(50)
	stop()
	w.push("n", 50)
	w.push("m", 50)
	w.node("a")
	w.waitEntries(100)
}

func TestALostDiskIsRestoredFromTheTopics(t *testing.T) {
	w := newWorld(t, 2)
	w.settings()
	_, stop := w.node("a")
	w.push("m", 50)
	w.waitEntries(50)
	w.eventually("base in the changelog", func() bool {
		return len(w.read(w.topo.Counters.Name, 0)) > 0 && len(w.read(w.topo.Counters.Name, 1)) > 0
	})
	stop()
	w.push("m", 50) // duplicates of what only the oplog knows
	w.push("n", 20)
	w.node("fresh")
	w.waitEntries(70)
	w.eventually("lag 0", func() bool { return w.lag() == 0 })
	w.waitEntries(70)
}

// TestALostDiskIsRestoredThoughTheLogGoesOnBehindTheBase: what stands behind
// the base (here progress markers) is not the restore's to read.
func TestALostDiskIsRestoredThoughTheLogGoesOnBehindTheBase(t *testing.T) {
	w := newWorld(t, 1)
	w.settings()
	_, stop := w.node("a")
	w.push("m", 50)
	w.push("m", 50) // duplicates: no entries, so a marker covers them
	w.waitEntries(50)
	w.eventually("lag 0", func() bool { return w.lag() == 0 })
	stop()
	log := w.read(w.topo.Oplog.Name, 0)
	var last schemas.Entry
	if err := last.Decode(log[len(log)-1].Value); err != nil || last.OplogID != 0 {
		t.Fatalf("the log ends with %+v (%v), want a marker", last, err)
	}
	w.push("n", 20)
	w.node("fresh")
	w.waitEntries(70)
}

func TestForeignPartitionerIsForwarded(t *testing.T) {
	w := newWorld(t, 4)
	w.settings()
	w.node("a")
	var records []*kgo.Record
	for i := range 40 {
		r := w.request("A", "u", fmt.Sprint("m", i))
		r.Partition = (r.Partition + 1) % 4
		r.Key = nil
		records = append(records, r)
	}
	w.produce(records...)
	got := w.waitEntries(40)
	for i, e := range got {
		if want := fmt.Sprintf("A/u/m%d#%d", i, i+1); e != want {
			t.Fatalf("entry %d is %s, want %s: a forward lost the order", i, e, want)
		}
	}
}

func TestPoisonGoesToRejectsAndBlocksNothing(t *testing.T) {
	w := newWorld(t, 1)
	w.settings()
	w.node("a")
	w.produce(
		&kgo.Record{Topic: w.topo.Requests.Name, Value: []byte("\xff\xff")},
		&kgo.Record{Topic: w.topo.Requests.Name, Value: []byte(`{"instanceId":"i"}`)},
		&kgo.Record{Topic: w.topo.Requests.Name, Value: []byte(`{"instanceId":"i","bizType":"NONE","linkToken":"u","thirdMsgId":"1","payload":"p"}`)},
		&kgo.Record{Topic: w.topo.Requests.Name, Value: []byte("forged"), Headers: []kgo.RecordHeader{{Key: schemas.HeaderControl}}},
		w.request("A", "u", "good"),
	)
	w.waitEntries(1)
	var codes []schemas.Code
	for _, r := range w.read(w.topo.Rejects.Name, 0) {
		var res schemas.Result
		if err := res.DecodeProto(r.Value); err != nil {
			t.Fatal(err)
		}
		codes = append(codes, res.Code)
	}
	want := []schemas.Code{schemas.ArgsInvalid, schemas.ArgsIsNull, schemas.BizNotOnline, schemas.ArgsInvalid}
	if !slices.Equal(codes, want) {
		t.Errorf("rejects %v, want %v", codes, want)
	}
}

func TestPartitionsMoveAndNothingIsLostOrDoubled(t *testing.T) {
	w := newWorld(t, 4)
	w.settings()
	_, stopA := w.node("a")
	w.push("m", 100)
	w.waitEntries(100)
	b, stopB := w.node("b")
	w.eventually("b owns its share, by way of a warm standby", func() bool { return b.running() == 2 })
	w.push("n", 100)
	w.waitEntries(200)
	stopA()
	w.eventually("b owns all", func() bool { return b.running() == 4 })
	w.push("o", 100)
	w.waitEntries(300)
	stopB()
}

func (rt *Runtime) running() (n int) {
	for _, s := range rt.Status() {
		if s.State == StateRunning {
			n++
		}
	}
	return n
}

func TestAStoreAheadOfItsTopicsParks(t *testing.T) {
	w := newWorld(t, 1)
	w.settings()
	s := w.open("a", 0)
	if err := s.Apply(&state.Batch{Position: state.Position{Request: 1000, OplogOffset: 900, Entry: 999}}); err != nil {
		t.Fatal(err)
	}
	rt, _ := w.node("a")
	w.eventually("parked with a reason", func() bool {
		st := rt.Status()
		return len(st) == 1 && st[0].State == StateParked && st[0].Reason != ""
	})
	if at := s.Position().Request; at != 1000 {
		t.Errorf("the store was touched: position %d", at)
	}
}
