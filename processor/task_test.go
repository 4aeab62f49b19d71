package processor

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/schemas/chain"
	"github.com/tidemarkio/tidemark/topology"
)

// world is a partition in memory: its requests, its oplog, and whatever
// side outputs were written.
type world struct {
	t        *testing.T
	cfg      Config
	requests []Record
	log      [][]byte
	sides    []Output
	now      int64
	revision int64
}

func newWorld(t *testing.T) *world {
	topo, err := topology.New(topology.Config{Partitions: 1, Window: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, cfg: Config{Topology: topo}, now: 1_800_000_000_000}
	w.settings(schemas.Change{Kind: schemas.PutInstance, InstanceID: "i"},
		schemas.Change{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "A", Scope: "specified", Target: "user", Persistent: true, Online: true}},
		schemas.Change{Kind: schemas.PutSync, InstanceID: "i", Sync: schemas.SyncConfig{BizType: "G", Scope: "global", Target: "user", Persistent: true, Online: true}})
	return w
}

func (w *world) add(r Record) int64 {
	r.Offset = int64(len(w.requests))
	w.requests = append(w.requests, r)
	return r.Offset
}

func (w *world) settings(changes ...schemas.Change) {
	w.revision++
	c := schemas.Control{Time: w.now, Revision: w.revision, Changes: changes}
	w.add(Record{Control: true, Value: c.Append(nil, w.cfg.ClusterKey)})
}

func (w *world) tick(d time.Duration) {
	w.now += d.Milliseconds()
	c := schemas.Control{Time: w.now}
	w.add(Record{Control: true, Value: c.Append(nil, w.cfg.ClusterKey)})
}

func (w *world) push(biz, link, id string) int64 {
	r := schemas.Request{InstanceID: "i", BizType: biz, LinkToken: link, ThirdMsgID: id, Payload: "p-" + id}
	if biz == "G" {
		r.Scope = schemas.ScopeGlobal
	}
	return w.add(Record{Value: r.AppendProto(nil), Reply: "0", RequestID: []byte(id)})
}

// start makes a task over the store and lets it recover from the log.
func (w *world) start(store Store) *Task {
	task := New(w.cfg, store)
	var e schemas.Entry
	for offset := task.ReadFrom(); offset < int64(len(w.log)); offset++ {
		record := w.log[offset]
		if err := e.Decode(record); err != nil {
			w.t.Fatal(err)
		}
		for task.Decided() < e.RequestOffset {
			if err := task.Input(&w.requests[task.Decided()+1]); err != nil {
				w.t.Fatal(err)
			}
		}
		if _, err := task.Tail(record, &e, offset); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := task.Own(); err != nil {
		w.t.Fatal(err)
	}
	return task
}

// feed gives the task all requests that it has not decided.
func (w *world) feed(task *Task) {
	for task.Decided() < int64(len(w.requests))-1 {
		if err := task.Input(&w.requests[task.Decided()+1]); err != nil {
			w.t.Fatal(err)
		}
	}
}

// perform writes the task's outputs and acknowledges them.
func (w *world) perform(task *Task) {
	for {
		out := task.Take()
		if len(out) == 0 {
			return
		}
		w.write(task, out)
	}
}

// write writes some outputs and acknowledges them.
func (w *world) write(task *Task, out []Output) {
	for _, o := range out {
		switch {
		case o.Kind == Append:
			w.log = append(w.log, o.Value)
			if err := task.Appended(o.Position, int64(len(w.log)-1)); err != nil {
				w.t.Fatal(err)
			}
		case o.Kind == Marker:
			w.log = append(w.log, o.Value)
		default:
			w.sides = append(w.sides, o)
			task.Sent(o.Position)
		}
	}
}

func (w *world) apply(task *Task) {
	if _, err := task.Apply(); err != nil {
		w.t.Fatal(err)
	}
}

// accepted reads the log back by the reader's rule, independently of the task.
func (w *world) accepted() []string {
	var all []string
	r := chain.Start()
	for _, record := range w.log {
		var e schemas.Entry
		if err := e.Decode(record); err != nil {
			w.t.Fatal(err)
		}
		v, err := r.Accept(record, &e)
		if err != nil {
			w.t.Fatal(err)
		}
		if v == chain.Accept {
			all = append(all, fmt.Sprintf("%s/%s/%s#%d=%s", e.BizType, e.LinkToken, e.ThirdMsgID, e.OplogID, e.Payload))
		}
	}
	return all
}

func (w *world) results() []string {
	var all []string
	for _, o := range w.sides {
		if o.Kind == Result {
			all = append(all, fmt.Sprintf("%s:%s:%d", o.RequestID, o.Answer.Code, o.Answer.OplogID))
		}
	}
	return all
}

func equal(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\n got %v\nwant %v", what, got, want)
	}
}

