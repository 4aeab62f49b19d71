package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// history is the twin at every position that the store had.
type history map[Position]*twin

// surviving opens what a crash has left, and holds it against the history: it
// must be the twin at exactly the position that the store reports.
func (h history) surviving(t *testing.T, shared *Shared, cfg TaskConfig) *Task {
	t.Helper()
	s := open(t, shared, cfg)
	w := h[s.Position()]
	if w == nil {
		t.Fatalf("after a crash the store stands at %+v, where it never stood", s.Position())
	}
	w.compare(t, s)
	return s
}

// TestCrash takes copies of the disk at random moments, with any part of what
// was not synced, and opens them. The store goes on in the last of them.
func TestCrash(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			shared, fs := newShared(t), vfs.NewCrashableMem()
			cfg := config(t, fs)
			g, w := newSource(seed, 80), newTwin()
			past := history{w.position: w.clone()}
			s := open(t, shared, cfg)
			durable := s.Position()
			crashes := 0
			for range 120 {
				mustApply(t, s, w, g.batch(w))
				past[w.position] = w.clone()
				if g.rng.IntN(30) == 0 {
					if err := s.Flush(); err != nil {
						t.Fatal(err)
					}
					durable = s.Position()
				}
				if g.rng.IntN(12) != 0 {
					continue
				}
				crashes++
				left := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: g.rng.IntN(101), RNG: rand.New(rand.NewPCG(g.rng.Uint64(), 1))})
				closeTask(t, s)
				fs, cfg.FS = left, left
				s = past.surviving(t, shared, cfg)
				if s.Position().Request < durable.Request {
					t.Fatalf("a crash took the store back to request %d, flushed was %d", s.Position().Request, durable.Request)
				}
				w = past[s.Position()].clone()
			}
			if crashes == 0 {
				t.Fatal("no crash")
			}
			closeTask(t, s)
		})
	}
}

// TestDiskFails has every write from a random one on fail, at every kind of
// moment: the store must stop with an error, and leave what a crash would.
func TestDiskFails(t *testing.T) {
	failed := 0
	for seed := range uint64(25) {
		mem := vfs.NewMem()
		cfg := config(t, mem)
		shared := newShared(t)
		closeTask(t, open(t, shared, cfg)) // it exists

		rng := rand.New(rand.NewPCG(seed, 7))
		after := rng.Int32N(400)
		once := rng.IntN(2) == 0
		cfg.FS = errorfs.Wrap(mem, failWrites(after, once))
		stopped, past := runUntilFailure(t, shared, cfg, seed)
		if stopped {
			failed++
		}
		cfg.FS = mem
		closeTask(t, past.surviving(t, shared, cfg))
	}
	if failed < 10 {
		t.Fatalf("the disk failed in %d of 25 runs only", failed)
	}
}

var errDisk = errors.New("disk is broken")

// failWrites lets so many writes pass.
func failWrites(after int32, once bool) errorfs.Injector {
	index := errorfs.OnIndex(after)
	var broken atomic.Bool
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpFileClose,
			errorfs.OpCreate, errorfs.OpRename, errorfs.OpReuseForWrite, errorfs.OpLink:
		default:
			return nil
		}
		if broken.Load() && !once || index.MaybeError(op) != nil {
			broken.Store(true)
			return errDisk
		}
		return nil
	})
}

// runUntilFailure applies batches until the store refuses them.
func runUntilFailure(t *testing.T, shared *Shared, cfg TaskConfig, seed uint64) (stopped bool, past history) {
	t.Helper()
	w := newTwin()
	past = history{w.position: w.clone()}
	s, err := shared.OpenTask(cfg)
	if err != nil {
		if !errors.Is(err, errDisk) {
			t.Fatalf("seed %d: open: %v", seed, err)
		}
		return true, past
	}
	s.dedupe.tableKeys, s.dedupe.limit = 16, 1<<10
	g := newSource(seed, 80)
	for i := 0; i < 150 && err == nil; i++ {
		b := g.batch(w)
		past[b.Position] = w.clone()
		past[b.Position].apply(b) // it may be on disk although it was refused
		if err = s.Apply(b); err == nil {
			w.apply(b)
		}
		if err == nil && i%20 == 19 {
			err = s.Flush()
		}
	}
	if err != nil && (!errors.Is(err, errDisk) || s.Failed() == nil) {
		t.Fatalf("seed %d: %v; failed: %v", seed, err, s.Failed())
	}
	if cerr := s.Close(); (cerr != nil) != (s.Failed() != nil) {
		t.Fatalf("seed %d: close: %v; failed: %v", seed, cerr, s.Failed())
	}
	return s.Failed() != nil, past
}

// TestFailedStoreRefuses says what a store that has stopped does.
func TestFailedStoreRefuses(t *testing.T) {
	shared, cfg := newShared(t), config(t, vfs.NewMem())
	s, w, g := open(t, shared, cfg), newTwin(), newSource(1, 20)
	mustApply(t, s, w, g.batch(w))
	s.db.Fail(errDisk)
	if err := s.Apply(g.batch(w)); !errors.Is(err, errDisk) {
		t.Errorf("Apply: %v", err)
	}
	if _, err := s.Original(Hash{1}, 0, 1); !errors.Is(err, errDisk) {
		t.Errorf("Original: %v", err)
	}
	if _, err := s.Last(Hash{1}, nil); !errors.Is(err, errDisk) {
		t.Errorf("Last: %v", err)
	}
	if err := s.Flush(); !errors.Is(err, errDisk) {
		t.Errorf("Flush: %v", err)
	}
	if err := s.PutNote("x", nil); !errors.Is(err, errDisk) {
		t.Errorf("PutNote: %v", err)
	}
	if err := s.Close(); !errors.Is(err, errDisk) {
		t.Errorf("Close: %v", err)
	}
}
