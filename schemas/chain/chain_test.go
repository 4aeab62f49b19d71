package chain

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/tidemarkio/tidemark/schemas"
)

// writer makes records of a log.
type writer struct {
	position int64
	chain    Value
}

func newWriter() *writer { return &writer{position: None} }

type record struct {
	bytes []byte
	entry schemas.Entry
}

func finish(e schemas.Entry) record {
	return record{schemas.AppendChain(e.AppendCanonical(nil), e.Chain), e}
}

// entry appends an entry at the position.
func (w *writer) entry(position int64, payload string) record {
	e := schemas.Entry{InstanceID: "i", BizType: "A", LinkToken: "u", Payload: payload, OplogID: 1, RequestOffset: position, PrevOffset: w.position}
	e.Chain = xxh3.Hash128(append(slices.Clone(w.chain[:]), e.AppendCanonical(nil)...)).Bytes()
	w.position, w.chain = position, e.Chain
	return finish(e)
}

func (w *writer) marker(upTo int64) record {
	return finish(schemas.Entry{RequestOffset: upTo, PrevOffset: w.position, Chain: w.chain})
}

// read gives the verdicts in short: A M R O, and ! with the rest left unread.
func read(r *Reader, records ...record) (verdicts string, err error) {
	for _, rec := range records {
		v, err := r.Accept(rec.bytes, &rec.entry)
		if err != nil {
			return verdicts + "!", err
		}
		verdicts += strings.ToUpper(v.String()[:1])
	}
	return verdicts, nil
}

func TestEachPositionIsAcceptedOnce(t *testing.T) {
	w := newWriter()
	one, two, covered := w.entry(1, "a"), w.entry(4, "b"), w.marker(6)
	three := w.entry(7, "c")
	for name, c := range map[string]struct {
		log  []record
		want string
	}{
		"as written":                    {[]record{one, two, covered, three}, "AAMA"},
		"twice over":                    {[]record{one, two, covered, three, one, two, covered, three}, "AAMARRRR"},
		"two owners in step":            {[]record{one, one, two, two, covered, covered, three, three}, "ARARMMAR"},
		"a lost append":                 {[]record{one, covered, three, two, covered, three}, "AOOAMA"},
		"nothing but what comes behind": {[]record{two, three}, "OO"},
		"the first one late":            {[]record{two, one, two, three}, "OAAA"},
	} {
		r := Start()
		got, err := read(r, c.log...)
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", name, got, err, c.want)
		}
	}
	r := Start()
	if _, err := read(r, one, two, covered); err != nil || r.Position() != 4 || r.Covered() != 6 || r.Chain() != two.entry.Chain {
		t.Errorf("position %d, covered %d, chain %x, %v", r.Position(), r.Covered(), r.Chain(), err)
	}
}

func TestABrokenLogIsNotReadOn(t *testing.T) {
	build := func() (w *writer, one, two record) { w = newWriter(); return w, w.entry(1, "a"), w.entry(4, "b") }
	for name, c := range map[string]struct {
		log  func() []record
		want string
		why  string
	}{
		"a changed byte": {func() []record {
			_, one, two := build()
			two.bytes = slices.Clone(two.bytes)
			two.bytes[5] ^= 1 // in the bizType
			return []record{one, two}
		}, "A!", "does not follow"},
		"a changed chain": {func() []record {
			_, one, two := build()
			two.entry.Chain[0] ^= 1
			return []record{one, finish(two.entry)}
		}, "A!", "does not follow"},
		"an entry where a marker covers": {func() []record {
			w, one, two := build()
			late := w.entry(6, "c")
			return []record{one, two, finish(schemas.Entry{RequestOffset: 6, PrevOffset: 4, Chain: two.entry.Chain}), late}
		}, "AAM!", "covered before"},
		"a marker with another chain": {func() []record {
			w, one, two := build()
			m := w.marker(5)
			m.entry.Chain[3] ^= 1
			return []record{one, two, m}
		}, "AA!", "another chain"},
		"a second truth for a position": {func() []record {
			_, one, two := build()
			_, _ = one, two
			other := newWriter()
			return []record{one, two, other.entry(1, "other")}
		}, "AA!", "second, different entry"},
		"a log that leaves out an entry": {func() []record {
			_, one, two := build()
			other := newWriter()
			other.entry(1, "a")
			return []record{one, two, other.entry(6, "c")}
		}, "AA!", "second, different log"},
		"a marker that leaves out an entry": {func() []record {
			_, one, two := build()
			return []record{one, two, finish(schemas.Entry{RequestOffset: 4, PrevOffset: 1, Chain: one.entry.Chain})}
		}, "AA!", "second, different log"},
	} {
		r := Start()
		got, err := read(r, c.log()...)
		var broken *BrokenError
		if got != c.want || !errors.As(err, &broken) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %s, %v", name, got, err)
			continue
		}
		if broken.Position != r.Position() || broken.Chain != r.Chain() {
			t.Errorf("%s: the error says position %d, the reader is at %d", name, broken.Position, r.Position())
		}
	}
}