func TestAcceptsInOrderAndAnswersDuplicatesWithTheOriginalID(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m1")
	w.push("A", "u", "m2")
	w.push("A", "v", "m1")
	w.push("A", "u", "m1")
	w.push("G", "", "g1")
	w.push("X", "u", "m9")
	store := NewMemory()
	task := w.start(store)
	w.feed(task)
	w.perform(task)
	w.apply(task)
	w.push("A", "u", "m2") // now from the store instead of the overlay
	w.feed(task)
	w.perform(task)
	equal(t, "log", w.accepted(), "A/u/m1#1=p-m1", "A/u/m2#2=p-m2", "A/v/m1#1=p-m1", "G//g1#1=p-g1")
	equal(t, "results", w.results(), "m1:SUCCESS:1", "m2:SUCCESS:2", "m1:SUCCESS:1", "m1:DUPLICATED_BIZ_ID:1", "g1:SUCCESS:1", "m9:BIZ_NOT_ONLINE:0", "m2:DUPLICATED_BIZ_ID:2")
	if got, want := store.Position().Request, int64(6); got != want {
		t.Errorf("store stands at %d, want %d", got, want)
	}
}

func TestACrashBetweenAppendAndApplyChangesNothing(t *testing.T) {
	w := newWorld(t)
	store := NewMemory()
	for i := range 5 {
		w.push("A", "u", fmt.Sprint("m", i))
	}
	first := w.start(store)
	w.feed(first)
	w.perform(first) // all in the log, nothing in the store
	w.push("A", "u", "m5")
	second := w.start(store)
	w.feed(second)
	w.perform(second)
	w.apply(second)
	equal(t, "log", w.accepted(), "A/u/m0#1=p-m0", "A/u/m1#2=p-m1", "A/u/m2#3=p-m2", "A/u/m3#4=p-m3", "A/u/m4#5=p-m4", "A/u/m5#6=p-m5")
	if n := len(w.log); n != 6 {
		t.Errorf("the log has %d records: what was appended before the crash was appended again", n)
	}
}

func TestTwoOwnersWriteTheSame(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m1")
	zombie, owner := w.start(NewMemory()), w.start(NewMemory())
	w.feed(zombie)
	w.push("A", "u", "m2")
	w.feed(owner)
	w.perform(owner)
	w.feed(zombie)
	w.perform(zombie)
	equal(t, "log", w.accepted(), "A/u/m1#1=p-m1", "A/u/m2#2=p-m2")
	if len(w.log) != 4 {
		t.Errorf("log has %d records, want both copies of both entries", len(w.log))
	}
}

func TestAKeyIsForgottenOnlyAfterTheWindow(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m")
	w.tick(30 * 24 * time.Hour)
	w.push("A", "u", "m")
	w.tick(15*24*time.Hour + time.Minute) // the width of a bucket later at the latest
	w.push("A", "u", "m")
	task := w.start(NewMemory())
	w.feed(task)
	w.perform(task)
	w.apply(task)
	equal(t, "results", w.results(), "m:SUCCESS:1", "m:DUPLICATED_BIZ_ID:1", "m:SUCCESS:2")
}
