package state

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

// TestTwin applies random batches to a store and to plain maps; the store is
// flushed and reopened now and then.
func TestTwin(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			shared, cfg := newShared(t), config(t, vfs.NewMem())
			g, w := newSource(seed, 60), newTwin()
			s := open(t, shared, cfg)
			for range 150 {
				mustApply(t, s, w, g.batch(w))
				switch g.rng.IntN(40) {
				case 0:
					closeTask(t, s)
					s = open(t, shared, cfg)
				case 1:
					if err := s.Flush(); err != nil {
						t.Fatal(err)
					}
				case 2:
					w.compare(t, s)
				}
			}
			w.compare(t, s)
			closeTask(t, s)
			s = open(t, shared, cfg)
			w.compare(t, s)
			closeTask(t, s)
		})
	}
}

// TestRefused: what is wrong with a batch, and what it leaves.
func TestRefused(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s, w := open(t, shared, cfg), newTwin()
	key := counterName(1)
	put := func(id, position int64) []CounterPut {
		return []CounterPut{{Hash: HashKey(key), Key: key, ID: id, Position: position}}
	}
	at := func(request int64) Position { return Position{Request: request, OplogOffset: request, Entry: request} }
	mustApply(t, s, w, &Batch{Position: at(5), Counters: put(3, 5)})

	// Refused without harm.
	for what, b := range map[string]*Batch{
		"request goes back":      {Position: Position{Request: 4, OplogOffset: 5, Entry: 5}},
		"oplog offset goes back": {Position: Position{Request: 6, OplogOffset: 4, Entry: 5}},
		"entry goes back":        {Position: Position{Request: 6, OplogOffset: 5, Entry: 4}},
	} {
		if err := s.Apply(b); !errors.Is(err, ErrPosition) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, b := range map[string]*Batch{
		"bucket below 0":   {Position: at(6), Dedupe: []DedupePut{{Bucket: -1, ID: 1}}},
		"bucket too large": {Position: at(6), Dedupe: []DedupePut{{Bucket: 1 << 32, ID: 1}}},
		"dedupe id 0":      {Position: at(6), Dedupe: []DedupePut{{Bucket: 1}}},
		"counter id 0":     {Position: at(6), Counters: put(0, 6)},
		"counter position": {Position: at(6), Counters: put(4, -2)},
		"too large":        {Position: at(6), Dedupe: make([]DedupePut, MaxBatchBytes/32+1)},
	} {
		for i := range b.Dedupe {
			if what == "too large" {
				b.Dedupe[i].ID = 1
			}
		}
		if err := s.Apply(b); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
	w.compare(t, s)
	if err := s.Flush(); err != nil { // a store that stops keeps what is on disk
		t.Fatal(err)
	}

	// Refused, and the store stops: a counter must grow, within a batch too.
	for _, puts := range [][]CounterPut{put(3, 6), put(2, 6), append(put(5, 6), put(5, 7)...)} {
		err := s.Apply(&Batch{Position: at(7), Counters: puts})
		var ce *CounterError
		if !errors.As(err, &ce) || ce.Given != puts[len(puts)-1].ID || s.Failed() == nil {
			t.Fatalf("counter given %+v: %v; failed: %v", puts, err, s.Failed())
		}
		if err := s.Close(); !errors.As(err, &ce) {
			t.Fatalf("close: %v", err)
		}
		s = open(t, shared, cfg)
		w.compare(t, s)
	}
	if err := s.Apply(&Batch{Position: at(8), Changes: []schemas.Change{{Kind: 9}}}); !errors.Is(err, errKind) || s.Failed() == nil {
		t.Errorf("unknown kind of change: %v", err)
	}
	_ = s.Close() // with the error above
}

func TestSweepVisitsChanges(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s, w, g := open(t, shared, cfg), newTwin(), newSource(4, 60)
	for range 10 {
		mustApply(t, s, w, g.batch(w))
	}
	middle := s.Position().Request
	for range 3 {
		mustApply(t, s, w, g.batch(w))
	}
	want, got := 0, 0
	for _, c := range w.counters {
		if c.Position > middle {
			want++
		}
	}
	var from []byte
	for steps := 0; ; steps++ {
		next, err := s.SweepCounters(from, 5, middle, func(p CounterPut) error {
			if c := w.counters[string(p.Key)]; c.ID != p.ID || c.Position != p.Position || p.Position <= middle {
				t.Errorf("visited %+v, want %+v", p, c)
			}
			got++
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if from = next; from == nil {
			if steps != (len(w.counters)-1)/5 {
				t.Errorf("%d steps for %d counters", steps, len(w.counters))
			}
			break
		}
	}
	if want == 0 || got != want {
		t.Errorf("visited %d, want %d", got, want)
	}
	stop := errors.New("stop")
	if _, err := s.SweepCounters(nil, 5, -2, func(CounterPut) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("visit's error: %v", err)
	}
	closeTask(t, s)
}

func TestNotes(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	if v, err := s.Note("sweep"); v != nil || err != nil {
		t.Errorf("note that nobody put: %q, %v", v, err)
	}
	at := s.Position()
	for _, v := range []string{"one", "two"} {
		if err := s.PutNote("sweep", []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutNote("large", make([]byte, maxNoteBytes+1)); err == nil {
		t.Error("a note over the limit is taken")
	}
	closeTask(t, s)
	s = open(t, shared, cfg)
	if v, err := s.Note("sweep"); string(v) != "two" || err != nil || s.Position() != at {
		t.Errorf("note %q, %v; position %+v", v, err, s.Position())
	}
	closeTask(t, s)
}

// TestFlushQuiet: what was written before one call is flushed at the next,
// unless that has happened anyway.
func TestFlushQuiet(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s, w, g := open(t, shared, cfg), newTwin(), newSource(1, 10)
	write := func() { mustApply(t, s, w, g.batch(w)) }
	quiet := func(what string, want bool) {
		t.Helper()
		flushed, err := s.FlushQuiet()
		if err != nil || flushed != want {
			t.Fatalf("%s: flushed %t, %v; want %t", what, flushed, err, want)
		}
	}
	quiet("made just now", false)
	quiet("made before", true) // the identity
	quiet("nothing written", false)
	write()
	quiet("written since the last call", false)
	quiet("written before the last call", true)
	quiet("nothing written since", false)
	write()
	quiet("written", false)
	write()
	quiet("written before and since the last call", true)
	write()
	quiet("written", false)
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	quiet("flushed in between", false)
	quiet("nothing written since", false)
	closeTask(t, s)
}

// TestWaitForCompaction: too many runs of level 0 hold a writer back, and a
// failure lets it go.
func TestWaitForCompaction(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	shared.compactions.limit = 0
	s, w, g := open(t, shared, cfg), newTwin(), newSource(1, 30)
	for range level0Max + 1 {
		mustApply(t, s, w, g.batch(w))
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	refused := make(chan error)
	go func() { refused <- s.Apply(g.batch(w)) }()
	for deadline := time.Now().Add(time.Minute); s.Stats().CompactionWaits == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
		runtime.Gosched()
	}
	s.db.Fail(errDisk)
	if err := <-refused; !errors.Is(err, errDisk) {
		t.Errorf("the writer got %v", err)
	}
	_ = s.Close() // with that error
}

// TestNewTargetsAskNoDisk: in a store whose counters all fit in memory a
// target that is new is known to be so, also after a restart and a restore.
func TestNewTargetsAskNoDisk(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	cfg.CounterBytes = DefaultCounterBytes
	s, w := open(t, shared, cfg), newTwin()
	request := int64(0)
	fresh := func(when string, n int) {
		t.Helper()
		for range n {
			request++
			name := counterName(int(request))
			if id, err := s.Last(HashKey(name), name); id != 0 || err != nil {
				t.Fatalf("%s: a new target stands at %d, %v", when, id, err)
			}
			mustApply(t, s, w, &Batch{
				Position: Position{Request: request, OplogOffset: request, Entry: request},
				Counters: []CounterPut{{Hash: HashKey(name), Key: name, ID: 1, Position: request}},
			})
		}
		if misses := s.Stats().CounterMisses; misses != 0 {
			t.Errorf("%s: Pebble was asked %d times", when, misses)
		}
		w.compare(t, s)
	}
	fresh("a new store", 500)
	closeTask(t, s)
	s = open(t, shared, cfg)
	fresh("a store that was opened again", 500)
	closeTask(t, s)

	cfg.FS = vfs.NewMem()
	s, w = open(t, shared, cfg), newTwin()
	if err := s.BeginRestore(); err != nil {
		t.Fatal(err)
	}
	name := counterName(7)
	feed := []CounterPut{{Hash: HashKey(name), Key: name, ID: 3, Position: 5}}
	if err := s.Feed(&Feed{Counters: feed}); err != nil {
		t.Fatal(err)
	}
	request = 1000
	at := Position{Request: request, OplogOffset: request, Entry: request}
	if err := s.FinishRestore(at, nil); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Last(HashKey(name), name); id != 3 || err != nil {
		t.Errorf("a restored counter stands at %d, %v", id, err)
	}
	if misses := s.Stats().CounterMisses; misses != 0 {
		t.Errorf("after a restore Pebble was asked %d times", misses)
	}
	closeTask(t, s)
}
