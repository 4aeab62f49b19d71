package sim

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidemarkio/tidemark/processor"
)

var (
	schedules = flag.Int("schedules", 2000/slower, "schedules to play")
	firstSeed = flag.Uint64("seed", 1, "seed of the first schedule")
)

func TestThousandsOfSchedulesBreakNothing(t *testing.T) {
	rep, err := Run(Options{Seed: *firstSeed, Schedules: *schedules})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", rep)
	// A simulation in which nothing happens would be clean as well.
	c := rep.Counts
	for what, n := range map[string]int{
		"entries": c.Entries, "repeats": c.Repeats, "orphans": c.Orphans, "side outputs": c.Sides, "lost appends": c.LostAppends,
		"crashes": c.Crashes, "takeovers": c.Takeovers, "truncations": c.Truncations, "parks": c.Parks,
	} {
		if n < rep.Schedules/50 {
			t.Errorf("only %d %s in %d schedules", n, what, rep.Schedules)
		}
	}
}

// plantedSeedsMax is within how many schedules each planted fault must be found.
const plantedSeedsMax = 50

func TestEachPlantedFaultIsFound(t *testing.T) {
	for _, name := range FaultNames()[1:] {
		for _, outside := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,outside=%t", name, outside), func(t *testing.T) {
				fault, err := ParseFault(name)
				if err != nil {
					t.Fatal(err)
				}
				rep, err := Run(Options{Seed: *firstSeed, Schedules: plantedSeedsMax, Fault: fault, ShrinkMax: 300 / slower, outside: outside})
				var v *Violation
				if !errors.As(err, &v) {
					t.Fatalf("not found in %d schedules: %v", rep.Schedules, err)
				}
				t.Logf("found by schedule %d\n%v", rep.Schedules, v)
			})
		}
	}
}

func TestASeedPlaysTheSameScheduleAgain(t *testing.T) {
	play := func(seed uint64) (lines []string) {
		if _, err := schedule(record(seed), &Options{}, func(s string) { lines = append(lines, s) }); err != nil {
			t.Fatal(err)
		}
		return lines
	}
	for seed := range uint64(50 / slower) {
		if a, b := play(seed), play(seed); !slices.Equal(a, b) {
			t.Fatalf("seed %d played two different schedules", seed)
		}
	}
	if slices.Equal(play(1), play(2)) {
		t.Error("two seeds play the same schedule")
	}
}

func TestAViolationComesWithAShortTranscriptThatFails(t *testing.T) {
	_, err := Run(Options{Schedules: 10, Fault: processor.EarlyResult}) // its seed 0 is found at once
	var v *Violation
	if !errors.As(err, &v) {
		t.Fatal(err)
	}
	if v.Invariant != I3 || v.Steps >= v.From || len(v.Transcript) > 100 {
		t.Errorf("found %s with %d of %d choices and %d lines", v.Invariant, v.Steps, v.From, len(v.Transcript))
	}
	for _, want := range []string{"seed 0 breaks I3", "appends append 1", "result of 1 arrives"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the transcript does not say %q:\n%v", want, err)
		}
	}
}

func TestShrinkKeepsWhatFailsAndCalmsTheRest(t *testing.T) {
	fails := func(draws []uint16) bool {
		return slices.Contains(draws, 7) && slices.Index(draws, 7) < slices.Index(draws, 9)
	}
	got := shrink([]uint16{1, 2, 7, 3, 4, 5, 9, 9, 8, 6}, 1000, fails)
	if !slices.Equal(got, []uint16{7, 9}) {
		t.Errorf("got %v", got)
	}
}

func TestAnExhaustedTapeChoosesTheHarmless(t *testing.T) {
	tape := play([]uint16{5, 11})
	if got := []int{tape.n(4), tape.n(100), tape.n(100), tape.n(3)}; !slices.Equal(got, []int{1, 11, 0, 0}) {
		t.Errorf("got %v", got)
	}
	if tape.one(2) {
		t.Error("an exhausted tape chose a fault")
	}
}

func TestUnknownFaultsAreNamed(t *testing.T) {
	if _, err := ParseFault("gremlins"); err == nil || !strings.Contains(err.Error(), "early-apply") {
		t.Errorf("got %v", err)
	}
}