// Entries that were accepted long ago are not remembered: a different one for
// such a position is dropped like a repeat. What is accepted stays right.
func TestASecondTruthIsFoundWhileItIsRemembered(t *testing.T) {
	w, r := newWriter(), Start()
	for i := range int64(recent + 1) {
		if got, err := read(r, w.entry(i, "a")); got != "A" {
			t.Fatal(err)
		}
	}
	old, other := newWriter(), newWriter()
	if got, err := read(r, old.entry(0, "other")); got != "R" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	other.entry(0, "a")
	if got, _ := read(r, other.entry(1, "other")); got != "!" {
		t.Error(got)
	}
}

func TestResumeGoesOnBehindAnEntry(t *testing.T) {
	w := newWriter()
	one, two, covered := w.entry(1, "a"), w.entry(4, "b"), w.marker(6)
	three := w.entry(7, "c")
	r := Resume(4, two.entry.Chain, 6)
	if got, err := read(r, one, two, covered, three); got != "RRMA" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if r := Resume(4, two.entry.Chain, 2); r.Covered() != 4 {
		t.Errorf("covered %d", r.Covered())
	}
	if got, err := read(Resume(4, Value{9}, 4), three); got != "!" || err == nil {
		t.Errorf("a wrong base: %s, %v", got, err)
	}
}

func TestTrustBeginsInTheMiddle(t *testing.T) {
	w := newWriter()
	w.entry(1, "a")
	covered, two, three := w.marker(3), w.entry(4, "b"), w.entry(7, "c")
	r := Trust()
	if got, err := read(r, covered, two, three, two); got != "MAAR" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if r.Position() != 7 || r.Chain() != three.entry.Chain {
		t.Errorf("position %d", r.Position())
	}
}

// reference is the rule as words: remember what is accepted, look nothing up.
func reference(log []record) (accepted []int64) {
	position := None
	for _, rec := range log {
		if rec.entry.OplogID != 0 && rec.entry.PrevOffset == position {
			position = rec.entry.RequestOffset
			accepted = append(accepted, position)
		}
	}
	return accepted
}

// Whatever owners do, with appends lost, repeated and in each other's way, a
// reader accepts a beginning of the one log, and misses nothing that some owner
// has written in order.
func TestAnyMixOfOwnersIsOneLog(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := newWriter()
		var truth []record
		for position := int64(0); len(truth) < 40; position += 1 + rng.Int64N(3) {
			truth = append(truth, w.entry(position, "p"))
			if rng.IntN(4) == 0 && len(truth) < 39 {
				truth = append(truth, w.marker(position))
			}
		}
		log := mix(rng, truth)
		r := Start()
		var accepted []int64
		for _, rec := range log {
			v, err := r.Accept(rec.bytes, &rec.entry)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if v == Accept {
				accepted = append(accepted, rec.entry.RequestOffset)
			}
		}
		if want := reference(log); fmt.Sprint(accepted) != fmt.Sprint(want) {
			t.Fatalf("seed %d: accepted %v, want %v", seed, accepted, want)
		}
		if r.Position() != w.position || r.Chain() != w.chain {
			t.Fatalf("seed %d: ends at %d, want %d", seed, r.Position(), w.position)
		}
	}
}

// mix interleaves some owners, each going on from an older place now and then;
// the last one writes all.
func mix(rng *rand.Rand, truth []record) (log []record) {
	at := make([]int, 1+rng.IntN(3))
	for range 150 {
		i := rng.IntN(len(at))
		if rng.IntN(10) == 0 {
			at[i] = rng.IntN(len(truth))
		}
		if at[i] < len(truth) {
			if rng.IntN(8) > 0 {
				log = append(log, truth[at[i]])
			}
			at[i]++
		}
	}
	return append(log, truth...)
}

func TestNextOverwritesOnlyItsScratch(t *testing.T) {
	e := schemas.Entry{InstanceID: "i", OplogID: 1}
	buf := e.AppendCanonical(make([]byte, schemas.ChainLen))
	canonical := slices.Clone(buf[schemas.ChainLen:])
	prev := Value{1, 2, 3}
	got := Next(prev, buf)
	if want := xxh3.Hash128(append(slices.Clone(prev[:]), canonical...)).Bytes(); got != want || !slices.Equal(buf[schemas.ChainLen:], canonical) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// FuzzReader feeds records that nobody should have written: the reader may
// refuse them, and must not panic or accept out of order.
func FuzzReader(f *testing.F) {
	w := newWriter()
	f.Add(w.entry(1, "a").bytes, w.entry(2, "b").bytes, w.marker(3).bytes)
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		for _, r := range []*Reader{Start(), Trust(), Resume(1, Value{}, 2)} {
			for _, record := range [][]byte{a, b, c, a} {
				var e schemas.Entry
				if e.Decode(record) != nil {
					continue
				}
				before := r.Position()
				v, err := r.Accept(record, &e)
				if (err != nil || v != Accept) && r.Position() != before {
					t.Fatalf("%s, %v moved the reader from %d to %d", v, err, before, r.Position())
				}
			}
		}
	})
}
