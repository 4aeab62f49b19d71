package session

import (
	"math/rand/v2"
	"testing"
)

// A client that acknowledges late, or in odd places, costs a bounded list, and
// in the end every entry is given back exactly once.
func TestWindowIsBoundedAndComesBackWhole(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		var all []segment
		var held Window
		var id, acked int64
		for range 3000 {
			if rng.IntN(4) > 0 {
				var run segment
				for range 1 + rng.IntN(5) {
					id += int64(1 + rng.IntN(3)) // others were filtered
					size := 65 + rng.IntN(100)
					run.add(id, size)
					held.add(size)
				}
				all = push(all, run)
			} else if id > acked {
				var freed Window
				acked += rng.Int64N(id-acked)/8 + 1
				all, freed = pop(all, acked)
				held.Entries -= freed.Entries
				held.Bytes -= freed.Bytes
			}
			if len(all) > segmentsMax || held.Entries < 0 || held.Bytes < 0 || (len(all) == 0) != (held.Entries == 0) {
				t.Fatalf("seed %d: %d segments, %+v held", seed, len(all), held)
			}
		}
		rest, freed := pop(all, id)
		if len(rest) != 0 || freed != held {
			t.Fatalf("seed %d: at the end %+v came back of %+v", seed, freed, held)
		}
	}
}

func TestWindowFreesExactlyWhatAnAckCovers(t *testing.T) {
	var a, b segment
	for id := int64(11); id <= 20; id++ {
		a.add(id, 100)
	}
	b.add(30, 500)
	for _, c := range []struct {
		to      int64
		entries int
	}{{5, 0}, {10, 0}, {11, 1}, {15, 5}, {20, 10}, {29, 10}, {30, 11}, {99, 11}} {
		if _, freed := pop([]segment{a, b}, c.to); freed.Entries != c.entries {
			t.Errorf("up to %d: %d entries, want %d", c.to, freed.Entries, c.entries)
		}
	}
}
