package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemarkio/tidemark/schemas"
)

// changelog makes what a store can be rebuilt from: the feeds, in order, and
// the twin that they lead to.
func changelog(seed uint64, feeds int) ([]*Feed, *twin) {
	g, w := newSource(seed, 60), newTwin()
	var all []*Feed
	for i := range feeds {
		b := g.batch(w)
		b.ExpireBefore = 0
		w.apply(b)
		all = append(all, &Feed{Dedupe: b.Dedupe, Counters: b.Counters, Progress: fmt.Appendf(nil, "fed %d", i+1)})
	}
	return all, w
}

func feed(t *testing.T, s *Task, f *Feed) {
	t.Helper()
	if err := s.Feed(f); err != nil {
		t.Fatal(err)
	}
}

// TestRestore rebuilds a store, with repeats and old counters among the feeds,
// crashes at random moments, and goes on from the progress that is left.
func TestRestore(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			shared, fs := newShared(t), vfs.NewCrashableMem()
			cfg := config(t, fs)
			feeds, w := changelog(seed, 60)
			rng := rand.New(rand.NewPCG(seed, 3))
			s := open(t, shared, cfg)
			if err := s.BeginRestore(); err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(feeds); {
				feed(t, s, feeds[i])
				if old := feeds[rng.IntN(i+1)]; rng.IntN(3) == 0 {
					feed(t, s, &Feed{Dedupe: old.Dedupe, Counters: old.Counters})
				}
				i++
				if rng.IntN(10) != 0 {
					continue
				}
				left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				closeTask(t, s)
				fs, cfg.FS = left, left
				s = open(t, shared, cfg)
				i = resume(t, s)
			}
			if err := s.FinishRestore(w.position, w.settings.Changes()); err != nil {
				t.Fatal(err)
			}
			w.compare(t, s)
			left := fs.CrashClone(vfs.CrashCloneCfg{})
			closeTask(t, s)
			cfg.FS = left
			s = open(t, shared, cfg)
			w.compare(t, s)
			mustApply(t, s, w, newSource(99, 60).batch(w))
			w.compare(t, s)
			closeTask(t, s)
		})
	}
}

// resume says how many feeds a store that was being rebuilt has for certain.
func resume(t *testing.T, s *Task) (n int) {
	t.Helper()
	progress, restoring := s.Restoring()
	if !restoring || s.Position() != Start() {
		t.Fatalf("after a crash during a restore: restoring %t, position %+v", restoring, s.Position())
	}
	if _, err := s.Original(Hash{1}, 0, 1); !errors.Is(err, ErrRestoring) {
		t.Fatalf("a store that is being rebuilt answers: %v", err)
	}
	if len(progress) > 0 {
		if _, err := fmt.Sscanf(string(progress), "fed %d", &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestRestoreRefusals(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	if err := s.Feed(&Feed{}); err == nil {
		t.Error("Feed without BeginRestore is taken")
	}
	if err := s.FinishRestore(Position{Request: 1}, nil); err == nil {
		t.Error("FinishRestore without BeginRestore is taken")
	}
	for range 2 { // the second time it goes on
		if err := s.BeginRestore(); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{
		"Apply":    s.Apply(&Batch{Position: Position{Request: 1}}),
		"Original": second(s.Original(Hash{1}, 0, 1)),
		"Last":     second(s.Last(Hash{1}, nil)),
	} {
		if !errors.Is(err, ErrRestoring) {
			t.Errorf("%s during a restore: %v", what, err)
		}
	}
	if err := s.FinishRestore(Position{Request: 7, OplogOffset: 3, Entry: 7}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.BeginRestore(); err == nil {
		t.Error("BeginRestore of a complete store is taken")
	}
	closeTask(t, s)
}

func second[T any](_ T, err error) error { return err }

// TestRestoreAhead: a counter that is newer than the position would have the
// task give ids twice.
func TestRestoreAhead(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s := open(t, shared, cfg)
	if err := s.BeginRestore(); err != nil {
		t.Fatal(err)
	}
	key := schemas.CounterKey(nil, "demo_APP1", "UCHAT", "user-1")
	put := func(id, position int64) CounterPut {
		return CounterPut{Hash: HashKey(key), Key: key, ID: id, Position: position}
	}
	feed(t, s, &Feed{Counters: []CounterPut{put(5, 50), put(7, 70), put(6, 60)}})
	var ahead *AheadError
	if err := s.FinishRestore(Position{Request: 69}, nil); !errors.As(err, &ahead) || ahead.ID != 7 || ahead.Position != 70 || ahead.Counters != 1 {
		t.Fatalf("finished with a counter ahead: %v", err)
	}
	if _, restoring := s.Restoring(); !restoring {
		t.Fatal("the restore is over")
	}
	settings := []schemas.Change{{Kind: schemas.PutInstance, InstanceID: "demo_APP1"}}
	if err := s.FinishRestore(Position{Request: 70}, settings); err != nil {
		t.Fatal(err)
	}
	if id, err := s.Last(HashKey(key), key); id != 7 || err != nil {
		t.Errorf("last %d, %v; want 7", id, err)
	}
	if got := s.Settings(); !slices.Equal(got, settings) {
		t.Errorf("settings %v", got)
	}
	closeTask(t, s)
}
