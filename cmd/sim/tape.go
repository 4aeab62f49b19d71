package sim

import "math/rand/v2"

// tape is where every choice of a schedule comes from. It records what it
// gave, so that a schedule can be played again, and played with parts cut out.
//
// A choice of 0 is always the harmless one: a tape that has run out gives
// zeros, and so a shortened schedule ends quietly.
type tape struct {
	rng   *rand.Rand // nil: play
	draws []uint16
	at    int
}

func record(seed uint64) *tape { return &tape{rng: rand.New(rand.NewPCG(seed, 0x7469_6465))} }

func play(draws []uint16) *tape { return &tape{draws: draws} }

// n draws from 0 to n-1.
func (t *tape) n(n int) int {
	if n <= 1 {
		return 0
	}
	if t.rng != nil {
		v := t.rng.IntN(n)
		t.draws = append(t.draws, uint16(v))
		return v
	}
	if t.at >= len(t.draws) {
		return 0
	}
	v := int(t.draws[t.at]) % n
	t.at++
	return v
}

// one is true once in n times; never on a tape that has run out.
func (t *tape) one(in int) bool { return t.n(in) == in-1 }

// used is the part of the tape that was drawn.
func (t *tape) used() []uint16 {
	if t.rng != nil {
		return t.draws
	}
	return t.draws[:t.at]
}

// shrink looks for a shorter and calmer tape that still fails, trying at most
// budget times: cut pieces out, large ones first, then turn choices into 0.
func shrink(draws []uint16, budget int, fails func([]uint16) bool) []uint16 {
	for size := len(draws) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(draws); {
			if budget--; budget < 0 {
				return draws
			}
			without := append(append([]uint16{}, draws[:at]...), draws[at+size:]...)
			if fails(without) {
				draws = without
			} else {
				at += size
			}
		}
	}
	for at := range draws {
		if draws[at] == 0 {
			continue
		}
		if budget--; budget < 0 {
			return draws
		}
		calmer := append([]uint16{}, draws...)
		calmer[at] = 0
		if fails(calmer) {
			draws = calmer
		}
	}
	return draws
}
