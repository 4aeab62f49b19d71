package state

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestTwin applies random batches to a store and to plain maps; the store is
// flushed and reopened now and then.
func TestTwin(t *testing.T) {
	for seed := range uint64(6) {
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
