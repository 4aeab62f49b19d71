package processor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemarkio/tidemark/schemas"
	"github.com/tidemarkio/tidemark/state"
)

// broken is a store whose disk fails.
type broken struct {
	*Memory
	original, last, apply error
}

func (b *broken) Original(key state.Hash, oldest, newest int64) (int64, error) {
	if b.original != nil {
		return 0, b.original
	}
	return b.Memory.Original(key, oldest, newest)
}

func (b *broken) Last(hash state.Hash, key []byte) (int64, error) {
	if b.last != nil {
		return 0, b.last
	}
	return b.Memory.Last(hash, key)
}

func (b *broken) Apply(batch *state.Batch) error {
	if b.apply != nil {
		return b.apply
	}
	return b.Memory.Apply(batch)
}

func TestAStoreThatFailsParksTheTask(t *testing.T) {
	disk := errors.New("no space left on device")
	for name, store := range map[string]*broken{
		"look up a key": {Memory: NewMemory(), original: disk}, "look up a counter": {Memory: NewMemory(), last: disk}, "write": {Memory: NewMemory(), apply: disk},
	} {
		w := newWorld(t)
		w.push("A", "u", "m1")
		task := w.start(store)
		var err error
		for i := range w.requests {
			if err == nil {
				err = task.Input(&w.requests[i])
			}
		}
		if err == nil {
			w.perform(task)
			_, err = task.Apply()
		}
		var parked *ParkError
		if !errors.As(err, &parked) || !errors.Is(err, disk) || parked.Remedy == "" {
			t.Errorf("%s: got %v", name, err)
		}
		if at := store.Position(); at != state.Start() {
			t.Errorf("%s: store stands at %+v", name, at)
		}
	}
}

func TestALongRunWithoutEntriesIsCoveredByMarkers(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m")
	task := w.start(NewMemory())
	for range 3 * markerEvery {
		w.add(Record{Value: w.requests[1].Value}) // nobody asks for an answer
	}
	w.feed(task)
	w.perform(task)
	if n := len(w.log); n != 1+3 {
		t.Errorf("%d records in the log, want one entry and a marker every %d positions", n, markerEvery)
	}
	w.apply(task)
	if task.InFlight() != 0 || task.Applied().Request != int64(len(w.requests)-1) {
		t.Errorf("%d in flight, applied up to %d", task.InFlight(), task.Applied().Request)
	}
}

func TestACumulativeAcknowledgementPlacesEachEntry(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m0")
	w.push("A", "u", "m1")
	w.add(Record{Value: w.requests[1].Value}) // a duplicate that nobody asks about
	store := NewMemory()
	task := w.start(store)
	w.feed(task)
	task.Marker()
	w.push("A", "u", "m2")
	w.push("A", "u", "m3")
	w.feed(task)
	out := append([]Output{}, task.Take()...)
	for _, o := range out {
		w.log = append(w.log, o.Value)
	}
	last := out[len(out)-1]
	if err := task.Appended(last.Position, int64(len(w.log)-1)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int64{0, 1, 3, 4} { // 2 is the marker
		w.sides = append(w.sides, task.Take()...)
		task.Sent(w.sides[i].Position)
		w.apply(task)
		if at := store.Position(); at.OplogOffset != want {
			t.Errorf("entry %d: store stands at oplog offset %d, want %d", at.Entry, at.OplogOffset, want)
		}
	}
}

func TestWrongUseOfATaskPanics(t *testing.T) {
	w := newWorld(t)
	w.push("A", "u", "m")
	task := w.start(NewMemory())
	w.feed(task)
	w.perform(task)
	for name, use := range map[string]func(){
		"sent twice": func() { task.Sent(1) },
		"tail":       func() { _, _ = task.Tail(w.log[0], &schemas.Entry{}, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			use()
		}()
	}
}

func TestWhatIsSaidAboutARefusedRequestIsBounded(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("é", 100_000)
	r := schemas.Request{InstanceID: "i", BizType: long, LinkToken: "u", ThirdMsgID: "m", Payload: "p"}
	w.add(Record{Value: r.AppendProto(nil), Reply: "0", RequestID: []byte("r")})
	w.add(Record{Value: make([]byte, schemas.MaxRequestBytes+1), Reply: "0"})
	w.add(Record{Value: []byte("{}"), RequestID: make([]byte, schemas.MaxRequestID+1), Reply: "0"})
	task := w.start(NewMemory())
	w.feed(task)
	w.perform(task)
	if len(w.sides) != 5 {
		t.Fatalf("%d side outputs", len(w.sides))
	}
	for _, o := range w.sides {
		a := o.Answer
		if a.Code != schemas.ArgsInvalid || len(a.Value) > schemas.MaxRejectValue || len(a.BizType) > 410 || !utf8.ValidString(a.BizType) || len(a.Reason) > 200 {
			t.Errorf("%s of %d: %s, %d bytes of value, %d of bizType, reason %q", o.Kind, o.Position, a.Code, len(a.Value), len(a.BizType), a.Reason)
		}
	}
}

func TestARequestIDAtItsLimitIsEchoed(t *testing.T) {
	w := newWorld(t)
	id := strings.Repeat("x", schemas.MaxRequestID)
	w.add(Record{Value: w.requests[0].Value, Reply: "0", RequestID: []byte(id)}) // a control record's bytes: no request
	task := w.start(NewMemory())
	w.feed(task)
	w.perform(task)
	if len(w.sides) != 2 || string(w.sides[0].RequestID) != id || w.sides[0].Kind != Result || w.sides[1].Kind != Reject {
		t.Errorf("got %+v", w.sides)
	}
}

func TestOutputsOutliveTheRequestsThatTheyComeFrom(t *testing.T) {
	// The slab that holds entries is used again and again; what was handed out
	// must never change.
	w := newWorld(t)
	task := w.start(NewMemory())
	var kept []Output
	var copies []string
	for i := range 3000 {
		w.push("A", fmt.Sprint("u", i%7), fmt.Sprint("m", i))
		w.feed(task)
		for _, o := range task.Take() {
			kept = append(kept, o)
			copies = append(copies, string(o.Key)+"|"+string(o.Value))
		}
	}
	for i, o := range kept {
		if got := string(o.Key) + "|" + string(o.Value); got != copies[i] {
			t.Fatalf("output %d has changed", i)
		}
	}
}
